//! Networks of 8-bit integers: what is rounded, to what, and how near the outputs stay.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use secateur::data::{DataOptions, Dataset, synthetic};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::onnx::proto::{NodeProto, TensorProto};
use secateur::onnx::tensor::decode;
use secateur::quantize::integer::{Integer, IntegerOptions, Quantizable, Runtime, fold_batch_norms};
use secateur::quantize::range::RangeMethod;
use secateur::repair::Repair;
use secateur::stats::value_histograms;
use secateur::tensor::DType;

#[path = "common/builder.rs"]
#[allow(dead_code)] // other tests use the rest
mod builder;

use builder::{Builder, ints};

const COUNT: usize = 20;

fn demo() -> Model {
    Model::load(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/demo.onnx")).unwrap()
}

/// Convolutions with BatchNormalization and Relu, a sum, a pooling in front of a concatenation, and integer weights.
fn network() -> Model {
    let mut b = Builder::new(5, 8);
    let x = b.input();
    let conv = b.conv(&x, 6, 3, 1, 1);
    let norm = b.batch_norm(&conv);
    let left = b.unary("Relu", &norm);
    let right = b.conv(&left, 6, 1, 1, 1);
    let sum = b.node("Add", &[&left.name, &right.name], vec![], &left.shape);
    let pool = b.node("MaxPool", &[&sum.name], vec![ints("kernel_shape", &[2, 2])], &[6, 7, 7]);
    let next = b.conv(&pool, 4, 3, 1, 1);
    let both = b.node("Concat", &[&pool.name, &next.name], vec![builder::int("axis", 1)], &[10, 7, 7]);
    let integers = b.quantized_conv(&both, 5);
    let (bytes, _) = b.finish(&[integers], false);
    Model::from_bytes(bytes, Path::new("network.onnx")).unwrap()
}

fn images(model: &Model) -> Dataset {
    let graph = Graph::from_model(model).unwrap();
    let shape = graph.inputs[0].sample();
    let sizes: Vec<usize> = shape.iter().flatten().copied().collect();
    let len: usize = COUNT * sizes.iter().product::<usize>();
    let bytes = synthetic::images(9, COUNT).0.into_iter().cycle().take(len).collect();
    let options = DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), ..DataOptions::default() };
    let whole: Vec<usize> = std::iter::once(COUNT).chain(sizes).collect();
    let shape: Vec<Option<usize>> = std::iter::once(None).chain(shape).collect();
    Dataset::from_bytes(bytes, &whole, None, &options, &shape).unwrap()
}

fn outputs(model: &Model) -> Vec<f32> {
    let graph = Graph::from_model(model).unwrap();
    let mut session = Session::plain(&graph, &Device::Cpu, Some(COUNT)).unwrap();
    let batch = images(model).batches(COUNT).next().unwrap().unwrap();
    session.predict(&batch.data).unwrap()
}

/// 10 log₁₀ of Σ b² over Σ (a − b)².
fn snr_db(got: &[f32], wanted: &[f32]) -> f64 {
    let noise: f64 = got.iter().zip(wanted).map(|(&a, &b)| f64::from(a - b).powi(2)).sum();
    10.0 * (wanted.iter().map(|&b| f64::from(b).powi(2)).sum::<f64>() / noise).log10()
}

fn quantizable(model: &Model, runtime: Runtime, float: &[&str]) -> Quantizable {
    let float = float.iter().map(|&name| name.to_owned()).collect();
    let repair = Repair::None;
    Quantizable::new(model, &IntegerOptions { runtime, ranges: None, repair, float }).unwrap()
}

fn quantized(model: &Model, runtime: Runtime, float: &[&str]) -> Integer {
    let network = quantizable(model, runtime, float);
    let (values, data) = (network.counted(), images(model));
    let counts = value_histograms(network.graph(), &values, &Device::Cpu, &data, None, &mut Silent).unwrap();
    network.quantize(&counts, RangeMethod::MinMax).unwrap()
}

fn nodes<'a>(model: &'a Model, op: &'a str) -> impl Iterator<Item = &'a NodeProto> {
    model.graph().node.iter().filter(move |node| node.op_type() == op)
}

fn stored<'a>(model: &'a Model, name: &str) -> &'a TensorProto {
    model.graph().initializer.iter().find(|tensor| tensor.name() == name).unwrap()
}

fn numbers(model: &Model, name: &str) -> Vec<f64> {
    decode(stored(model, name)).unwrap().to_f64()
}

#[test]
fn a_folded_network_computes_the_same() {
    for model in [demo(), network()] {
        assert!(nodes(&model, "BatchNormalization").count() > 0);
        let folded = fold_batch_norms(&model).unwrap();
        assert_eq!(nodes(&folded, "BatchNormalization").count(), 0);
        assert!(folded.graph().initializer.len() < model.graph().initializer.len(), "unused tensors stay");
        let snr = snr_db(&outputs(&folded), &outputs(&model));
        assert!(snr > 100.0, "{snr} dB");
    }
}

#[test]
fn outputs_of_integers_stay_near_the_original() {
    for model in [demo(), network()] {
        for runtime in [Runtime::Ort, Runtime::TensorRt, Runtime::OpenVino] {
            let integer = quantized(&model, runtime, &[]);
            let snr = snr_db(&outputs(&integer.model), &outputs(&model));
            assert!((20.0..80.0).contains(&snr), "{runtime}: {snr} dB");
        }
    }
}

#[test]
fn every_layer_reads_rounded_activations_and_integer_weights() {
    let integer = quantized(&network(), Runtime::Ort, &[]);
    assert_eq!(integer.layers.len(), 4);
    assert_eq!(integer.kept.len(), 1, "{:?}", integer.kept);
    let model = &integer.model;
    let made: BTreeSet<&str> = nodes(model, "DequantizeLinear").map(|node| node.output[0].as_str()).collect();
    let layers = nodes(model, "Conv").chain(nodes(model, "Gemm"));
    for layer in layers {
        assert!(layer.input[..2].iter().all(|input| made.contains(input.as_str())), "{:?}", layer.input);
    }
    let biases: Vec<&str> = nodes(model, "Conv").map(|node| node.input[2].as_str()).collect();
    assert_eq!(biases.iter().filter(|bias| made.contains(*bias)).count(), 3, "{biases:?} of {made:?}");
    let types: BTreeSet<i32> = nodes(model, "DequantizeLinear")
        .filter_map(|node| model.graph().initializer.iter().find(|t| t.name() == node.input[0]))
        .map(TensorProto::data_type)
        .collect();
    assert_eq!(types, BTreeSet::from([DType::I8.to_onnx(), DType::I32.to_onnx()]));
}

#[test]
fn integers_are_the_nearest_to_the_weights() {
    let model = demo();
    let folded = fold_batch_norms(&model).unwrap();
    let integer = quantized(&model, Runtime::Ort, &[]);
    let mut seen = 0;
    for tensor in folded.graph().initializer.iter().filter(|tensor| tensor.dims.len() == 4) {
        let name = tensor.name();
        let weights = numbers(&folded, name);
        let integers = numbers(&integer.model, &format!("{name}.quantized"));
        let scales = numbers(&integer.model, &format!("{name}.scale"));
        let each = weights.len() / scales.len();
        for (i, (w, q)) in weights.iter().zip(&integers).enumerate() {
            let scale = scales[i / each];
            assert!((w - q * scale).abs() <= 0.501 * scale && q.abs() <= 127.0, "{name}: {w}, {q} · {scale}");
        }
        let full = |q: &[f64]| q.iter().any(|q| q.abs() == 127.0) || q.iter().all(|&q| q == 0.0);
        assert!(integers.chunks(each).all(full), "{name}: integers that are not used");
        seen += 1;
    }
    assert!(seen > 2);
}

#[test]
fn a_pooling_keeps_its_scale_and_a_concatenation_covers_its_inputs() {
    let integer = quantized(&network(), Runtime::Ort, &[]);
    let model = &integer.model;
    let rounded = |name: &str| {
        let made: BTreeMap<&str, &NodeProto> =
            nodes(model, "DequantizeLinear").map(|node| (node.output[0].as_str(), node)).collect();
        let source = model.graph().node.iter().find(|node| node.output.iter().any(|o| o == name));
        let source = source.map(NodeProto::op_type).unwrap_or_default();
        assert_eq!(source, "DequantizeLinear");
        numbers(model, &made[name].input[1])[0]
    };
    let pool = nodes(model, "MaxPool").next().unwrap();
    let concat = nodes(model, "Concat").next().unwrap();
    assert_eq!(rounded(&pool.input[0]), rounded(&concat.input[0]), "before and behind the pooling");
    let scales = integer.scales();
    let of = |name: &str| scales[name.trim_end_matches(".dequantized")];
    let [left, right] = [of(&concat.input[0]), of(&concat.input[1])];
    let all = scales[concat.output[0].as_str()];
    assert_eq!((all.low, all.high), (left.low.min(right.low), left.high.max(right.high)));
}

#[test]
fn conventions_of_runtimes_are_kept() {
    let types = |runtime| {
        let integer = quantized(&network(), runtime, &[]);
        let zeros: Vec<TensorProto> = nodes(&integer.model, "QuantizeLinear")
            .map(|n| stored(&integer.model, &n.input[2]).clone())
            .collect();
        let kinds: BTreeSet<i32> = zeros.iter().map(TensorProto::data_type).collect();
        let zero = zeros.iter().all(|tensor| decode(tensor).unwrap().to_f64() == [0.0]);
        let biases = integer.model.graph().initializer.iter().any(|t| t.data_type() == DType::I32.to_onnx());
        (kinds, zero, biases)
    };
    assert_eq!(types(Runtime::Ort), (BTreeSet::from([DType::U8.to_onnx()]), false, true));
    assert_eq!(types(Runtime::TensorRt), (BTreeSet::from([DType::I8.to_onnx()]), true, false));
    assert_eq!(types(Runtime::OpenVino), (BTreeSet::from([DType::U8.to_onnx()]), false, false));
}

#[test]
fn names_of_inputs_and_outputs_stay_and_named_nodes_stay_in_float() {
    let model = demo();
    let first = quantized(&model, Runtime::Ort, &[]).layers[0].clone();
    let integer = quantized(&model, Runtime::Ort, &[&first]);
    assert!(!integer.layers.contains(&first));
    assert_eq!(integer.kept[0].0, first);
    let names = |model: &Model| {
        let graph = model.graph();
        let of = |all: &[secateur::onnx::proto::ValueInfoProto]| -> Vec<String> {
            all.iter().map(|info| info.name().to_owned()).collect()
        };
        (of(&graph.input), of(&graph.output))
    };
    assert_eq!(names(&integer.model), names(&model));
}
