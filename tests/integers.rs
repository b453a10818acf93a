//! Layers between quantizations: which of them compute with integers, and that they agree with floats.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::Path;

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::graph::Graph;
use secateur::graph::facts::Facts;
use secateur::onnx::Model;
use secateur::plan::{self, BuildOptions, Plan};
use secateur::tensor::{DType, Tensor};
use secateur::train::GradientPlan;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/builder.rs"]
#[allow(dead_code)] // other tests use the rest
mod builder;

use adapters::gpus;
use builder::{Builder, Value, int, ints};

const SIDE: usize = 9;
const BATCH: usize = 3;

/// Adds a pair of nodes that round a value.
fn rounded(b: &mut Builder, x: &Value, dtype: DType, (scale, zero): (f32, i64)) -> Value {
    let scale = b.constant(&Tensor::float(&[], vec![scale]));
    let zero = b.constant(&Tensor { dtype, ..Tensor::int(&[], vec![zero]) });
    let integers = b.node("QuantizeLinear", &[&x.name, &scale, &zero], vec![], &x.shape);
    b.node("DequantizeLinear", &[&integers.name, &scale, &zero], vec![], &x.shape)
}

/// Adds a convolution whose weights are stored as integers, all with this zero point.
fn conv(b: &mut Builder, x: &Value, (out, kernel): (usize, usize), dtype: DType, zero: i64) -> Value {
    let shape = [out, x.shape[0], kernel, kernel];
    let low = if dtype == DType::I8 { -128 } else { 0 };
    let integer = |i: usize| (i * 7919 % 256) as i64 + low;
    let data = (0..shape.iter().product()).map(integer).collect();
    let stored = b.constant(&Tensor { dtype, ..Tensor::int(&shape, data) });
    let scales = (0..out).map(|i| 0.001 + i as f32 * 0.0003).collect();
    let scales = b.constant(&Tensor::float(&[out], scales));
    let zeros = b.constant(&Tensor { dtype, ..Tensor::int(&[out], vec![zero; out]) });
    let w = b.node("DequantizeLinear", &[&stored, &scales, &zeros], vec![int("axis", 0)], &shape);
    let bias = b.floats(&[out], 0.1, 0.3);
    let pad = (kernel / 2) as i64;
    b.node("Conv", &[&x.name, &w.name, &bias], vec![ints("pads", &[pad; 4])], &[out, SIDE, SIDE])
}

fn graph(b: Builder, values: &[Value]) -> Graph {
    let (bytes, _) = b.finish(values, false);
    Graph::from_model(&Model::from_bytes(bytes, Path::new("integers.onnx")).unwrap()).unwrap()
}

fn facts(graph: &Graph) -> Facts {
    Facts::infer(graph, &[vec![BATCH, 3, SIDE, SIDE]]).unwrap()
}

fn built(graph: &Graph, options: &BuildOptions) -> Plan {
    plan::build(graph, &facts(graph), options).unwrap()
}

fn kernels(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.kernel.row().name).collect()
}

/// Multiples of a hundredth, which no scale of the tests rounds at a tie.
fn images() -> Vec<f32> {
    (0..BATCH * 3 * SIDE * SIDE).map(|i| (i * 7919 % 201) as f32 / 100.0 - 1.0).collect()
}

/// Compares the outputs of a graph with integers on all devices with those in floats.
fn agrees(graph: &Graph, what: &str) {
    let floats = built(graph, &BuildOptions { integers: false, ..BuildOptions::default() });
    assert!(!kernels(&floats).contains(&"conv_integers"));
    let x = images();
    let expected = Device::Cpu.load(&floats).unwrap().run(&[&x]).unwrap().concat();
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    let plan = built(graph, &BuildOptions::default());
    for device in gpus("layers of integers").into_iter().chain([Device::Cpu]) {
        let got = device.load_poisoned(&plan).unwrap().run(&[&x]).unwrap().concat();
        let verdict = compare(&got, &expected, Tolerance::NETWORK);
        assert!(verdict.passed(), "{what} on {}: {verdict}", device.describe().name);
    }
}

#[test]
fn layers_between_quantizations_compute_with_integers() {
    for (dtype, zeros) in [(DType::U8, [121, 0]), (DType::I8, [-7, -128])] {
        let mut b = Builder::new(3, SIDE);
        let x = b.input();
        let x = rounded(&mut b, &x, dtype, (0.0171, zeros[0]));
        let left = conv(&mut b, &x, (7, 3), DType::I8, 0);
        let left = b.unary("Relu", &left);
        let left = rounded(&mut b, &left, dtype, (0.0211, zeros[1]));
        let right = conv(&mut b, &left, (5, 1), DType::U8, 128);
        let graph = graph(b, &[right]);
        let plan = built(&graph, &BuildOptions::default());
        // The second quantization is a part of the first convolution, as is the Relu.
        let convs = ["unary", "conv_integers", "conv_integers"];
        assert_eq!(kernels(&plan)[..3], convs, "{dtype:?}");
        agrees(&graph, &format!("{dtype:?}"));
    }
}

#[test]
fn a_value_that_others_read_is_computed_in_floats_too() {
    let mut b = Builder::new(4, SIDE);
    let x = b.input();
    let x = rounded(&mut b, &x, DType::U8, (0.0171, 100));
    let wide = conv(&mut b, &x, (3, 3), DType::I8, 0);
    let sum = b.node("Add", &[&wide.name, &x.name], vec![], &wide.shape);
    let read = x.name.clone();
    let graph = graph(b, &[sum]);
    let plan = built(&graph, &BuildOptions::default());
    let count = |plan: &Plan, name: &str| kernels(plan).iter().filter(|&&kernel| kernel == name).count();
    assert_eq!((count(&plan, "conv_integers"), count(&plan, "unary")), (1, 2));
    agrees(&graph, "a sum");

    // A tap of the value has the numbers that floats give.
    let taps = vec![graph.value(&read).unwrap()];
    let x = images();
    let run = |integers| {
        let options = BuildOptions { integers, taps: taps.clone(), ..BuildOptions::default() };
        Device::Cpu.load(&built(&graph, &options)).unwrap().run(&[&x]).unwrap().swap_remove(1)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn other_layers_stay_in_floats() {
    let names = |b: Builder, y: Value| {
        let graph = graph(b, &[y]);
        agrees(&graph, "floats");
        kernels(&built(&graph, &BuildOptions::default()))
    };
    let mut b = Builder::new(5, SIDE);
    let x = b.input();
    let y = conv(&mut b, &x, (4, 3), DType::I8, 0);
    assert!(!names(b, y).contains(&"conv_integers"), "an input that is not rounded");
    let mut b = Builder::new(5, SIDE);
    let x = b.input();
    let x = rounded(&mut b, &x, DType::U8, (0.0171, 100));
    let y = b.conv(&x, 4, 3, 1, 1);
    assert!(!names(b, y).contains(&"conv_integers"), "weights that are no integers");
    let mut b = Builder::new(5, SIDE);
    let x = b.input();
    let x = rounded(&mut b, &x, DType::U8, (0.0171, 100));
    let y = conv(&mut b, &x, (4, 3), DType::U8, 100);
    assert!(!names(b, y).contains(&"conv_integers"), "weights beyond 127");
}

/// Gradients pass the roundings, so a plan with gradients has the single steps.
#[test]
fn a_plan_with_gradients_has_floats_only() {
    let mut b = Builder::new(6, SIDE);
    let x = b.input();
    let x = rounded(&mut b, &x, DType::U8, (0.0171, 100));
    let y = conv(&mut b, &x, (4, 3), DType::I8, 0);
    let plan = GradientPlan::new(&graph(b, &[y]), Some(BATCH)).unwrap().plan;
    assert!(!kernels(&plan).contains(&"conv_integers"));
    assert!(kernels(&plan).contains(&"conv"));
}
