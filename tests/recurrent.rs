//! Cuts of networks with recurrent layers: channels before them, and hidden units of all directions.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::{Graph, NodeId};
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::onnx::proto::NodeProto;
use secateur::prune::{Channels, Rewritten, rewrite};
use secateur::repair::{Images, Repair, repair};
use secateur::report::network::sizes;
use secateur::tensor::SampleShape;
use secateur::tensor::{DType, Tensor};

#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;

use builder::{Builder, Recurrence, Value, info, int, ints};

/// The side of the images.
const SIDE: usize = 4;

/// A network: its model, graph and channels.
struct Net {
    model: Model,
    graph: Graph,
    channels: Channels,
}

impl Net {
    fn new(bytes: Vec<u8>) -> Self {
        let model = Model::from_bytes(bytes, Path::new("built.onnx")).unwrap();
        let graph = Graph::from_model(&model).unwrap();
        let channels = Channels::of(&graph).unwrap();
        Self { model, graph, channels }
    }

    fn node(&self, op: &str) -> NodeId {
        self.graph.nodes.position(|n| n.op_type == op).unwrap()
    }

    /// Returns the removable sets of coupled channels that contain channels of a node.
    fn free(&self, node: NodeId) -> Vec<usize> {
        let removable = self.channels.coupled.iter().filter(|k| k.block.is_none());
        removable.filter(|k| k.members.iter().any(|m| m.0 == node)).map(|k| k.id).collect()
    }

    /// Returns the reasons that freeze channels of a node.
    fn blocks(&self, node: NodeId) -> BTreeSet<String> {
        let coupled = self.channels.coupled.iter().filter(|k| k.members.iter().any(|m| m.0 == node));
        coupled.filter_map(|k| Some(k.block.clone()?.reason)).collect()
    }

    /// Removes coupled channels and proves the cut, also for batches and on every adapter.
    fn proved(&self, coupled: &[usize]) -> Rewritten {
        let coupled: BTreeSet<usize> = coupled.iter().copied().collect();
        let pruned = rewrite(&self.model, &self.graph, &self.channels, &coupled).unwrap();
        let proof = pruned.prove(&Device::Cpu, None).unwrap();
        assert!(proof.passed && proof.exact);
        for batch in [1, 3] {
            let (got, expected) = (outputs(&pruned.model, batch), outputs(&pruned.masked, batch));
            for (got, expected) in got.iter().zip(&expected) {
                let verdict = compare(got, expected, Tolerance::NETWORK);
                assert!(verdict.passed(), "batch {batch}: {verdict}");
            }
        }
        self.costs_are_those_of(&pruned.model, &coupled);
        pruned
    }

    /// Tests that the predicted MACs and parameters are those of the pruned network.
    fn costs_are_those_of(&self, pruned: &Model, coupled: &BTreeSet<usize>) {
        let predicted = self.channels.cost(&self.channels.lengths_without(coupled));
        let after = Channels::of(&Graph::from_model(pruned).unwrap()).unwrap();
        let left = after.cost(&after.lengths());
        assert_eq!(predicted.0, left.0);
        // A zero state that is left out counts as parameters before the cut.
        let states = self.graph.nodes.iter().any(|n| n.op_type == "ConstantOfShape");
        assert!(predicted.1 == left.1 || states && predicted.1 > left.1, "{predicted:?}, {left:?}");
        assert!(predicted.0 < self.channels.cost(&self.channels.lengths()).0);
    }
}

fn outputs(model: &Model, batch: usize) -> Vec<Vec<f32>> {
    let mut session = Session::plain(&Graph::from_model(model).unwrap(), &Device::Cpu, Some(batch)).unwrap();
    let len: usize = session.plan.inputs[0].shape.iter().product();
    let x: Vec<f32> = (0..len).map(|i| ((i * 7919 % 1009) as f32 / 252.25) - 2.0).collect();
    session.run_steps(&[&x]).unwrap()
}

/// Returns the first node of an operator in a pruned model.
fn node<'a>(model: &'a Model, op: &str) -> &'a NodeProto {
    model.graph().node.iter().find(|n| n.op_type() == op).unwrap()
}

/// Returns the dimensions of a node's constant input.
fn dims(model: &Model, op: &str, input: usize) -> Vec<i64> {
    let name = &node(model, op).input[input];
    model.graph().initializer.iter().find(|t| t.name() == name).unwrap().dims.clone()
}

fn hidden_size(model: &Model, op: &str) -> Option<i64> {
    node(model, op).attribute.iter().find(|a| a.name() == "hidden_size").and_then(|a| a.i)
}

/// Starts a network with a convolution whose pixels become steps; `build` continues to the last value.
fn behind_convolution(width: usize, build: impl Fn(&mut Builder, &Value) -> Value) -> Net {
    let mut b = Builder::new(41, SIDE);
    let x = b.input();
    let first = b.conv(&x, width, 3, 1, 1);
    let steps = b.pixel_steps(&first);
    let y = build(&mut b, &steps);
    let y = b.pixels_of_steps(&y, SIDE);
    let y = b.conv(&y, 4, 1, 1, 1);
    Net::new(b.finish(&[y], false).0)
}

#[test]
fn units_of_both_directions_and_channels_before_are_removed() {
    let net = behind_convolution(6, |b, steps| {
        let y = b.recurrence(steps, Recurrence::new("LSTM", 6, 5, 2));
        let y = b.joined(&y[0], 10);
        let y = b.recurrence(&y, Recurrence::new("LSTM", 10, 4, 2));
        b.joined(&y[0], 8)
    });
    let (conv, lstm) = (net.free(net.node("Conv")), net.free(net.node("LSTM")));
    assert_eq!((conv.len(), lstm.len()), (6, 5), "each is removable alone");
    let small = net.proved(&[conv[1], conv[4], lstm[0], lstm[3]]).model;
    assert_eq!(hidden_size(&small, "LSTM"), Some(3));
    assert_eq!(dims(&small, "LSTM", 1), [2, 12, 4]);
    assert_eq!(dims(&small, "LSTM", 2), [2, 12, 3]);
    assert_eq!(dims(&small, "LSTM", 3), [2, 24]);
    // The second layer loses what the first one no longer computes.
    let last = small.graph().node.iter().rfind(|n| n.op_type() == "LSTM").unwrap();
    let weights = small.graph().initializer.iter().find(|t| t.name() == last.input[1]).unwrap();
    assert_eq!(weights.dims, [2, 16, 6]);
}

#[test]
fn a_zero_state_of_the_batchs_shape_is_left_out() {
    for linear in [0, 1] {
        let net = behind_convolution(5, |b, steps| {
            let state = b.zero_states(steps, 1, 6);
            let layer = Recurrence {
                attributes: vec![int("linear_before_reset", linear)],
                more: &["", &state],
                ..Recurrence::new("GRU", 5, 6, 1)
            };
            let y = b.recurrence(steps, layer);
            b.joined(&y[0], 6)
        });
        let units = net.free(net.node("GRU"));
        assert_eq!(units.len(), 6);
        let small = net.proved(&[units[2], units[5]]).model;
        assert_eq!(node(&small, "GRU").input[5], "");
        assert!(small.graph().node.iter().all(|n| n.op_type() != "ConstantOfShape"), "it has no other use");
        assert_eq!(dims(&small, "GRU", 2), [1, 12, 4]);
    }
}

#[test]
fn a_head_on_the_last_state_loses_units() {
    for op in ["RNN", "GRU", "LSTM"] {
        let mut b = Builder::new(42, SIDE);
        let x = b.input();
        let first = b.conv(&x, 5, 3, 1, 1);
        let steps = b.pixel_steps(&first);
        let outputs = b.recurrence(&steps, Recurrence::new(op, 5, 6, 1));
        let axis = b.whole(&[0]);
        let last = b.node("Squeeze", &[&outputs[1], &axis], vec![], &[6, 1, 1]);
        let mut model = Model::from_bytes(b.finish(&[last], true).0, Path::new("built.onnx")).unwrap();
        // Only the final state is an output of the node.
        let graph = model.graph_mut();
        let node = graph.node.iter_mut().find(|n| n.op_type() == op).unwrap();
        node.output[0].clear();
        node.output.truncate(2);
        let net = Net::new(model.to_bytes());
        let units = net.free(net.node(op));
        assert_eq!(units.len(), 6, "{op}");
        net.proved(&[units[0], units[4], net.free(net.node("Conv"))[2]]);
    }
}

/// The batch is the first axis, and the layer has peepholes.
#[test]
fn units_of_a_batch_first_layer_are_removed() {
    let mut b = Builder::new(43, SIDE);
    let x = b.input();
    let first = b.conv(&x, 5, 3, 1, 1);
    let flat = b.whole(&[0, 5, -1]);
    let y = b.node("Reshape", &[&first.name, &flat], vec![], &[5, 16]);
    let y = b.node("Transpose", &[&y.name], vec![ints("perm", &[0, 2, 1])], &[16, 5]);
    let p = b.floats(&[2, 12], 0.0, 0.5);
    let layer = Recurrence {
        attributes: vec![int("layout", 1)],
        more: &["", "", "", &p],
        ..Recurrence::new("LSTM", 5, 4, 2)
    };
    let y = b.recurrence(&y, layer).swap_remove(0);
    let joined = b.whole(&[0, 16, 8]);
    let y = b.node("Reshape", &[&y, &joined], vec![], &[16, 8]);
    let y = b.node("Transpose", &[&y.name], vec![ints("perm", &[0, 2, 1])], &[8, 16]);
    let y = b.reshaped(&y, &[8, SIDE, SIDE]);
    let y = b.conv(&y, 4, 1, 1, 1);
    let net = Net::new(b.finish(&[y], false).0);
    let units = net.free(net.node("LSTM"));
    assert_eq!(units.len(), 4);
    let small = net.proved(&[units[1], net.free(net.node("Conv"))[0]]).model;
    assert_eq!(dims(&small, "LSTM", 7), [2, 9]);
    assert_eq!(dims(&small, "LSTM", 1), [2, 12, 4]);
}

/// States that the file stores hold the batch; lengths are constants, too.
#[test]
fn stored_states_lose_units() {
    let net = behind_convolution(5, |b, steps| {
        let (h, c) = (b.floats(&[1, 1, 6], 0.0, 0.5), b.floats(&[1, 1, 6], 0.0, 0.5));
        let lengths = b.constant(&Tensor { dtype: DType::I32, ..Tensor::int(&[1], vec![11]) });
        let more = [lengths.as_str(), &h, &c];
        let y = b.recurrence(steps, Recurrence { more: &more, ..Recurrence::new("LSTM", 5, 6, 1) });
        b.joined(&y[0], 6)
    });
    let coupled = BTreeSet::from_iter(net.free(net.node("LSTM"))[1..4].iter().copied());
    assert_eq!(coupled.len(), 3);
    let pruned = rewrite(&net.model, &net.graph, &net.channels, &coupled).unwrap();
    assert!(pruned.prove(&Device::Cpu, None).unwrap().exact);
    assert_eq!(dims(&pruned.model, "LSTM", 5), [1, 1, 3]);
    assert_eq!(dims(&pruned.model, "LSTM", 6), [1, 1, 3]);
}

#[test]
fn units_whose_state_another_layer_takes_are_coupled() {
    let net = behind_convolution(5, |b, steps| {
        let encoder = b.recurrence(steps, Recurrence::new("LSTM", 5, 6, 1));
        let more = ["", encoder[1].as_str(), &encoder[2]];
        let y = b.recurrence(steps, Recurrence { more: &more, ..Recurrence::new("LSTM", 5, 6, 1) });
        b.joined(&y[0], 6)
    });
    let layers: Vec<NodeId> =
        net.graph.nodes.ids().filter(|&n| net.graph.nodes[n].op_type == "LSTM").collect();
    let [encoder, decoder] = layers[..] else { panic!("two layers") };
    assert_eq!(net.free(encoder).len(), 6);
    assert_eq!(net.free(encoder), net.free(decoder));
    net.proved(&net.free(encoder)[2..5]);
}

#[test]
fn units_that_cannot_be_removed_name_the_reason() {
    // The state is an input of the network.
    let mut b = Builder::new(44, SIDE);
    let x = b.input();
    let steps = b.pixel_steps(&x);
    let y = b.recurrence(&steps, Recurrence { more: &["", "h0"], ..Recurrence::new("RNN", 3, 4, 1) });
    let y = b.joined(&y[0], 4);
    let y = b.pixels_of_steps(&y, SIDE);
    let mut model = Model::from_bytes(b.finish(&[y], false).0, Path::new("built.onnx")).unwrap();
    model.graph_mut().input.push(info("h0", &[1, 4]));
    let net = Net::new(model.to_bytes());
    let reasons = net.blocks(net.node("RNN"));
    assert_eq!(reasons, BTreeSet::from(["meets a tensor whose shape may not change".to_owned()]));
    // The lengths of sequences are computed from channels.
    let net = behind_convolution(5, |b, steps| {
        let axes = b.whole(&[0, 2]);
        let sums = b.node("ReduceSum", &[&steps.name, &axes], vec![int("keepdims", 0)], &[]);
        let lengths = b.node("Cast", &[&sums.name], vec![int("to", 6)], &[]);
        let y = b.recurrence(steps, Recurrence { more: &[&lengths.name], ..Recurrence::new("GRU", 5, 4, 1) });
        b.joined(&y[0], 4)
    });
    assert_eq!(net.free(net.node("GRU")).len(), 4, "units do not depend on it");
    assert_eq!(net.free(net.node("Conv")).len(), 0);
}

/// Shared weights are cut once, for the units of all layers.
#[test]
fn layers_with_shared_weights_lose_equal_units() {
    let net = behind_convolution(5, |b, steps| {
        let first = b.recurrence(steps, Recurrence::new("GRU", 5, 4, 1));
        let y = b.joined(&first[0], 4);
        let (w, r) = (b.floats(&[1, 12, 4], 0.0, 0.8), b.floats(&[1, 12, 4], 0.0, 0.8));
        let mut y = y.name;
        for _ in 0..2 {
            let outputs = [0, 1].map(|k| format!("{y}_again{k}"));
            b.several("GRU", &[&y, &w, &r], vec![int("hidden_size", 4)], &outputs);
            let [all, _] = outputs;
            y = b.joined(&all, 4).name;
        }
        Value { name: y, shape: vec![0, 4] }
    });
    let layers: Vec<NodeId> =
        net.graph.nodes.ids().filter(|&n| net.graph.nodes[n].op_type == "GRU").collect();
    assert_eq!(net.free(layers[0]), net.free(layers[2]), "the input of one is the output of the other");
    assert_eq!(net.free(layers[1]), net.free(layers[2]));
    assert_eq!(net.free(layers[2]).len(), 4);
    net.proved(&net.free(layers[2])[..2]);
}

/// The layers behind a cut recurrent layer are refitted; the layer reconstructs the channels that its input lost.
#[test]
fn layers_around_a_recurrent_layer_are_repaired() {
    let net = behind_convolution(12, |b, steps| {
        let y = b.recurrence(steps, Recurrence::new("LSTM", 12, 9, 2));
        b.joined(&y[0], 18)
    });
    let conv = net.free(net.node("Conv"));
    let units = net.free(net.node("LSTM"));
    let data: Vec<f32> =
        (0..64 * 3 * SIDE * SIDE).map(|i| ((i * 7919 % 1009) as f32 / 252.25) - 2.0).collect();
    let images = Images { data: Arc::new(data), sample: SampleShape::of_one(&[3, SIDE, SIDE]), count: 64 };
    let wanted = predictions(&net.model, &images);
    for (cut, skips) in [(&conv[..6], false), (&units[..3], true)] {
        let removed: BTreeSet<usize> = cut.iter().copied().collect();
        let mut errors = Vec::new();
        for how in [Repair::None, Repair::Bias, Repair::Full] {
            let device = (&Device::Cpu, &images);
            let repaired = repair(&net.graph, &net.channels, &removed, how, device, &mut Silent).unwrap();
            let skipped: Vec<&str> = repaired.skipped.iter().map(|(_, why)| *why).collect();
            if how == Repair::None {
                assert!(skipped.is_empty());
            } else if how == Repair::Bias || skips {
                assert_eq!(skipped, ["is recurrent: its outputs are not linear in its weights"]);
            } else {
                assert!(skipped.is_empty() && repaired.refits.len() > 2, "{skipped:?} {:?}", repaired.refits);
            }
            let model = repaired.apply(&net.model).unwrap();
            let graph = Graph::from_model(&model).unwrap();
            let pruned = rewrite(&model, &graph, &Channels::of(&graph).unwrap(), &removed).unwrap();
            pruned.prove(&Device::Cpu, None).unwrap();
            errors.push(error(&predictions(&pruned.model, &images), &wanted));
        }
        println!("none, bias, full: {errors:?}");
        assert!(errors[1] < errors[0] && errors[2] < 0.8 * errors[1], "{errors:?}");
    }
}

fn predictions(model: &Model, images: &Images) -> Vec<f32> {
    let graph = Graph::from_model(model).unwrap();
    Session::plain(&graph, &Device::Cpu, None).unwrap().predict(&images.data).unwrap()
}

/// Σ (a − b)² over Σ b².
fn error(got: &[f32], wanted: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let off: f64 = got.iter().zip(wanted).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    off / wanted.iter().map(|&b| square(f64::from(b))).sum::<f64>()
}

/// The sizes of a recurrent layer include all of its weights.
#[test]
fn sizes_of_recurrent_layers_are_those_of_all_weights() {
    let net = behind_convolution(6, |b, steps| {
        let y = b.recurrence(steps, Recurrence::new("LSTM", 6, 5, 2));
        b.joined(&y[0], 10)
    });
    let sizes = sizes(&net.graph, &net.channels.facts);
    let lstm = sizes.iter().find(|s| s.taps.node == net.node("LSTM")).unwrap();
    assert_eq!((lstm.inputs, lstm.outputs), (6, 5));
    assert_eq!(lstm.params, 2 * 4 * 5 * (6 + 5 + 2));
    let steps = (SIDE * SIDE) as u64;
    assert_eq!(lstm.macs, steps * 2 * 4 * 5 * (6 + 5));
}
