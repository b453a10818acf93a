//! Removal of channels that are constant but not zero: exact inside padded borders, and the borders' effect is reported.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::onnx::tensor::{decode, encode, zero};
use secateur::prune::{Channels, FoldedConstants, Rewritten, border_effect, rewrite};
use secateur::repair::{Images, Repair, repair};
use secateur::tensor::{SampleShape, Tensor};

#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;

use builder::{Builder, Value, int, ints, text};

/// A network with some constant channels, which the cut removes.
struct Net {
    model: Model,
    removed: BTreeSet<usize>,
}

impl Net {
    /// Zeroes the slices `zeros` along axis `axis` of input `input` of a node, and cuts these channels of `layer`.
    fn new(bytes: Vec<u8>, node: (&str, usize, usize), layer: &str, zeros: &[usize]) -> Self {
        let model = masked(Model::from_bytes(bytes, Path::new("built.onnx")).unwrap(), node, zeros);
        let graph = Graph::from_model(&model).unwrap();
        let channels = Channels::of(&graph).unwrap();
        let layer = graph.nodes.position(|n| n.name == layer).unwrap();
        let free = channels.coupled.iter().filter(|set| set.block.is_none());
        let cut = free.filter(|set| zeros.iter().any(|&z| set.members.contains(&(layer, z))));
        let removed: BTreeSet<usize> = cut.map(|set| set.id).collect();
        assert!(!removed.is_empty(), "the channels can be removed");
        Self { model, removed }
    }

    fn cut(&self) -> Rewritten {
        cut(&self.model, &self.removed)
    }

    /// Proves the cut, and returns the summary of the constant channels.
    fn folded(&self) -> Option<FoldedConstants> {
        let cut = self.cut();
        assert!(cut.prove(&Device::Cpu, None).unwrap().passed);
        border_effect(&cut.reference, (&self.model, false), &Device::Cpu, None).unwrap()
    }

    fn loses_nothing(&self) -> Result<(), String> {
        equal(&self.cut().model, &self.model)
    }
}

fn cut(model: &Model, removed: &BTreeSet<usize>) -> Rewritten {
    let graph = Graph::from_model(model).unwrap();
    rewrite(model, &graph, &Channels::of(&graph).unwrap(), removed).unwrap()
}

/// Returns the model with zeros in a constant input of a node.
fn masked(mut model: Model, (node, input, axis): (&str, usize, usize), zeros: &[usize]) -> Model {
    let node = model.graph().node.iter().find(|n| n.name() == node).unwrap();
    let name = node.input[input].clone();
    let tensor = model.graph_mut().initializer.iter_mut().find(|t| t.name() == name).unwrap();
    let mask: Vec<bool> = (0..tensor.dims[axis]).map(|i| zeros.contains(&(i as usize))).collect();
    *tensor = zero(tensor, axis, &mask).unwrap();
    model
}

fn outputs(model: &Model) -> Vec<Vec<f32>> {
    let graph = Graph::from_model(model).unwrap();
    let mut session = Session::plain(&graph, &Device::Cpu, Some(2)).unwrap();
    let len: usize = session.plan.inputs[0].shape.iter().product();
    let x: Vec<f32> = (0..len).map(|i| ((i * 7919 % 1009) as f32 / 252.25) - 2.0).collect();
    session.run_steps(&[&x]).unwrap()
}

fn equal(got: &Model, expected: &Model) -> Result<(), String> {
    for (got, expected) in outputs(got).iter().zip(&outputs(expected)) {
        let verdict = compare(got, expected, Tolerance::NETWORK);
        if !verdict.passed() {
            return Err(verdict.to_string());
        }
    }
    Ok(())
}

/// Crops one row or column at each side.
fn inside(b: &mut Builder, x: &Value) -> Value {
    let side = x.shape[1];
    let [start, end, axes] = [[1, 1], [side as i64 - 1; 2], [2, 3]].map(|v| b.whole(&v));
    b.node("Slice", &[&x.name, &start, &end, &axes], vec![], &[x.shape[0], side - 2, side - 2])
}

type Step = fn(&mut Builder, &Value) -> Value;

fn sigmoid(b: &mut Builder, x: &Value) -> Value {
    b.unary("Sigmoid", x)
}

fn with(b: &mut Builder, op: &str, x: &Value, shape: &[usize], around: f32) -> Value {
    let operand = b.floats(shape, around, 0.5);
    b.node(op, &[&x.name, &operand], vec![], &x.shape)
}

/// Functions that make a constant other than zero of a zero filter's bias.
const KINDS: &[(&str, Step)] = &[
    ("Sigmoid", sigmoid),
    ("HardSigmoid", |b, x| b.unary("HardSigmoid", x)),
    ("BatchNormalization", Builder::batch_norm),
    ("layer scale", |b, x| {
        let scaled = with(b, "Mul", x, &[8, 1, 1], 1.0);
        with(b, "Add", &scaled, &[8, 1, 1], 1.0)
    }),
    ("InstanceNormalization", |b, x| {
        let (scale, bias) = (b.floats(&[8], 1.0, 0.5), b.floats(&[8], 1.0, 0.5));
        b.node("InstanceNormalization", &[&x.name, &scale, &bias], vec![], &x.shape)
    }),
    ("Elu + 1", |b, x| {
        let elu = b.unary("Elu", x);
        with(b, "Add", &elu, &[1], 1.0)
    }),
    ("x · Sigmoid(x)", |b, x| {
        let gate = sigmoid(b, x);
        b.node("Mul", &[&x.name, &gate.name], vec![], &x.shape)
    }),
    ("PRelu of a difference", |b, x| {
        let less = with(b, "Sub", x, &[8, 1, 1], 2.0);
        with(b, "PRelu", &less, &[8, 1, 1], 0.5)
    }),
    ("MaxPool", |b, x| {
        let x = sigmoid(b, x);
        let pool = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4])];
        b.node("MaxPool", &[&x.name], pool, &x.shape)
    }),
    ("Resize", |b, x| {
        let x = sigmoid(b, x);
        let (ones, twos) = (b.floats(&[2], 1.0, 0.0), b.floats(&[2], 2.0, 0.0));
        let scales = b.node("Concat", &[&ones, &twos], vec![int("axis", 0)], &[4]);
        let mode = vec![text("mode", "linear")];
        b.node("Resize", &[&x.name, "", &scales.name], mode, &[8, 16, 16])
    }),
    ("a sum of two constants", |b, x| {
        let (one, other) = (sigmoid(b, x), b.unary("Softplus", x));
        b.node("Add", &[&one.name, &other.name], vec![], &x.shape)
    }),
    ("reflected borders", |b, x| {
        let (x, pads) = (sigmoid(b, x), b.whole(&[0, 0, 1, 1, 0, 0, 1, 1]));
        b.node("Pad", &[&x.name, &pads], vec![text("mode", "reflect")], &[8, 10, 10])
    }),
];

/// Builds a convolution whose filters 1 and 6 are zero, `f`, and a consumer; a last step may crop.
fn behind(f: Step, consumer: Step, last: Step) -> Net {
    let mut b = Builder::new(31, 8);
    let x = b.input();
    let first = b.conv(&x, 8, 3, 1, 1);
    let y = f(&mut b, &first);
    let y = consumer(&mut b, &y);
    let y = last(&mut b, &y);
    Net::new(b.finish(&[y], true).0, (&first.name, 1, 0), &first.name, &[1, 6])
}

fn same(_: &mut Builder, x: &Value) -> Value {
    x.clone()
}

fn padded(b: &mut Builder, x: &Value) -> Value {
    b.conv(x, 4, 3, 1, 1)
}

#[test]
fn constants_go_into_the_biases_of_consumers() {
    for (name, f) in KINDS {
        let net = behind(*f, |b, x| b.conv(x, 4, 1, 1, 1), same);
        let folded = net.folded().unwrap();
        assert_eq!((folded.channels, folded.layers), (2, 1), "{name}");
        assert_eq!((folded.borders, folded.difference), (vec![], None), "{name}: no padding");
        assert_eq!(net.loses_nothing(), Ok(()), "{name}");
    }
}

#[test]
fn behind_padding_only_the_borders_differ() {
    for (name, f) in KINDS {
        let cropped = behind(*f, padded, inside);
        assert_eq!(cropped.loses_nothing(), Ok(()), "{name}: inside");
        let whole = behind(*f, padded, same);
        assert!(whole.loses_nothing().is_err(), "{name}: the borders saw no constant");
        let folded = whole.folded().unwrap();
        assert_eq!((folded.channels, folded.borders.len()), (2, 1), "{name}");
        // The cut removes constant channels only, so the whole difference is that of the borders.
        let (got, expected) = (outputs(&cut(&whole.model, &whole.removed).model), outputs(&whole.model));
        let off = compare(&got[0], &expected[0], Tolerance::NETWORK).max_rel_err;
        let told = folded.difference.unwrap();
        assert!(told > 1e-3 && told < 10.0 * off && off < 10.0 * told, "{name}: told {told}, seen {off}");
        let crop = cropped.folded().unwrap().difference.unwrap();
        assert!(crop < 1e-4, "{name}: the crop removes the borders, not {crop}");
    }
}

#[test]
fn a_batch_normalization_without_scale_makes_a_constant() {
    let mut b = Builder::new(32, 8);
    let x = b.input();
    let first = b.conv(&x, 8, 3, 1, 1);
    let y = b.batch_norm(&first);
    let y = b.unary("Softplus", &y);
    let read = b.conv(&y, 4, 1, 1, 1);
    let bytes = b.finish(&[read], true).0;
    let model = Model::from_bytes(bytes.clone(), Path::new("built.onnx")).unwrap();
    let norm =
        model.graph().node.iter().find(|n| n.op_type() == "BatchNormalization").unwrap().name().to_owned();
    let net = Net::new(bytes, (&norm, 1, 0), &first.name, &[0, 3, 5]);
    assert_eq!(net.folded().unwrap().channels, 3);
    assert_eq!(net.loses_nothing(), Ok(()));
}

/// Consumers that are exact in the whole or inside, with the number of biases that change.
const CONSUMERS: &[(&str, Step, usize)] = &[
    ("a grouped convolution", |b, x| b.conv(x, 4, 3, 1, 2), 1),
    (
        "a transposed convolution",
        |b, x| {
            let (w, bias) = (b.floats(&[8, 4, 3, 3], 0.2, 0.5), b.floats(&[4], 0.0, 0.3));
            b.node("ConvTranspose", &[&x.name, &w, &bias], vec![ints("pads", &[1; 4])], &[4, 8, 8])
        },
        1,
    ),
    (
        "two convolutions, one with padding",
        |b, x| {
            let (near, far) = (b.conv(x, 4, 1, 1, 1), b.conv(x, 4, 3, 1, 1));
            b.node("Add", &[&near.name, &far.name], vec![], &near.shape)
        },
        2,
    ),
    (
        "a depthwise convolution",
        |b, x| {
            let y = b.conv(x, 8, 3, 1, 8);
            let y = sigmoid(b, &y);
            b.conv(&y, 4, 1, 1, 1)
        },
        1,
    ),
    (
        "a matrix product and an Add",
        |b, x| {
            let last = b.node("Transpose", &[&x.name], vec![ints("perm", &[0, 2, 3, 1])], &[8, 8, 8]);
            let (w, bias) = (b.floats(&[8, 4], 0.2, 0.5), b.floats(&[4], 0.1, 0.3));
            let y = b.node("MatMul", &[&last.name, &w], vec![], &[8, 8, 4]);
            let y = b.node("Add", &[&bias, &y.name], vec![], &[8, 8, 4]);
            b.node("Transpose", &[&y.name], vec![ints("perm", &[0, 3, 1, 2])], &[4, 8, 8])
        },
        1,
    ),
    (
        "a Gemm without C",
        |b, x| {
            let mean = b.node("GlobalAveragePool", &[&x.name], vec![], &[8, 1, 1]);
            let flat = b.node("Flatten", &[&mean.name], vec![], &[8]);
            let w = b.floats(&[4, 8], 0.2, 0.5);
            let y = b.node("Gemm", &[&flat.name, &w], vec![int("transB", 1)], &[4]);
            let y = b.reshaped(&y, &[4, 1, 1]);
            let shape = b.whole(&[1, 1, 8, 8]);
            b.node("Expand", &[&y.name, &shape], vec![], &[4, 8, 8])
        },
        1,
    ),
    (
        "a convolution that sees one pixel",
        |b, x| {
            let mean = b.node("GlobalAveragePool", &[&x.name], vec![], &[8, 1, 1]);
            let y = b.conv(&mean, 4, 3, 1, 1);
            let shape = b.whole(&[1, 1, 8, 8]);
            b.node("Expand", &[&y.name, &shape], vec![], &[4, 8, 8])
        },
        1,
    ),
];

#[test]
fn every_consumer_is_exact_inside() {
    for (name, consumer, layers) in CONSUMERS {
        // In a grouped convolution, channels of all groups are removed together.
        let zeros: &[usize] = if name.contains("grouped") { &[1, 5] } else { &[1, 6] };
        let mut b = Builder::new(33, 8);
        let x = b.input();
        let first = b.conv(&x, 8, 3, 1, 1);
        let y = sigmoid(&mut b, &first);
        let y = consumer(&mut b, &y);
        let y = inside(&mut b, &y);
        let net = Net::new(b.finish(&[y], true).0, (&first.name, 1, 0), &first.name, zeros);
        assert_eq!(net.folded().unwrap().layers, *layers, "{name}");
        assert_eq!(net.loses_nothing(), Ok(()), "{name}");
    }
}

/// Tests strides of a transposed convolution: the mean of its phases is folded, which is not exact.
#[test]
fn phases_of_a_transposed_convolution_are_reported() {
    let net = behind(
        sigmoid,
        |b, x| b.up(x, 4, 1),
        |b, x| {
            let [start, end, axes] = [[4, 4], [12, 12], [2, 3]].map(|v| b.whole(&v));
            b.node("Slice", &[&x.name, &start, &end, &axes], vec![], &[4, 8, 8])
        },
    );
    let folded = net.folded().unwrap();
    assert_eq!(folded.borders.len(), 1);
    assert!(folded.difference.unwrap() > 1e-3);
}

/// Tests a channel that is zero inside and not at its borders: no bias changes, but the borders are lost.
#[test]
fn borders_without_a_constant_are_reported() {
    let mut b = Builder::new(34, 8);
    let x = b.input();
    let w = b.floats(&[8, 3, 3, 3], 0.0, 0.5);
    let first = b.node("Conv", &[&x.name, &w], vec![ints("pads", &[1; 4])], &[8, 8, 8]);
    let y = sigmoid(&mut b, &first);
    let pads = b.whole(&[0, 0, 1, 1, 0, 0, 1, 1]);
    let y = b.node("Pad", &[&y.name, &pads], vec![], &[8, 10, 10]);
    let half = b.floats(&[1], 0.5, 0.0);
    let y = b.node("Sub", &[&y.name, &half], vec![], &[8, 10, 10]);
    let read = b.conv(&y, 4, 1, 1, 1);
    let net = Net::new(b.finish(std::slice::from_ref(&read), true).0, (&first.name, 1, 0), &first.name, &[2]);
    let folded = net.folded().unwrap();
    assert_eq!((folded.channels, folded.layers, folded.borders), (1, 0, vec![read.name]));
    assert!(folded.difference.unwrap() > 1e-3);
}

/// Tests channels that become the pixels of one channel: they are one constant only if all are equal.
#[test]
fn channels_that_become_pixels_are_constant_together() {
    let build = |zeros: &[usize], equal_biases: bool| {
        let mut b = Builder::new(35, 8);
        let x = b.input();
        let w = b.floats(&[8, 3, 3, 3], 0.0, 0.5);
        let bias = b.floats(&[8], 0.5, if equal_biases { 0.0 } else { 0.4 });
        let first = b.node("Conv", &[&x.name, &w, &bias], vec![ints("pads", &[1; 4])], &[8, 8, 8]);
        let y = b.node("DepthToSpace", &[&first.name], vec![int("blocksize", 2)], &[2, 16, 16]);
        let read = b.conv(&y, 4, 1, 1, 1);
        Net::new(b.finish(&[read], true).0, (&first.name, 1, 0), &first.name, zeros)
    };
    let all = [0, 2, 4, 6];
    let net = build(&all, true);
    assert!(net.folded().is_some());
    assert_eq!(net.loses_nothing(), Ok(()));
    assert_eq!(build(&all, false).folded(), None, "pixels of different constants");
    assert_eq!(build(&all[..1], true).folded(), None, "one pixel of four is constant");
}

/// Tests groups that share filter labels: a filter that is zero in one group only leaves a channel that is not constant.
#[test]
fn filters_that_are_zero_in_one_group_are_not_constant() {
    let mut b = Builder::new(36, 8);
    let x = b.input();
    let start = b.conv(&x, 4, 3, 1, 1);
    let up = b.up(&start, 8, 2);
    let y = sigmoid(&mut b, &up);
    let read = b.conv(&y, 4, 1, 1, 1);
    let mut model = Model::from_bytes(b.finish(&[read], true).0, Path::new("built.onnx")).unwrap();
    let weight = model.graph().node.iter().find(|n| n.name() == up.name).unwrap().input[1].clone();
    let tensor = model.graph_mut().initializer.iter_mut().find(|t| t.name() == weight).unwrap();
    // The weights are [in, out / groups, 2, 2], and inputs 0 and 1 belong to the first group.
    let mut decoded = decode(tensor).unwrap();
    let data = decoded.to_f64().into_iter().enumerate();
    let data: Vec<f64> = data.map(|(i, v)| if i < 32 && i / 4 % 4 == 1 { 0.0 } else { v }).collect();
    decoded = Tensor::from_f64(decoded.dtype, &decoded.shape, &data);
    *tensor = encode(&weight, &decoded);
    let graph = Graph::from_model(&model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    let node = graph.nodes.position(|n| n.name == up.name).unwrap();
    let set = channels.coupled.iter().find(|set| set.members.contains(&(node, 1))).unwrap();
    assert!(set.block.is_none() && set.members.contains(&(node, 5)));
    assert_eq!(Net { removed: [set.id].into(), model }.folded(), None);
}

/// Tests that a repair keeps what a bias behind a MatMul replaces, and does not replace it twice.
#[test]
fn repairs_keep_constants_behind_a_matrix_product() {
    let mut b = Builder::new(37, 8);
    let x = b.input();
    let first = b.conv(&x, 8, 3, 1, 1);
    let y = sigmoid(&mut b, &first);
    let last = b.node("Transpose", &[&y.name], vec![ints("perm", &[0, 2, 3, 1])], &[8, 8, 8]);
    let (w, bias) = (b.floats(&[8, 4], 0.2, 0.5), b.floats(&[4], 0.1, 0.3));
    let y = b.node("MatMul", &[&last.name, &w], vec![], &[8, 8, 4]);
    let y = b.node("Add", &[&y.name, &bias], vec![], &[8, 8, 4]);
    let y = b.node("Relu", &[&y.name], vec![], &[8, 8, 4]);
    let y = b.node("Transpose", &[&y.name], vec![ints("perm", &[0, 3, 1, 2])], &[4, 8, 8]);
    let net = Net::new(b.finish(&[y], true).0, (&first.name, 1, 0), &first.name, &[1, 6]);
    let len = 3 * 8 * 8;
    let data = (0..16 * len).map(|i| ((i * 7919 % 1013) as f32 / 253.25) - 2.0).collect();
    let images = Images { data: Arc::new(data), sample: SampleShape::of_one(&[3, 8, 8]), count: 16 };
    let graph = Graph::from_model(&net.model).unwrap();
    let channels = Channels::of(&graph).unwrap();
    for how in [Repair::Bias, Repair::Bn, Repair::Full] {
        let with = (&Device::Cpu, &images);
        let repaired = repair(&graph, &channels, &net.removed, how, with, &mut Silent).unwrap();
        let repaired = repaired.apply(&net.model).unwrap();
        assert_eq!(equal(&cut(&repaired, &net.removed).model, &net.model), Ok(()), "{how}");
    }
}
