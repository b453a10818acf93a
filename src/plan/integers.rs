//! Layers between quantizations: their input and weights are 8-bit integers, and so they may compute with integers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::facts::Facts;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Integers;
use crate::tensor::{DType, Tensor};

/// A layer that reads integers in place of the floats that a DequantizeLinear computes from them.
#[derive(Debug)]
pub(super) struct IntegerLayer {
    /// The value with the integers of input 0.
    pub(super) input: ValueId,
    /// The integers of the weights, and the scales.
    pub(super) numbers: Integers,
}

/// Integers as a node dequantizes them.
struct Dequantized {
    integers: ValueId,
    /// The shape in which scale and zero point broadcast to the integers.
    shape: Vec<usize>,
    scales: Vec<f64>,
    zeros: Vec<f64>,
}

/// Returns the integers from which a DequantizeLinear with constant parameters computes a value.
fn dequantized(graph: &Graph, facts: &Facts, value: ValueId) -> Option<Dequantized> {
    let node = graph.values[value].producer?;
    let inputs = facts.inputs(graph, node);
    let shape = graph.nodes[node].op.dequantization(&inputs)?;
    let integers = graph.nodes[node].inputs.first().copied().flatten()?;
    let constant = |i: usize| inputs.optional(i).and_then(|fact| fact.value.as_ref()).map(Tensor::to_f64);
    let scales = constant(1)?;
    let zeros = match inputs.optional(2) {
        Some(_) => constant(2)?,
        None => vec![0.0; scales.len()],
    };
    Some(Dequantized { integers, shape, scales, zeros })
}

/// Finds the layers of a graph that read integers, with weights of at most `most` elements.
pub(super) fn integer_layers(graph: &Graph, facts: &Facts, most: usize) -> HashMap<NodeId, IntegerLayer> {
    let found = |id| Some((id, integer_layer(graph, facts, id, most)?));
    graph.nodes.ids().filter_map(found).collect()
}

fn integer_layer(graph: &Graph, facts: &Facts, id: NodeId, most: usize) -> Option<IntegerLayer> {
    let node = &graph.nodes[id];
    if !node.op.reads_integers(&facts.inputs(graph, id)) {
        return None;
    }
    let input = |i: usize| dequantized(graph, facts, node.inputs.get(i).copied().flatten()?);
    let (x, w) = (input(0)?, input(1)?);
    let (&[scale], &[zero]) = (&x.scales[..], &x.zeros[..]) else { return None };
    let fact = facts.get(x.integers).filter(|fact| fact.value.is_none())?;
    let signed = match fact.dtype {
        DType::I8 => true,
        DType::U8 => false,
        _ => return None,
    };
    let stored = facts.get(w.integers)?.value.as_ref().filter(|stored| stored.len() <= most)?;
    // Scales vary along the filters, or there is one.
    let filters = *stored.shape.first()?;
    if w.shape.iter().skip(1).any(|&n| n > 1) || !matches!(w.scales.len(), n if n == 1 || n == filters) {
        return None;
    }
    let of = |all: &[f64], filter: usize| all[if all.len() == 1 { 0 } else { filter }];
    let filter = (stored.len() / filters.max(1)).max(1);
    let weights = stored.to_f64().into_iter().enumerate().map(|(i, q)| (q - of(&w.zeros, i / filter)) as f32);
    let weights: Vec<f32> = weights.collect();
    let scales: Vec<f64> = (0..filters).map(|i| scale * of(&w.scales, i)).collect();
    let fits = weights.iter().all(|w| (-128.0..=127.0).contains(w));
    // A bias is divided by its scale.
    let divides = scales.iter().all(|&scale| scale.is_finite() && (scale as f32).is_normal());
    (fits && divides && scale > 0.0).then(|| IntegerLayer {
        input: x.integers,
        numbers: Integers { signed, zero: zero as i32, weights: Arc::new(weights), scales },
    })
}

/// Returns the nodes whose outputs are read by integer layers only, as their first input, which take the integers instead.
///
/// Values in `kept` are computed all the same.
pub(super) fn skipped<'a>(
    graph: &'a Graph,
    layers: &'a HashMap<NodeId, IntegerLayer>,
    kept: impl Fn(ValueId) -> bool + 'a,
) -> impl Iterator<Item = NodeId> + 'a {
    let reads_only_integers = |&consumer: &NodeId, value: ValueId| {
        let uses = graph.nodes[consumer].inputs.iter().filter(|input| **input == Some(value)).count();
        layers.contains_key(&consumer) && uses == 1 && graph.nodes[consumer].inputs[0] == Some(value)
    };
    let floats = layers.keys().filter_map(|&layer| graph.nodes[layer].inputs[0]);
    floats.filter_map(move |value| {
        let consumers = &graph.values[value].consumers;
        let unused = !kept(value) && consumers.iter().all(|consumer| reads_only_integers(consumer, value));
        graph.values[value].producer.filter(|_| unused)
    })
}
