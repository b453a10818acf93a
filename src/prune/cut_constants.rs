//! The constants that a cut or a mask changes, as messages.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::channels::Channels;
use super::kept_indices::kept_indices;
use crate::error::{Error, Result};
use crate::graph::{Graph, IdVec, ValueId};
use crate::onnx::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::encode;
use crate::ops::Kept;

/// The indices that stay, for each constant that changes.
pub(super) type KeptConstants = BTreeMap<ValueId, Kept>;

/// Returns the message of a constant: the file's own initializer, or the computed value encoded.
pub(super) fn constant_message(
    model: &Model,
    graph: &Graph,
    channels: &Channels,
    value: ValueId,
) -> Result<TensorProto> {
    let name = graph.name(value);
    let own = model.proto.graph.iter().flat_map(|g| &g.initializer).find(|t| t.name() == name);
    if let Some(own) = own {
        return Ok(own.clone());
    }
    let folded = channels.facts.get(value).and_then(|f| f.value.as_ref());
    folded
        .map(|tensor| encode(name, tensor))
        .ok_or_else(|| Error::new(format!("\"{name}\" is not constant")).internal())
}

/// Returns the constants that are cut, and those that a node recomputes from cut constants.
///
/// A constant that a node computes from constants (DequantizeLinear, Cast) is recomputed if the node is the only
/// consumer of its inputs: then these are cut in its place.
pub(super) fn cut_constants(
    graph: &Graph,
    channels: &Channels,
    kept: &IdVec<ValueId, Kept>,
) -> (KeptConstants, KeptConstants) {
    let smaller = |kept: &Kept| kept.iter().any(Option::is_some);
    let cut = channels.coupling.labelled_axes.keys().map(|&(value, _)| value);
    let mut open: Vec<(ValueId, Kept)> =
        cut.filter(|&v| smaller(&kept[v])).map(|v| (v, kept[v].clone())).collect();
    let (mut all, mut recomputed) = (KeptConstants::new(), KeptConstants::new());
    while let Some((value, kept)) = open.pop() {
        match sources(graph, channels, value, &kept) {
            Some(sources) => {
                recomputed.insert(value, kept);
                open.extend(sources);
            }
            None => {
                all.insert(value, kept);
            }
        }
    }
    for value in bystanders(graph, channels, all.keys(), &recomputed.keys().copied().collect()) {
        all.insert(value, vec![None; channels.facts.shape(value).len()]);
    }
    (all, recomputed)
}

/// Returns constants that are computed from changed constants and must keep their own value.
///
/// Exporters store equal weights once and compute the others as Identity of the stored ones.
pub(super) fn bystanders<'a>(
    graph: &Graph,
    channels: &Channels,
    changed: impl Iterator<Item = &'a ValueId> + Clone,
    recomputed: &HashSet<ValueId>,
) -> Vec<ValueId> {
    let known: HashSet<ValueId> = changed.clone().copied().chain(recomputed.iter().copied()).collect();
    let consumers = changed.flat_map(|&v| graph.consumers(v));
    let made = consumers.flat_map(|n| graph.nodes[n].outputs.iter().flatten().copied());
    made.filter(|&v| channels.facts.is_constant(v) && !known.contains(&v)).collect()
}

/// Returns the constants from which `value` is computed, cut alike; `None` if `value` itself must be replaced.
fn sources(graph: &Graph, channels: &Channels, value: ValueId, kept: &Kept) -> Option<Vec<(ValueId, Kept)>> {
    let node = graph.values[value].producer?;
    let inputs = channels.facts.inputs(graph, node);
    let mut sources: BTreeMap<ValueId, Kept> = BTreeMap::new();
    for (along, mask) in kept.iter().enumerate().filter(|(_, mask)| mask.is_some()) {
        for (i, axis) in graph.nodes[node].op.sources(&inputs, along)? {
            let source = graph.nodes[node].inputs.get(i).copied().flatten()?;
            let alone = graph.consumers(source) == [node] && !graph.outputs.contains(&source);
            if !alone || !channels.facts.is_constant(source) {
                return None;
            }
            let rank = channels.facts.shape(source).len();
            sources.entry(source).or_insert_with(|| vec![None; rank]).get_mut(axis)?.clone_from(mask);
        }
    }
    Some(sources.into_iter().collect())
}

/// Returns the indices that stay on each axis of every initializer that the cut makes smaller.
///
/// # Errors
/// A cut that leaves a tensor that is not rectangular: a fault of this program.
pub(super) fn kept_weights(
    graph: &Graph,
    channels: &Channels,
    removed: &BTreeSet<usize>,
) -> Result<BTreeMap<String, Vec<Option<Vec<usize>>>>> {
    let kept = kept_indices(graph, channels, &channels.roots(removed))?;
    let indices = |mask: Vec<bool>| mask.iter().enumerate().filter(|(_, k)| **k).map(|(i, _)| i).collect();
    let axes = |kept: Kept| kept.into_iter().map(|mask| mask.map(indices)).collect();
    let (constants, _) = cut_constants(graph, channels, &kept);
    Ok(constants.into_iter().map(|(value, kept)| (graph.name(value).to_owned(), axes(kept))).collect())
}
