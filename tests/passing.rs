//! Channels that pass operators along other axes: products with weights, gathers and scatters by indices, and nodes that
//! ONNX Runtime's optimizer fused.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::path::Path;

use secateur::exec::devices::Device;
use secateur::graph::Graph;
use secateur::onnx::Model;
use secateur::onnx::proto::OperatorSetIdProto;
use secateur::prune::{Channels, rewrite};

#[path = "errors/notation.rs"]
mod notation;

/// A network in the notation of `notation.rs`, and for some of its layers the number of removable sets.
type Row = (&'static str, &'static [(&'static str, usize)]);

struct Net {
    model: Model,
    graph: Graph,
    channels: Channels,
}

impl Net {
    fn new(text: &str) -> Self {
        let mut proto = notation::message(text);
        proto
            .opset_import
            .push(OperatorSetIdProto { domain: Some("com.microsoft".into()), version: Some(1) });
        let model =
            Model { proto, ..Model::from_bytes(notation::model(text), Path::new("net.onnx")).unwrap() };
        let graph = Graph::from_model(&model).unwrap();
        let channels = Channels::of(&graph).unwrap();
        Self { model, graph, channels }
    }

    /// Returns the removable sets with channels of a node.
    fn free(&self, node: &str) -> Vec<usize> {
        let of = self.graph.nodes.position(|n| n.name == node).unwrap();
        let removable = self.channels.coupled.iter().filter(|k| k.block.is_none());
        removable.filter(|k| k.members.iter().any(|m| m.0 == of)).map(|k| k.id).collect()
    }

    /// Removes the first and the last of several sets, and proves the cut.
    fn prove(&self, sets: &[usize], text: &str) -> Model {
        let removed = [sets[0], sets[sets.len() - 1]].into_iter().take(sets.len() - 1).collect();
        let pruned = rewrite(&self.model, &self.graph, &self.channels, &removed).unwrap();
        let proof = pruned.prove(&Device::Cpu, None).unwrap();
        assert!(proof.passed && proof.exact, "{text}: {proof:?}");
        let costs = |c: &Channels| c.cost(&c.lengths());
        let after = Channels::of(&Graph::from_model(&pruned.model).unwrap()).unwrap();
        let expected = self.channels.cost(&self.channels.lengths_without(&removed));
        assert_eq!(costs(&after), expected, "{text}: MACs and parameters of the cut");
        pruned.model
    }
}

fn check(rows: &[Row]) {
    for (text, layers) in rows {
        let net = Net::new(text);
        for &(node, count) in *layers {
            let free = net.free(node);
            assert_eq!(free.len(), count, "{text}: {node}");
            if count > 1 {
                net.prove(&free, text);
            }
        }
    }
}

#[test]
fn channels_pass_products_along_other_axes() {
    check(&[
        (
            "Conv [N,3,32] =[16,3,3] pads=[1,1]; Relu ^; MatMul ^ =[32,8]; Relu ^; Conv ^ =[4,16,3] pads=[1,1]",
            &[("n1", 16), ("n3", 0)],
        ),
        ("Conv [N,3,32] =[6,3,1]; MatMul ^ =[32,1]; Sigmoid ^; Conv ^ =[4,6,1]", &[("n1", 6)]),
        (
            "Conv [N,3,8,8] =[8,3,2,2] strides=[2,2]; Reshape ^ (0,8,16); MatMul ^ =[16,6]; Erf ^; MatMul ^ =[6,16]; \
             Add ^ &v2; Conv ^ =[4,8,1]",
            &[("n1", 8), ("n3", 0)],
        ),
        // The sound of MDX-Net: linear layers along frequencies, with normalizations of channels.
        (
            "Conv [N,2,5,8] =[6,2,1,1]; MatMul ^ =[8,4]; BatchNormalization ^ =[6] =[6] =[6] (1.,1.,1.,1.,1.,1.); Relu \
             ^; MatMul ^ =[4,8]; Add ^ &v1; Conv ^ =[2,6,1,1]",
            &[("n1", 6), ("n2", 0)],
        ),
        (
            "Conv [1,3,8,8] =[8,3,1,1]; Reshape ^ (8,64); Gemm ^ =[64,10] =[10]; Reshape ^ (1,8,10); Conv ^ =[4,8,1]",
            &[("n1", 8), ("n3", 0)],
        ),
        (
            "Conv [N,3,32] =[16,3,1]; com.microsoft:FusedMatMul ^ =[8,32] transB=1 alpha=0.5; Conv ^ =[4,16,1]",
            &[("n1", 16)],
        ),
        // A linear layer's own channels pass the next one, which multiplies along another axis.
        (
            "MatMul [N,4,5] =[5,8]; Relu ^; Transpose ^ perm=[0,2,1]; MatMul ^ =[4,3]; Transpose ^ perm=[0,2,1]; MatMul ^ \
             =[8,2]",
            &[("n1", 8), ("n4", 0), ("n6", 0)],
        ),
    ]);
}

/// Tests that the outputs of a product are channels if none of those that pass it can be removed.
#[test]
fn products_have_channels_of_their_own_if_none_can_pass() {
    check(&[
        // The other channels reach the network's output.
        (
            "Conv [N,3,8,8] =[8,3,2,2] strides=[2,2]; Reshape ^ (0,8,16); MatMul ^ =[16,6]; Erf ^; MatMul ^ =[6,16]; Add \
             ^ &v2",
            &[("n1", 0), ("n3", 6), ("n5", 0)],
        ),
        // A normalization mixes them.
        (
            "MatMul [N,4,5] =[5,8]; LayerNormalization ^ =[8]; Transpose ^ perm=[0,2,1]; MatMul ^ =[4,7]; Relu ^; MatMul ^ \
             =[7,4]; Transpose ^ perm=[0,2,1]; MatMul ^ =[8,2]",
            &[("n1", 0), ("n4", 7), ("n8", 0)],
        ),
        (
            "Conv [1,3,8,8] =[8,3,1,1]; Reshape ^ (8,64); Gemm ^ =[64,10] =[10]; Relu ^; Gemm ^ =[10,3]",
            &[("n1", 0), ("n3", 10)],
        ),
    ]);
}

const TOPK: &str = "Conv [1,3,8,8] =[8,3,1,1]; Conv ^ =[1,8,1,1]; Reshape ^ (1,64); TopK ^ (10) →2";

#[test]
fn indices_of_a_constant_width_block_the_channels_that_they_select() {
    let boxes = "Conv &v1 =[4,8,1,1]; Reshape ^ (1,4,64)";
    let rows: Vec<(String, [(&str, usize); 2])> = vec![
        // Four box channels behind an axis that grows by Expand, up to the output.
        (
            format!(
                "{TOPK}; Unsqueeze &v41 (2); Expand ^ (1,10,4); {boxes}; Transpose ^ perm=[0,2,1]; GatherElements ^ &v6 \
                 axis=1"
            ),
            [("n1", 8), ("n7", 0)],
        ),
        // A convolution behind them does not help: the indices stay four wide.
        (
            format!("{TOPK}; Unsqueeze &v41 (1); Expand ^ (1,4,10); {boxes}; GatherElements ^ &v6 axis=2; Conv ^ =[2,4,1]"),
            [("n1", 8), ("n7", 0)],
        ),
        // Indices along pixels alone leave the channels free.
        (format!("{TOPK}; Squeeze &v41 (0); {boxes}; Gather ^ &v5 axis=2; Conv ^ =[2,4,1]"), [("n1", 8), ("n6", 4)]),
        // Those that select channels do not.
        (
            "Conv [1,3,8,8] =[8,3,1,1]; Relu ^; GlobalAveragePool ^; ArgMax ^ axis=1 keepdims=0; Reshape ^ (1); Gather &v1 ^ \
             axis=1; Conv &v2 =[8,8,1,1]; Conv ^ =[2,8,1,1]; Add ^ &v6"
                .to_owned(),
            [("n1", 0), ("n7", 8)],
        ),
    ];
    for (text, layers) in &rows {
        let net = Net::new(text);
        for (node, count) in layers {
            let free = net.free(node);
            assert_eq!(free.len(), *count, "{text}: {node}");
            if *count > 1 {
                net.prove(&free, text);
            }
        }
    }
}

#[test]
fn constant_indices_are_cut_with_the_channels() {
    check(&[
        (
            "Conv [1,3,1,3] =[4,3,1,1]; Reshape ^ (1,4,3); GatherElements ^ =i64[1,4,2] axis=2; Conv ^ =[2,4,1]",
            &[("n1", 4)],
        ),
        // The indices cover two of four channels; the others do not reach the output.
        (
            "Conv [1,3,1,3] =[4,3,1,1]; Reshape ^ (1,4,3); GatherElements ^ =i64[1,2,2] axis=2; Conv ^ =[2,2,1]",
            &[("n1", 4)],
        ),
        (
            "Conv [1,3,1,3] =[4,3,1,1]; Reshape ^ (1,4,3); GatherElements ^ =i64[1,2,3] axis=1; Conv ^ =[2,2,1]",
            &[("n1", 0)],
        ),
        (
            "Conv [1,3,1,3] =[4,3,1,1]; Reshape ^ (1,4,3); ScatterElements ^ =i64[1,4,2] =[1,4,2] axis=2; Conv ^ =[2,4,1]",
            &[("n1", 4)],
        ),
        (
            "Conv [1,3,1,3] =[4,3,1,1]; Reshape ^ (4,3); GatherND ^ =i64[2,1]; Reshape ^ (1,2,3); Conv ^ =[2,2,1]",
            &[("n1", 0)],
        ),
        (
            "Conv [1,3,1,3] =[4,3,1,1]; Reshape ^ (4,3); Transpose ^ perm=[1,0]; ScatterND ^ =i64[2,1] =[2,4]; Transpose ^ \
             perm=[1,0]; Reshape ^ (1,4,3); Conv ^ =[2,4,1]",
            &[("n1", 4)],
        ),
        (
            "Conv [1,3,1,3] =[4,3,1,1]; Reshape ^ (4,3); ScatterND ^ =i64[2,1] =[2,3]; Reshape ^ (1,4,3); Conv ^ =[2,4,1]",
            &[("n1", 0)],
        ),
    ]);
}

#[test]
fn fused_nodes_are_cut_as_what_they_fuse_and_stay_in_the_file() {
    let rows = [
        "com.microsoft:FusedConv [N,3,8,8] =[8,3,3,3] activation='Relu' pads=[1,1,1,1]; Conv ^ =[4,8,1,1]",
        "Conv [N,3,8,8] =[8,3,1,1]; com.microsoft:FusedConv &v1 =[8,8,3,3] =[8] &v1 activation='Tanh' pads=[1,1,1,1]; Conv ^ \
         =[4,8,1,1]",
        "com.microsoft:FusedConv [N,3,8,8] =[8,3,3,3] =[8] activation='Clip' activation_params=[0.5,1.5]; \
         com.microsoft:FusedConv ^ =[8,1,3,3] group=8; Conv ^ =[4,8,1,1]",
        "com.microsoft:FusedGemm [N,6] =[8,6] =[8] transB=1 activation='LeakyRelu' activation_alpha=0.3; Gemm ^ =[8,2]",
        "com.microsoft:FusedMatMul [N,6] =[8,6] transB=1 alpha=0.5; com.microsoft:Gelu ^; com.microsoft:FusedMatMul ^ =[8,2]",
        "MatMul [N,5,6] =[6,8]; com.microsoft:BiasGelu ^ =[8]; MatMul ^ =[8,2]",
        "MatMul [N,5,6] =[6,8]; com.microsoft:FastGelu ^ =[8]; com.microsoft:QuickGelu ^; MatMul ^ =[8,2]",
    ];
    for text in rows {
        let net = Net::new(text);
        let free = net.free("n1");
        assert_eq!(free.len(), 8, "{text}");
        let small = net.prove(&free, text);
        let names = |model: &Model| -> Vec<String> {
            model.graph().node.iter().map(|n| format!("{}:{}", n.domain(), n.op_type())).collect()
        };
        assert_eq!(names(&small), names(&net.model), "{text}");
    }
}

/// Tests that further outputs without names do not ask for the training mode.
#[test]
fn a_batch_normalization_with_unnamed_outputs_is_inference() {
    let text = "BatchNormalization@9 [1,2,3] =[2] =[2] =[2] (1.,1.) →5";
    let mut proto = notation::message(text);
    assert!(Graph::from_model(&Model { proto: proto.clone(), ..Net::new("Relu [1,2]").model }).is_err());
    let graph = proto.graph.as_mut().unwrap();
    graph.node[0].output[1..].fill(String::new());
    graph.output.truncate(1);
    Graph::from_model(&Model { proto, ..Net::new("Relu [1,2]").model }).unwrap();
}
