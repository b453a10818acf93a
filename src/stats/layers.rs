//! The values of a network whose statistics are gathered: outputs of layers, and tensors that layers consume.

use crate::graph::facts::Facts;
use crate::graph::{Graph, NodeId, ValueId};
use crate::kernels::activation::Activation;
use crate::ops::Layer;
use crate::tensor::Tensor;

/// A layer with the values whose statistics are gathered.
#[derive(Clone, Debug)]
pub struct LayerTaps {
    /// Node of the layer.
    pub node: NodeId,
    /// Axes of its filters and channels.
    pub layer: Layer,
    /// Weights of the layer.
    pub weight: ValueId,
    /// Tensor that the layer consumes.
    pub input: Option<ValueId>,
    /// Factor of each channel in a BatchNormalization right after the layer.
    pub scale: Option<Vec<f64>>,
    /// Scale parameter γ of a BatchNormalization right after the layer.
    pub gamma: Option<Vec<f64>>,
    /// Output of the layer, after a BatchNormalization if one follows.
    pub pre: ValueId,
    /// Activation that follows, and its output.
    pub post: Option<(Activation, ValueId)>,
}

impl LayerTaps {
    /// Returns the output after the activation, whose channels gates multiply.
    pub(crate) fn gated(&self) -> ValueId {
        self.post.map_or(self.pre, |(_, value)| value)
    }
}

/// Returns the layers with constant weights, in graph order.
pub fn layers(graph: &Graph, facts: &Facts) -> Vec<LayerTaps> {
    graph.nodes.ids().filter_map(|id| taps(graph, facts, id)).collect()
}

fn taps(graph: &Graph, facts: &Facts, id: NodeId) -> Option<LayerTaps> {
    let node = &graph.nodes[id];
    let layer = node.op.layer()?;
    let weight = node.inputs.get(layer.weight).copied().flatten()?;
    // A recurrent layer may have its final states as the only outputs.
    let output = node.outputs.iter().flatten().copied().next()?;
    // Nodes of the host subgraph are neither measured nor cut.
    let on_device = |v: ValueId| !facts.is_constant(v) && !facts.is_data_dependent(v);
    if !facts.is_constant(weight) || !on_device(output) || facts.shape(weight).len() < 2 {
        return None;
    }
    let input = node.inputs.iter().take(2).copied().find(|&v| v != Some(weight)).flatten();
    // BatchNormalization scales axis 1, which is not every layer's channel axis (the last one of a MatMul).
    let scales = place(layer.channels, facts.shape(output).len()) == 1;
    let follower = graph
        .only_consumer(output)
        .filter(|_| scales)
        .filter(|&next| graph.nodes[next].inputs.first().copied().flatten() == Some(output));
    let scaled = follower
        .and_then(|next| Some((next, graph.nodes[next].op.scale_shift(&facts.inputs(graph, next))?.0)));
    let (norm, scale) = scaled.unzip();
    let pre = norm.and_then(|n| graph.nodes[n].outputs.first().copied().flatten()).unwrap_or(output);
    let gamma = norm
        .filter(|&n| graph.nodes[n].op_type == "BatchNormalization")
        .and_then(|n| facts.inputs(graph, n).optional(1).and_then(|f| f.value.as_ref()).map(Tensor::to_f64));
    let post = graph.only_consumer(pre).and_then(|next| {
        let activation = graph.nodes[next].op.activation(&facts.inputs(graph, next))?;
        let output = graph.nodes[next].outputs.first().copied().flatten()?;
        on_device(output).then_some((activation, output))
    });
    Some(LayerTaps { node: id, layer, weight, input, scale, gamma, pre, post })
}

/// Returns the position of a channel axis, which may be negative, in a shape of `rank` axes.
pub(crate) fn place(axis: isize, rank: usize) -> usize {
    if axis < 0 { (rank as isize + axis).max(0) as usize } else { axis as usize }
}

/// Splits a shape into [positions before the channel axis, channels, positions behind it].
pub(crate) fn positions(shape: &[usize], axis: usize) -> [usize; 3] {
    let product = |part: &[usize]| part.iter().product::<usize>();
    [product(&shape[..axis]), shape[axis], product(&shape[axis + 1..])]
}

/// Returns the tensor whose channels a layer consumes, and its channel axis.
///
/// A tensor flattened before a Gemm is returned unflattened: its positions are samples, not channels.
pub(crate) fn gram_input(graph: &Graph, facts: &Facts, taps: &LayerTaps) -> Option<(ValueId, usize)> {
    let input = taps.input?;
    let rank = facts.shape(input).len();
    if facts.shape(taps.weight).len() > 2 && taps.layer.gates.is_none() {
        return (rank > 2).then_some((input, 1));
    }
    let flattener = graph.values[input].producer.filter(|_| rank == 2).and_then(|node| {
        let source = graph.nodes[node].inputs.first().copied().flatten()?;
        let (before, after) = (facts.shape(source), facts.shape(input));
        // A second axis of size 1 may be a batch behind the steps of a sequence.
        let flat = before.len() > 2
            && before[0] == after[0]
            && before[1] > 1
            && before[1..].iter().product::<usize>() == after[1];
        (flat && matches!(graph.nodes[node].op_type.as_str(), "Flatten" | "Reshape")).then_some(source)
    });
    match flattener {
        Some(source) => Some((source, 1)),
        None => (rank > 1).then_some((input, rank - 1)),
    }
}
