//! Which values of a network are watched: the outputs of its layers, and the tensors that feed them.

use crate::error::Result;
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::{Graph, NodeId, Sizes, ValueId};
use crate::kernels::activation::Activation;
use crate::ops::Layer;
use crate::tensor::Tensor;

/// A layer and the values at which its outputs are watched.
#[derive(Clone, Debug)]
pub struct LayerTaps {
    /// The layer.
    pub node: NodeId,
    /// Where its filters and channels stand.
    pub layer: Layer,
    /// Its weights.
    pub weight: ValueId,
    /// What it reads.
    pub input: Option<ValueId>,
    /// What BatchNormalization right after it multiplies each channel by.
    pub scale: Option<Vec<f64>>,
    /// The scale parameter γ of a BatchNormalization right after it.
    pub gamma: Option<Vec<f64>>,
    /// Its output after BatchNormalization, where that follows.
    pub pre: ValueId,
    /// The activation that follows, and its output.
    pub post: Option<(Activation, ValueId)>,
}

/// The layers of a network whose weights are constant, in graph order.
pub fn layers(graph: &Graph, facts: &Facts) -> Vec<LayerTaps> {
    graph.nodes.iter().enumerate().filter_map(|(id, _)| taps(graph, facts, id)).collect()
}

fn taps(graph: &Graph, facts: &Facts, id: NodeId) -> Option<LayerTaps> {
    let node = &graph.nodes[id];
    let layer = node.op.layer()?;
    let weight = node.inputs.get(layer.weight).copied().flatten()?;
    let output = node.outputs.first().copied().flatten()?;
    // What runs on the host is no part of what is measured and cut.
    let on_device = |v: ValueId| !facts.is_constant(v) && !facts.is_data_dependent(v);
    if !facts.is_constant(weight) || !on_device(output) || facts.shape(weight).len() < 2 {
        return None;
    }
    let input = node.inputs.iter().take(2).copied().find(|&v| v != Some(weight)).flatten();
    // A follower scales axis 1, which is not the channels' axis of all layers (a MatMul's is the last).
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

/// The position of a layer's channel axis in a shape.
pub(crate) fn place(axis: isize, rank: usize) -> usize {
    if axis < 0 { (rank as isize + axis).max(0) as usize } else { axis as usize }
}

/// Of a value with the batch in front: [positions before the channel axis, channels, positions behind it] of an
/// image.
pub(crate) fn positions(shape: &[usize], axis: usize, batch: usize) -> [usize; 3] {
    let product = |part: &[usize]| part.iter().product::<usize>();
    [product(&shape[..axis]) / batch.max(1), shape[axis], product(&shape[axis + 1..])]
}

/// The tensor whose channels a layer reads, and their axis. What is flattened in front of a Gemm is seen as it was:
/// its positions are samples, not channels.
pub(crate) fn gram_input(graph: &Graph, facts: &Facts, taps: &LayerTaps) -> Option<(ValueId, usize)> {
    let input = taps.input?;
    let rank = facts.shape(input).len();
    if facts.shape(taps.weight).len() > 2 {
        return (rank > 2).then_some((input, 1));
    }
    let flattener = graph.values[input].producer.filter(|_| rank == 2).and_then(|node| {
        let source = graph.nodes[node].inputs.first().copied().flatten()?;
        let (before, after) = (facts.shape(source), facts.shape(input));
        let flat =
            before.len() > 2 && before[0] == after[0] && before[1..].iter().product::<usize>() == after[1];
        (flat && matches!(graph.nodes[node].op_type.as_str(), "Flatten" | "Reshape")).then_some(source)
    });
    match flattener {
        Some(source) => Some((source, 1)),
        None => (rank > 1).then_some((input, rank - 1)),
    }
}

/// The first of the values in which the images of a batch do not stand one after the other, where the network takes
/// batches at all: for twice the images, its first axis is not twice as long, or another one differs too.
pub(crate) fn images_mix(
    graph: &Graph,
    mut values: impl Iterator<Item = ValueId>,
) -> Result<Option<ValueId>> {
    if !takes_batches(graph) {
        return Ok(None);
    }
    let at = |batch| Facts::infer(graph, &graph.input_shapes(Some(batch), &Sizes::Own)?);
    let (one, two) = (at(1)?, at(2)?);
    let apart = |value: ValueId| match (one.shape(value), two.shape(value)) {
        ([a, rest @ ..], [b, others @ ..]) => 2 * a == *b && rest == others,
        _ => false,
    };
    Ok(values.find(|&value| !apart(value)))
}
