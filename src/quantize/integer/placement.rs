//! The tensors and layers of a network that become integers.

use std::collections::{BTreeMap, BTreeSet};

use super::fold::is_plain;
use crate::graph::facts::Facts;
use crate::graph::{Graph, NodeId, ValueId};
use crate::kernels::activation::Activation;
use crate::ops::Layer;
use crate::stats::{LayerTaps, ValueHistogram, layers};
use crate::tensor::Tensor;

/// Layers whose weights become integers.
const LAYERS: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];
/// Other operators that compute with integers in the runtimes.
const OTHERS: [&str; 4] = ["Add", "AveragePool", "Concat", "GlobalAveragePool"];
/// Operators that move or select elements of their first input, so that both tensors have one scale.
const MOVING: [&str; 10] = [
    "DepthToSpace",
    "Dropout",
    "Flatten",
    "Identity",
    "MaxPool",
    "Reshape",
    "SpaceToDepth",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// A layer whose weights become integers.
#[derive(Clone, Debug)]
pub(super) struct IntegerLayer {
    /// The name of the node.
    pub(super) name: String,
    /// The axes of weights and channels.
    pub(super) layer: Layer,
    /// The input of the layer.
    pub(super) input: ValueId,
    /// The weights and their value.
    pub(super) weight: (ValueId, Tensor),
    /// The bias and its value, if no other node reads it.
    pub(super) bias: Option<(ValueId, Tensor)>,
    /// The scale of each output channel, if it is not that of the largest weight.
    pub(super) scales: Option<Vec<f32>>,
}

/// The tensors and layers that become integers.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) layers: Vec<IntegerLayer>,
    /// Layers that stay in float, with the reason.
    pub(super) kept: Vec<(String, &'static str)>,
    /// Other nodes whose inputs and outputs are rounded.
    pub(super) others: Vec<String>,
    /// The tensors that are rounded to integers.
    pub(super) values: BTreeSet<ValueId>,
    /// The tensors whose values decide the range of a quantized tensor.
    sources: BTreeMap<ValueId, BTreeSet<ValueId>>,
    /// The slope of the LeakyRelu that alone reads a quantized tensor.
    pub(super) slopes: BTreeMap<ValueId, f32>,
}

impl Placement {
    /// Chooses tensors and layers; the nodes named in `float` stay as they are.
    pub(super) fn of(graph: &Graph, facts: &Facts, float: &BTreeSet<String>) -> Self {
        let (mut found, mut kept, mut values) = (vec![], vec![], BTreeSet::new());
        let mut add = |graph: &Graph, id: NodeId| {
            let node = &graph.nodes[id];
            let inputs = node.inputs.iter().flatten().copied();
            let outputs = node.outputs.iter().take(1).flatten().map(|&v| rounded(graph, facts, v));
            values.extend(inputs.chain(outputs).filter(|&v| may_round(graph, facts, v)));
        };
        for taps in layers(graph, facts) {
            let name = graph.nodes[taps.node].name.clone();
            match integer_layer(graph, facts, &taps, float) {
                Ok(layer) => {
                    add(graph, taps.node);
                    found.push(layer);
                }
                Err(reason) => kept.push((name, reason)),
            }
        }
        let mut others = vec![];
        for id in graph.nodes.ids() {
            let node = &graph.nodes[id];
            let computed = node.inputs.iter().flatten().all(|&v| !facts.is_constant(v));
            if OTHERS.contains(&node.op_type.as_str()) && computed && !float.contains(&node.name) {
                add(graph, id);
                others.push(node.name.clone());
            }
        }
        // A tensor behind a node that moves elements has the scale of the tensor before it.
        let moved: Vec<ValueId> = values.iter().flat_map(|&v| before_moves(graph, v)).collect();
        values.extend(moved.into_iter().filter(|&v| may_round(graph, facts, v)));
        let sources = values.iter().map(|&v| (v, sources(graph, v))).collect();
        let slopes = values.iter().filter_map(|&v| Some((v, slope(graph, facts, v)?))).collect();
        Self { layers: found, kept, others, values, sources, slopes }
    }

    /// Returns the values whose histograms decide ranges.
    pub(super) fn counted(&self) -> Vec<ValueId> {
        let all: BTreeSet<ValueId> = self.sources.values().flatten().copied().collect();
        all.into_iter().collect()
    }

    /// Returns the histogram that decides the range of a quantized tensor.
    pub(super) fn histogram(
        &self,
        value: ValueId,
        counted: &BTreeMap<ValueId, ValueHistogram>,
    ) -> ValueHistogram {
        let mut all = ValueHistogram::default();
        let own = self.sources.get(&value).into_iter().flatten().filter_map(|source| counted.get(source));
        own.for_each(|histogram| all.merge(histogram));
        all
    }
}

/// Returns a layer with integer weights, or the reason why it stays in float.
fn integer_layer(
    graph: &Graph,
    facts: &Facts,
    taps: &LayerTaps,
    float: &BTreeSet<String>,
) -> Result<IntegerLayer, &'static str> {
    let node = &graph.nodes[taps.node];
    let initializer = |v: ValueId| {
        let alone = is_plain(graph, v) && graph.values[v].consumers.len() == 1;
        let value = facts.get(v).and_then(|fact| fact.value.clone());
        value.filter(|tensor| alone && tensor.floats().is_ok() && !graph.outputs.contains(&v))
    };
    if float.contains(&node.name) {
        return Err("stays in float, as asked");
    }
    if !LAYERS.contains(&node.op_type.as_str()) {
        return Err("is no convolution or matrix product");
    }
    if !is_plain(graph, taps.weight) {
        return Err("has weights that are quantized already");
    }
    let weight = initializer(taps.weight).ok_or("has weights that another node reads, too")?;
    if weight.floats().is_ok_and(|w| w.iter().any(|w| !w.is_finite())) {
        return Err("has weights that are not finite");
    }
    let input = taps.input.filter(|&v| may_round(graph, facts, v)).ok_or("has an input that is no float")?;
    let bias = taps.layer.bias.and_then(|at| node.inputs.get(at).copied().flatten());
    let bias = bias.and_then(|v| Some((v, initializer(v)?)));
    let weight = (taps.weight, weight);
    Ok(IntegerLayer { name: node.name.clone(), layer: taps.layer, input, weight, bias, scales: None })
}

/// Returns whether a tensor can become integers: computed floats of a known shape that were not integers before.
fn may_round(graph: &Graph, facts: &Facts, value: ValueId) -> bool {
    let float = facts.get(value).is_some_and(|fact| fact.dtype.is_float());
    let made = graph.values[value].producer.map(|node| graph.nodes[node].op_type.as_str());
    float && !facts.is_constant(value) && !facts.is_data_dependent(value) && made != Some("DequantizeLinear")
}

/// Returns the tensor that is rounded in place of a layer's output: that behind a Relu or Clip, which runtimes fuse.
fn rounded(graph: &Graph, facts: &Facts, output: ValueId) -> ValueId {
    let next = graph.only_consumer(output).filter(|_| !graph.outputs.contains(&output));
    let clips = |node: NodeId| {
        let activation = graph.nodes[node].op.activation(&facts.inputs(graph, node));
        matches!(activation, Some(Activation::Relu))
            || matches!(activation, Some(Activation::Clip(low, _)) if low >= 0.0)
    };
    next.filter(|&node| clips(node))
        .and_then(|node| graph.nodes[node].outputs.first().copied().flatten())
        .unwrap_or(output)
}

/// Returns the slope of the LeakyRelu that alone reads a value.
fn slope(graph: &Graph, facts: &Facts, value: ValueId) -> Option<f32> {
    let node = graph.only_consumer(value).filter(|_| !graph.outputs.contains(&value))?;
    match graph.nodes[node].op.activation(&facts.inputs(graph, node))? {
        Activation::LeakyRelu(slope) if slope > 0.0 && slope < 1.0 => Some(slope),
        _ => None,
    }
}

/// Returns the node that computes a value by moving elements, and its first input.
fn moved(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let node = &graph.nodes[graph.values[value].producer?];
    let first = node.inputs.first().copied().flatten();
    first.filter(|_| MOVING.contains(&node.op_type.as_str()))
}

/// Returns the tensors from which nodes that move elements compute a value.
fn before_moves(graph: &Graph, value: ValueId) -> Vec<ValueId> {
    std::iter::successors(moved(graph, value), |&before| moved(graph, before)).collect()
}

/// Returns the tensors whose elements a value has.
fn sources(graph: &Graph, value: ValueId) -> BTreeSet<ValueId> {
    let root = before_moves(graph, value).last().copied().unwrap_or(value);
    let producer = graph.values[root].producer.map(|node| &graph.nodes[node]);
    match producer.filter(|node| node.op_type == "Concat") {
        Some(node) => node.inputs.iter().flatten().flat_map(|&input| sources(graph, input)).collect(),
        None => BTreeSet::from([root]),
    }
}
