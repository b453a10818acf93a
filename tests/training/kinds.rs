//! Trainings with batch statistics, and of networks with integer weights.

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::graph::Graph;
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::pipeline::{FeatureLayers, KeptValues, Network, Objective, Optimizer, TrainingOptions};
use secateur::prune::with_constants;
use secateur::tensor::{DType, SampleShape, Tensor};
use secateur::train::{Trainer, TrainerOptions};

use super::adapters::gpus;
use super::builder::Builder;
use super::files::numbers;
use super::setup::{Course, SAMPLES, changed, classifier, graph, labelled, steps, unlabelled};

/// Options of a training on all samples at once, at a rate that changes no weight.
fn still(count: usize) -> TrainingOptions {
    TrainingOptions { batch: Some(SAMPLES), rate: Some(1e-12), ..steps(count) }
}

#[test]
fn stored_statistics_become_those_of_the_batches() {
    for device in std::iter::once(Device::Cpu).chain(gpus("batch statistics")) {
        let setup = labelled(classifier(51));
        let course = Course::of(setup);
        let stored = course.train(None, &device, &still(1)).training.curve[0].loss;
        let trained = course.train(None, &device, &TrainingOptions { train_bn: true, ..still(150) });
        let batches = trained.training.curve.last().unwrap().loss;
        assert!((stored - batches).abs() > 1e-2 * stored, "{stored} {batches}");
        let names = changed(&course.network.model, &trained.model);
        assert_eq!(names.len(), 2, "mean and variance: {names:?}");
        // In evaluation, the stored statistics now give what those of the batch gave.
        let network = Network::from_model(trained.model).unwrap();
        let again = Course { network, ..course };
        let now = again.train(None, &device, &still(1)).training.curve[0].loss;
        let verdict = compare(&[now], &[batches], Tolerance { relative: 5e-3, ..Tolerance::NETWORK });
        assert!(verdict.passed(), "{device:?}: {verdict}");
    }
}

#[test]
fn batch_statistics_train_on_every_device() {
    let course = Course::of(labelled(classifier(52)));
    let mut curves: Vec<Vec<f64>> = Vec::new();
    for device in std::iter::once(Device::Cpu).chain(gpus("training of batch statistics")) {
        let options = TrainingOptions { train_bn: true, rate: Some(0.02), ..steps(40) };
        let record = course.train(None, &device, &options).training;
        let loss = |at: usize| record.curve[at].loss;
        assert!(loss(record.curve.len() - 1) < 0.6 * loss(0), "{:?}", record.curve);
        curves.push(record.curve[..3].iter().map(|point| point.loss).collect());
    }
    for curve in &curves[1..] {
        let verdict = compare(curve, &curves[0], Tolerance { relative: 1e-2, ..Tolerance::NETWORK });
        assert!(verdict.passed(), "{verdict}");
    }
}

/// A classifier without a normalization.
fn plain(seed: u64) -> Vec<u8> {
    let mut b = Builder::new(seed, 8);
    let x = b.input();
    let y = b.conv(&x, 4, 3, 1, 1);
    b.finish(&[y], true).0
}

#[test]
fn batch_statistics_need_a_normalization() {
    let course = Course::of(labelled(plain(3)));
    let options = TrainingOptions { train_bn: true, ..steps(2) };
    let error = course.observed((None, &Device::Cpu), &options, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("BatchNormalization"), "{error}");
}

/// A classifier with integer weights and rounded activations.
fn rounded(seed: u64) -> Vec<u8> {
    let mut b = Builder::new(seed, 8);
    let x = b.input();
    let y = b.quantized_conv(&x, 6);
    let y = b.unary("Relu", &y);
    let (scale, zero) =
        (b.floats(&[], 0.05, 0.0), b.constant(&Tensor { dtype: DType::U8, ..Tensor::int(&[], vec![10]) }));
    let q = b.node("QuantizeLinear", &[&y.name, &scale, &zero], vec![], &y.shape);
    let y = b.node("DequantizeLinear", &[&q.name, &scale, &zero], vec![], &y.shape);
    let y = b.quantized_conv(&y, 8);
    let y = b.unary("Relu", &y);
    b.finish(&[y], true).0
}

/// Returns the names of a graph's 8-bit weights.
fn integers(graph: &Graph) -> Vec<String> {
    let of = |v| {
        let tensor = graph.values[v].constant.as_ref()?;
        let is_weight = tensor.shape.len() == 4 && matches!(tensor.dtype, DType::I8 | DType::U8);
        is_weight.then(|| graph.name(v).to_owned())
    };
    graph.values.ids().filter_map(of).collect()
}

#[test]
fn integer_weights_train_through_their_rounding() {
    let teacher = graph(rounded(61));
    for device in std::iter::once(Device::Cpu).chain(gpus("integer weights")) {
        let course = Course::of(unlabelled(rounded(62)));
        let names = integers(&course.network.graph);
        assert_eq!(names.len(), 2);
        let trained =
            course.train(Some(&teacher), &device, &TrainingOptions { rate: Some(0.02), ..steps(80) });
        let curve = &trained.training.curve;
        assert!(curve.last().unwrap().loss < 0.6 * curve[0].loss, "{curve:?}");
        // Both layers changed, the first behind a rounding of activations; their types stayed.
        let changes = changed(&course.network.model, &trained.model);
        assert!(names.iter().all(|name| changes.contains(name)), "{names:?} {changes:?}");
        let after = Graph::from_model(&trained.model).unwrap();
        assert_eq!(integers(&after), names);
        // The file computes what the training computed: the loss of the written network is that of the last steps.
        let again = Course { network: Network::from_model(trained.model).unwrap(), ..course };
        let options = TrainingOptions { batch: Some(SAMPLES), rate: Some(1e-12), ..steps(1) };
        let loss = again.train(Some(&teacher), &device, &options).training.curve[0].loss;
        let last = curve.last().unwrap().loss;
        assert!(loss < 1.2 * last, "{loss} after a training that ended at {last}");
    }
}

#[test]
fn the_network_computes_with_the_integers_of_its_file() {
    let model = Model::from_bytes(rounded(63), std::path::Path::new("rounded.onnx")).unwrap();
    let teacher = graph(rounded(64));
    let options = TrainerOptions {
        objective: Objective::IMITATION,
        features: FeatureLayers::Last,
        optimizer: Optimizer::ADAMW,
        decay: 0.0,
        max_norm: 5.0,
        batch: Some(8),
        runs: 1,
        batch_statistics: false,
        penalty: None,
        observes: false,
    };
    let images = numbers(8 * 192, 1);
    let (sample, kept) = (SampleShape::of_one(&[3, 8, 8]), KeptValues::new());
    for device in std::iter::once(Device::Cpu).chain(gpus("integers of a file")) {
        let load = |student: &Graph| {
            Trainer::new(student, (Some(&teacher), &kept), &sample, &device, &options).unwrap()
        };
        let mut trainer = load(&Graph::from_model(&model).unwrap());
        for _ in 0..10 {
            trainer.step(&[&images], 0.02, 1.0).unwrap();
        }
        let trained = trainer.step(&[&images], 0.0, 0.0).unwrap();
        let weights = trainer.weights(false).unwrap();
        let constants = weights.constants.iter().map(|(name, tensor)| (name, tensor));
        let written = with_constants(&model, constants, []).unwrap();
        let again = load(&Graph::from_model(&written).unwrap()).step(&[&images], 0.0, 0.0).unwrap();
        let verdict =
            compare(&again.losses, &trained.losses, Tolerance { relative: 1e-5, ..Tolerance::NETWORK });
        assert!(verdict.passed(), "{device:?}: {verdict}");
    }
}
