//! The tensors of a network whose values are counted in a profile: those that integers may represent.

use crate::graph::facts::Facts;
use crate::graph::{Graph, NodeId, ValueId};

/// Operators that only move elements or select some: the output needs no range beyond those of the inputs.
const MOVING: [&str; 16] = [
    "Concat",
    "DepthToSpace",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Returns the inputs of a network and the tensors that it computes, as far as they may become integers.
///
/// Left out are constants, tensors of other types than floats, data-dependent shapes, results of operators that only
/// move elements, and tensors that only a BatchNormalization or an activation behind them reads.
pub fn value_targets(graph: &Graph, facts: &Facts) -> Vec<ValueId> {
    let float = |value: ValueId| {
        let on_device = !facts.is_constant(value) && !facts.is_data_dependent(value);
        on_device && facts.get(value).is_some_and(|fact| fact.dtype.is_float())
    };
    let read = |value: ValueId| graph.is_used(value) || graph.outputs.contains(&value);
    let inputs = graph.sample_inputs().map(|input| input.value);
    let computed = graph.nodes.ids().filter(|&id| !MOVING.contains(&graph.nodes[id].op_type.as_str()));
    let outputs = computed.flat_map(|id| graph.nodes[id].outputs.iter().flatten().copied());
    let mut all: Vec<ValueId> = inputs
        .chain(outputs)
        .filter(|&value| float(value) && read(value) && !is_fused(graph, facts, value))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns whether the only reader of a value is a BatchNormalization or an activation.
fn is_fused(graph: &Graph, facts: &Facts, value: ValueId) -> bool {
    let fuses = |next: NodeId| {
        let (node, inputs) = (&graph.nodes[next], facts.inputs(graph, next));
        let fused = node.op.activation(&inputs).is_some() || node.op.scale_shift(&inputs).is_some();
        fused && node.inputs.first() == Some(&Some(value))
    };
    graph.values[value].producer.is_some() && graph.only_consumer(value).is_some_and(fuses)
}
