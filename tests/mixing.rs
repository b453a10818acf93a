//! Operators that mix channels: exact cuts remove whole slices (groups, heads); inexact cuts remove single channels and
//! report it.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::BTreeSet;
use std::path::Path;

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::{Graph, NodeId};
use secateur::onnx::Model;
use secateur::onnx::tensor::zero;
use secateur::prune::{Channels, Cut, MaskedReference, ReferenceOutputs, Rewritten, rewrite, written};

#[path = "common/builder.rs"]
#[allow(dead_code)] // not every test builds everything
mod builder;

use builder::{Builder, Heads, Value, info};

/// A network: its model, graph and channels.
struct Net {
    model: Model,
    graph: Graph,
    channels: Channels,
}

impl Net {
    fn new(bytes: Vec<u8>, inexact: bool) -> Self {
        let model = Model::from_bytes(bytes, Path::new("built.onnx")).unwrap();
        let graph = Graph::from_model(&model).unwrap();
        let channels = Channels::analyze(&graph, inexact).unwrap();
        Self { model, graph, channels }
    }

    /// Returns the removable sets of coupled channels that contain channels of a node.
    fn free(&self, node: &str) -> Vec<usize> {
        let of = self.node(node);
        let removable = self.channels.coupled.iter().filter(|k| k.block.is_none());
        removable.filter(|k| k.members.iter().any(|m| m.0 == of)).map(|k| k.id).collect()
    }

    fn node(&self, name: &str) -> NodeId {
        self.graph.nodes.position(|n| n.name == name).unwrap()
    }

    /// Returns the number of a node's channels in each of its removable sets.
    fn sizes(&self, node: &str) -> Vec<usize> {
        let of = self.node(node);
        let members = |&k: &usize| self.channels.coupled[k].members.iter().filter(|m| m.0 == of).count();
        self.free(node).iter().map(members).collect()
    }

    /// Returns the nodes and reasons that freeze channels of a node.
    fn blocks(&self, node: &str) -> BTreeSet<(String, String)> {
        let of = self.node(node);
        let coupled = self.channels.coupled.iter().filter(|k| k.members.iter().any(|m| m.0 == of));
        let block = |k: &secateur::prune::CoupledChannels| k.block.clone().map(|b| (b.node, b.reason));
        coupled.filter_map(block).collect()
    }

    fn cut(&self, coupled: &[usize]) -> Rewritten {
        rewrite(&self.model, &self.graph, &self.channels, &coupled.iter().copied().collect()).unwrap()
    }

    /// Removes the first and last removable set of a node, and proves the cut, also for batches.
    fn proved(&self, node: &str) -> Rewritten {
        let free = self.free(node);
        let pruned = self.cut(&[free[0], free[free.len() - 1]]);
        let proof = pruned.prove(&Device::Cpu, None).unwrap();
        assert!(proof.passed && proof.exact);
        assert_eq!(differences(&pruned.model, &pruned.masked, 3), Ok(()));
        pruned
    }
}

/// Compares the outputs of two networks on one batch.
fn differences(got: &Model, expected: &Model, batch: usize) -> Result<(), String> {
    let run = |model: &Model| {
        let mut session =
            Session::plain(&Graph::from_model(model).unwrap(), &Device::Cpu, Some(batch)).unwrap();
        let len: usize = session.plan.inputs[0].shape.iter().product();
        let x: Vec<f32> = (0..len).map(|i| ((i * 7919 % 1009) as f32 / 252.25) - 2.0).collect();
        session.run_steps(&[&x]).unwrap()
    };
    for (got, expected) in run(got).iter().zip(&run(expected)) {
        let verdict = compare(got, expected, Tolerance::NETWORK);
        if !verdict.passed() {
            return Err(verdict.to_string());
        }
    }
    Ok(())
}

/// Builds a network of two convolutions with `f` between them; returns the first one's name and the network.
fn between(
    seed: u64,
    width: usize,
    inexact: bool,
    f: impl Fn(&mut Builder, &Value) -> Value,
) -> (String, Net) {
    between_at(18, seed, width, inexact, f)
}

fn between_at(
    opset: i64,
    seed: u64,
    width: usize,
    inexact: bool,
    f: impl Fn(&mut Builder, &Value) -> Value,
) -> (String, Net) {
    let mut b = Builder::new(seed, 8);
    b.opset = opset;
    let x = b.input();
    let first = b.conv(&x, width, 3, 1, 1);
    let y = f(&mut b, &first);
    let y = b.conv(&y, 4, 1, 1, 1);
    (first.name, Net::new(b.finish(&[y], false).0, inexact))
}

#[test]
fn whole_groups_of_group_norm_are_removed() {
    type Form = fn(&mut Builder, &Value, usize) -> Value;
    let forms: [(i64, Form); 4] = [
        (18, Builder::group_norm),
        (21, Builder::group_norm),
        (18, Builder::group_norm_exported),
        (18, Builder::group_norm_by_hand),
    ];
    for (at, (opset, form)) in forms.into_iter().enumerate() {
        // There are fewer groups than channels in each, so that without mixing all groups would shrink alike.
        let (first, net) = between_at(opset, 21, 12, false, |b, x| form(b, x, 3));
        assert_eq!(net.sizes(&first), [4; 3], "form {at}");
        let pruned = net.proved(&first);
        if at < 2 {
            let node =
                pruned.model.graph().node.iter().find(|n| n.op_type() == "GroupNormalization").unwrap();
            assert_eq!(node.attribute[0].i, Some(1), "one of three groups is left");
        }
        // A single group contains all channels.
        let (first, net) = between_at(opset, 22, 6, false, |b, x| form(b, x, 1));
        assert_eq!(net.sizes(&first), [0; 0], "form {at}");
        let reasons = net.blocks(&first);
        assert!(reasons.iter().any(|(_, why)| why.contains("over all channels")), "{reasons:?}");
        // A group for each channel mixes nothing.
        let (first, net) = between_at(opset, 23, 6, false, |b, x| form(b, x, 6));
        assert_eq!(net.sizes(&first), [1; 6], "form {at}");
        net.proved(&first);
    }
}

#[test]
fn whole_groups_of_a_softmax_are_removed() {
    let (first, net) = between(24, 12, false, |b, x| b.group_softmax(x, 3));
    assert_eq!(net.sizes(&first), [4; 3]);
    net.proved(&first);
}

#[test]
fn whole_heads_of_attention_are_removed() {
    for form in [Heads::Fused, Heads::Split, Heads::Einsum, Heads::Normed] {
        let (first, net) = between(25, 6, false, |b, x| b.attention(x, (3, 7), 5, form));
        assert_eq!(net.sizes(&first), [1; 6], "channels before attention are removable: {form:?}");
        let makers: Vec<&str> = net
            .channels
            .coupling
            .producers
            .iter()
            .map(|p| net.graph.nodes[p.node].name.as_str())
            .filter(|name| name.starts_with("matmul"))
            .collect();
        let inside = &makers[..makers.len() - 1];
        assert_eq!(inside.len(), if matches!(form, Heads::Fused | Heads::Split) { 1 } else { 3 });
        for &maker in inside {
            assert_eq!(net.sizes(maker), [21 / inside.len(); 3], "{form:?}");
        }
        let heads = net.free(inside[0]);
        for &maker in inside {
            assert_eq!(net.free(maker), heads, "queries, keys and values are coupled");
        }
        let small = net.proved(inside[0]).model;
        let dims: Vec<&Vec<i64>> = small.graph().initializer.iter().map(|t| &t.dims).collect();
        assert!(dims.contains(&&vec![1, 1, 64, 64]), "one head's position bias is left");
        assert!(dims.contains(&&vec![7, 5]), "the projection consumes one head");
        if form == Heads::Normed {
            assert!(dims.contains(&&vec![7]), "normalization within a head keeps its parameters");
        }
    }
}

/// Tests that an axis of batch and heads still adapts to the batch after heads are removed.
#[test]
fn heads_that_share_an_axis_with_the_batch_are_removed() {
    let (_, net) = between(32, 6, false, |b, x| b.merged_attention(x, (3, 7), 5));
    let maker = names(&net, &["MatMul"]).swap_remove(0);
    assert_eq!(net.sizes(&maker), [7; 3]);
    net.proved(&maker);
}

#[test]
fn channels_of_one_factor_pass_a_product() {
    let names = std::cell::RefCell::new(None);
    for softmax in [true, false] {
        let (first, net) = between(26, 6, false, |b, x| {
            let (parts, y) = b.non_local(x, 5, softmax);
            *names.borrow_mut() = Some(parts);
            y
        });
        let [q, k, v] = names.take().unwrap();
        assert_eq!(net.sizes(&first), [1; 6]);
        assert_eq!(net.sizes(&v), [1; 5], "values are removed one by one");
        net.proved(&v);
        for part in [q, k] {
            let blocks = net.blocks(&part);
            assert_eq!(net.sizes(&part), [0; 0]);
            assert!(blocks.iter().all(|(_, why)| why.contains("multiplies")), "{blocks:?}");
        }
    }
}

#[test]
fn layer_norm_over_all_channels_freezes_them() {
    let (first, net) = between(27, 6, false, Builder::layer_norm);
    assert_eq!(net.sizes(&first), [0; 0]);
    let node = net.graph.nodes.iter().find(|n| n.op_type == "LayerNormalization").unwrap();
    let expected = (node.name.clone(), "normalises over all channels".to_owned());
    assert_eq!(net.blocks(&first), BTreeSet::from([expected]));
}

/// Returns the names of the nodes of some operators.
fn names(net: &Net, ops: &[&str]) -> Vec<String> {
    let nodes = net.graph.nodes.iter().filter(|n| ops.contains(&n.op_type.as_str()));
    nodes.map(|n| n.name.clone()).collect()
}

#[test]
fn an_inexact_cut_is_reported_and_proved_up_to_the_mixing_nodes() {
    type Form = (&'static [&'static str], fn(&mut Builder, &Value) -> Value);
    let forms: [Form; 4] = [
        (&["LayerNormalization"], |b, x| b.layer_norm(x)),
        (&["ReduceMean", "ReduceMax"], |b, x| b.spatial_gate(x)),
        (&["GroupNormalization"], |b, x| b.group_norm(x, 2)),
        (&["InstanceNormalization"], |b, x| b.group_norm_exported(x, 2)),
    ];
    for (ops, form) in forms {
        // A residual connection around the mixing node, and a Relu before it.
        let (first, net) = between(28, 8, true, |b, x| {
            let r = b.unary("Relu", x);
            let y = form(b, &r);
            b.node("Add", &[&y.name, &r.name], vec![], &r.shape)
        });
        let each = if ops[0].starts_with(['G', 'I']) { 2 } else { 1 };
        assert_eq!(net.sizes(&first), vec![each; 8 / each], "{ops:?}");
        let free = net.free(&first);
        let pruned = net.cut(&free[1..3]);
        let proof = pruned.prove(&Device::Cpu, None).unwrap();
        assert!(proof.passed && !proof.exact, "{ops:?}: {proof:?}");
        assert!(proof.difference.is_some_and(|d| d > 1e-4), "{ops:?}: {proof:?}");
        let coupled = free[1..3].iter().copied().collect();
        assert_eq!(net.channels.inexact(&net.graph, &coupled), names(&net, ops));
        let cut = Cut::new((&net.graph, "0"), &net.channels, &[], &coupled, Default::default()).unwrap();
        assert_eq!(cut.inexact, Some(names(&net, ops)));
        // The steps of `prune` lead to an equal proof.
        let judge = MaskedReference::new(&net.model, &net.graph, &net.channels, &coupled).unwrap();
        let masked = || Graph::from_model_owned(judge.masked(&net.model).unwrap());
        let answers = ReferenceOutputs::of(masked().unwrap(), &judge, &Device::Cpu, None).unwrap();
        let small = written(net.model.clone(), true, &coupled, Path::new("small.onnx")).unwrap();
        assert_eq!(answers.prove(&small, &Device::Cpu, &masked).unwrap(), proof);
    }
}

/// Tests that the proof compares an output once that is also consumed behind a mixing node.
#[test]
fn an_output_that_is_consumed_behind_mixing_is_compared_once() {
    let mut b = Builder::new(31, 8);
    let x = b.input();
    let wide = b.conv(&x, 8, 3, 1, 1);
    let first = b.conv(&wide, 8, 3, 1, 1);
    let normal = b.layer_norm(&first);
    let read = b.conv(&normal, 8, 1, 1, 1);
    let sum = b.node("Add", &[&read.name, &wide.name], vec![], &read.shape.clone());
    let mut model = Model::from_bytes(b.finish(&[sum], false).0, Path::new("built.onnx")).unwrap();
    model.graph_mut().output.push(info(&wide.name, &wide.shape));
    let net = Net::new(model.to_bytes(), true);
    let free = net.free(&first.name);
    let proof = net.cut(&free[1..3]).prove(&Device::Cpu, None).unwrap();
    assert!(proof.passed && !proof.exact, "{proof:?}");
}

#[test]
fn an_error_before_the_mixing_node_is_detected() {
    let (first, net) = between(29, 8, true, |b, x| {
        let y = b.layer_norm(x);
        b.spatial_gate(&y)
    });
    let mut pruned = net.cut(&net.free(&first)[..2]);
    pruned.prove(&Device::Cpu, None).unwrap();
    let weight = net.graph.name(net.graph.nodes[net.node(&first)].inputs[1].unwrap()).to_owned();
    let tensors = &mut pruned.model.graph_mut().initializer;
    let tensor = tensors.iter_mut().find(|t| t.name() == weight).unwrap();
    *tensor = zero(tensor, 0, &[true, false, false, false, false, false]).unwrap();
    let error = pruned.prove(&Device::Cpu, None).unwrap_err();
    assert!(error.message().contains("not equal"), "{error}");
}

#[test]
fn an_inexact_analysis_cuts_exactly_without_mixing() {
    let (first, net) = between(30, 8, true, Builder::batch_norm);
    let coupled: BTreeSet<usize> = net.free(&first)[..2].iter().copied().collect();
    let cut = Cut::new((&net.graph, "0"), &net.channels, &[], &coupled, Default::default()).unwrap();
    assert_eq!(cut.inexact, Some(vec![]));
    assert!(net.cut(&net.free(&first)[..2]).prove(&Device::Cpu, None).unwrap().exact);
    // Heads are removed as a whole even in an inexact analysis.
    let (_, net) = between(31, 6, true, |b, x| b.attention(x, (4, 3), 5, Heads::Fused));
    let maker = names(&net, &["MatMul"]).swap_remove(0);
    assert_eq!(net.sizes(&maker), [9; 4]);
    net.proved(&maker);
}

#[test]
fn filters_that_a_layer_computes_are_removed_one_by_one() {
    let layer = std::cell::RefCell::new(String::new());
    let (first, net) = between(40, 6, false, |b, x| {
        let (name, y) = b.dynamic_conv(x, 5);
        layer.replace(name);
        y
    });
    let layer = layer.into_inner();
    assert_eq!(net.sizes(&layer), [6 * 9; 5], "a filter has 6 channels of 3×3 numbers");
    let reasons = net.blocks(&first);
    assert!(reasons.iter().all(|(_, why)| why.contains("weights that the network computes")), "{reasons:?}");
    assert_eq!(net.sizes(&first), [0; 0]);
    net.proved(&layer);
}

#[test]
fn channels_and_their_templates_are_removed_together() {
    for transposed in [false, true] {
        let (first, net) = between(41, 6, false, |b, x| b.correlation(x, 6, transposed));
        assert_eq!(net.sizes(&first), [1; 6]);
        let pruned = net.proved(&first);
        let op = if transposed { "ConvTranspose" } else { "Conv" };
        let group = |n: &secateur::onnx::proto::NodeProto| {
            n.attribute.iter().find(|a| a.name() == "group").and_then(|a| a.i)
        };
        let nodes = pruned.model.graph().node.iter().filter(|n| n.op_type() == op);
        assert_eq!(nodes.filter_map(group).max(), Some(4), "two of six groups are removed");
        // Whole groups of two channels.
        let (first, net) = between(42, 6, false, |b, x| b.correlation(x, 3, transposed));
        assert_eq!(net.sizes(&first), [2; 3]);
        net.proved(&first);
        // One group sums all channels.
        let (first, net) = between(43, 4, false, |b, x| b.correlation(x, 1, transposed));
        assert_eq!(net.sizes(&first), [0; 0]);
        let reasons = net.blocks(&first);
        assert!(reasons.iter().all(|(_, why)| why.contains("weights that the network computes")));
    }
}

#[test]
fn channels_pass_an_unpooling_with_their_indices() {
    let (first, net) = between(44, 6, false, |b, x| b.unpooled(x, false));
    assert_eq!(net.sizes(&first), [1; 6], "also coupled with the layer between pool and unpooling");
    net.proved(&first);
    let (first, net) = between(44, 6, false, |b, x| b.unpooled(x, true));
    let free = net.free(&first);
    let pruned = net.cut(&[free[0], free[5]]);
    assert!(pruned.prove(&Device::Cpu, None).unwrap().passed, "the literal shape states fewer channels");
}

#[test]
fn channels_pass_samples_at_computed_positions() {
    let layer = std::cell::RefCell::new(String::new());
    let blocked = |net: &Net, layer: &str| {
        assert_eq!(net.sizes(layer), [0; 0]);
        let reasons = net.blocks(layer);
        assert!(
            !reasons.is_empty() && reasons.iter().all(|(_, why)| why.contains("from all of them")),
            "{reasons:?}"
        );
    };
    let (first, net) = between_at(20, 45, 6, false, |b, x| {
        let (name, y) = b.spatial_transformer(x);
        layer.replace(name);
        y
    });
    assert_eq!(net.sizes(&first), [1; 6]);
    blocked(&net, &layer.borrow());
    net.proved(&first);
    for groups in [1, 2, 6] {
        let (first, net) = between_at(19, 46, 6, false, |b, x| {
            let (name, y) = b.deform_conv(x, 6, groups);
            layer.replace(name);
            y
        });
        assert_eq!(net.sizes(&first), if groups == 2 { vec![2; 3] } else { vec![1; 6] });
        blocked(&net, &layer.borrow());
        net.proved(&first);
    }
    let (first, net) = between(47, 6, false, Builder::region);
    assert_eq!(net.sizes(&first), [1; 6]);
    let free = net.free(&first);
    assert!(net.cut(&free[..2]).prove(&Device::Cpu, None).unwrap().passed);
}
