//! Steps of a training that need several runs, and the layers whose features are compared.

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::graph::Graph;
use secateur::pipeline::{FeatureLayers, Objective, TrainingOptions};
use secateur::tensor::SampleShape;
use secateur::train::{KeptValues, Optimizer, Trainer, TrainerOptions};

use super::adapters::gpus;
use super::builder::Builder;
use super::files::numbers;
use super::setup::{Course, body, classifier, graph, steps, unlabelled};

/// A classifier whose features are pooled maps.
fn pooled(seed: u64) -> Graph {
    let mut b = Builder::new(seed, 8);
    let x = b.input();
    let y = body(&mut b, &x);
    graph(b.finish(&[y], false).0)
}

fn options(runs: usize, features: FeatureLayers) -> TrainerOptions {
    TrainerOptions {
        objective: Objective { labels: 0.5, soft: 1.0, ..Objective::IMITATION },
        features,
        optimizer: Optimizer::SGD,
        decay: 1e-2,
        max_norm: 5.0,
        batch: Some(8),
        runs,
        batch_statistics: false,
        penalty: None,
        observes: false,
    }
}

/// Returns the losses and norms of three steps, then the trained weights.
fn trained(device: &Device, options: &TrainerOptions) -> Vec<f64> {
    let (student, teacher) = (pooled(3), pooled(4));
    let sample = SampleShape::of_one(&[3, 8, 8]);
    let by = (Some(&teacher), &KeptValues::new());
    let mut trainer = Trainer::new(&student, by, &sample, device, options).unwrap();
    assert_eq!(trainer.batch(), 8);
    let mut labels = vec![0.0; 40];
    (0..8).for_each(|row| labels[5 * row + row % 5] = 1.0);
    let mut found = Vec::new();
    for step in 0..3 {
        let images = numbers(8 * 192, step);
        let result = trainer.step(&[&images, &labels], 0.02, 0.5).unwrap();
        found.extend(result.losses.iter().copied().chain([f64::from(result.norm)]));
    }
    let weights = trainer.weights(true).unwrap();
    found.extend(weights.constants.iter().flat_map(|(_, tensor)| tensor.to_f64()));
    found
}

#[test]
fn steps_in_several_runs_equal_steps_in_one() {
    for device in std::iter::once(Device::Cpu).chain(gpus("runs of a step")) {
        let one = trained(&device, &options(1, FeatureLayers::Stages));
        for runs in [2, 8] {
            let several = trained(&device, &options(runs, FeatureLayers::Stages));
            let verdict = compare(&several, &one, Tolerance::NETWORK);
            assert!(verdict.passed(), "{runs} runs on {device:?}: {verdict}");
        }
    }
}

#[test]
fn features_of_stages_and_named_layers_are_compared() {
    let teacher = pooled(6);
    let loss = |features: FeatureLayers| {
        let student = pooled(5);
        let (sample, kept) = (SampleShape::of_one(&[3, 8, 8]), KeptValues::new());
        let options = options(1, features);
        let mut trainer =
            Trainer::new(&student, (Some(&teacher), &kept), &sample, &Device::Cpu, &options).unwrap();
        let result = trainer.step(&[&numbers(8 * 192, 0), &[0.2; 40]], 0.0, 1.0).unwrap();
        let at = trainer.losses().iter().position(|loss| loss.name == "features").unwrap();
        result.losses[at]
    };
    let last = loss(FeatureLayers::Last);
    let stages = loss(FeatureLayers::Stages);
    let first = teacher.nodes.ids().find(|&id| teacher.nodes[id].op_type == "Conv").unwrap();
    let named = loss(FeatureLayers::Named(vec![teacher.nodes[first].name.clone()]));
    let different = |a: f64, b: f64| (a - b).abs() > 1e-4 * a.abs();
    assert!(different(last, stages), "{last} and {stages}");
    assert!(different(last, named) && different(stages, named), "{last}, {stages} and {named}");
    assert!([last, stages, named].iter().all(|loss| *loss > 0.0 && loss.is_finite()));
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    let course = Course::of(unlabelled(classifier(1)));
    let features = FeatureLayers::Named(vec!["no such layer".to_owned()]);
    let options = TrainingOptions { features, ..steps(2) };
    let teacher = graph(classifier(2));
    let error = course.observed((Some(&teacher), &Device::Cpu), &options, &mut secateur::observer::Silent);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("no such layer"), "{text}");
}
