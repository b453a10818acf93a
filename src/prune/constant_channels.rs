//! Constant channels: channels whose value does not depend on the network's input.
//!
//! A filter of zeros returns its bias; BatchNormalization, activations, pooling and data movement map a constant to
//! another one. If a constant channel is removed, each consumer without padding adds the lost constant to its bias, and
//! the network computes the same function. With zero padding the borders would differ: the channel is then removed
//! without a correction.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::channels::Channels;
use crate::coupling::Label;
use crate::graph::{Graph, IdVec, NodeId, ValueId};

/// Corrections of consumers' biases for removed constant channels: a number per output channel.
pub(super) type BiasCorrections = BTreeMap<NodeId, Vec<f64>>;

/// The constant channels of a value, with the constant.
type ConstantChannels = HashMap<Label, f64>;

/// Returns the corrections of all biases when the classes for which `gone` is true are removed.
pub(super) fn bias_corrections(
    graph: &Graph,
    channels: &Channels,
    gone: &dyn Fn(Label) -> bool,
) -> BiasCorrections {
    let constants = constants(graph, channels);
    let mut bias_corrections = BiasCorrections::new();
    for (id, node) in graph.nodes.iter_enumerated() {
        let Some(x) = node.inputs.first().copied().flatten() else { continue };
        let Some(labels) = along_channels(channels, x) else { continue };
        if channels.facts.is_data_dependent_node(graph, id) {
            continue;
        }
        let value = |&label: &Label| constants[x].get(&label).copied().filter(|_| gone(label));
        let left: Vec<f64> = labels.iter().map(|l| value(l).unwrap_or(0.0)).collect();
        if left.iter().any(|&v| v != 0.0)
            && let Some(correction) = node.op.bias_correction(&channels.facts.inputs(graph, id), &left)
        {
            bias_corrections.insert(id, correction);
        }
    }
    bias_corrections
}

/// Returns the label of each index of axis 1, if labels vary along this axis only.
fn along_channels(channels: &Channels, value: ValueId) -> Option<Vec<Label>> {
    let labelled = channels.labels[value].as_ref().filter(|d| d.varying() == [1])?;
    Some(labelled.firsts(1))
}

/// Returns the constant channels of every value.
fn constants(graph: &Graph, channels: &Channels) -> IdVec<ValueId, ConstantChannels> {
    let facts = &channels.facts;
    let mut all = graph.values.filled(ConstantChannels::new());
    for (id, node) in graph.nodes.iter_enumerated() {
        let inputs = facts.inputs(graph, id);
        let (first, output) =
            (node.inputs.first().copied().flatten(), node.outputs.first().copied().flatten());
        let (Some(first), Some(output)) = (first, output) else { continue };
        if facts.is_data_dependent(output) {
            continue;
        }
        if let Some(outputs) = node.op.constant_channels(&inputs) {
            let labels = along_channels(channels, output).unwrap_or_default();
            let pairs = labels.into_iter().zip(outputs).filter_map(|(l, v)| Some((l, v?)));
            all[output] = pairs.collect();
        } else if let Some((scale, shift)) = node.op.scale_shift(&inputs) {
            let labels = along_channels(channels, first).unwrap_or_default();
            let known = labels.into_iter().zip(scale.iter().zip(&shift));
            let new = known.filter_map(|(l, (a, b))| Some((l, a * all[first].get(&l)? + b)));
            all[output] = new.collect();
        } else if let Some(activation) = node.op.activation(&inputs) {
            all[output] = all[first].iter().map(|(&l, &v)| (l, activation.apply_f64(v))).collect();
        } else if node.op.keeps_constants() {
            let sources: Vec<ValueId> =
                node.inputs.iter().flatten().copied().filter(|&v| !facts.is_constant(v)).collect();
            let agreed = agreed(&all, channels, &sources);
            for &output in node.outputs.iter().flatten() {
                all[output].clone_from(&agreed);
            }
        }
    }
    all
}

/// Returns the constants on which all sources that contain the label agree.
fn agreed(
    all: &IdVec<ValueId, ConstantChannels>,
    channels: &Channels,
    sources: &[ValueId],
) -> ConstantChannels {
    let mut agreed = ConstantChannels::new();
    let mut broken: HashSet<Label> = HashSet::new();
    for &source in sources {
        let Some(labelled) = &channels.labels[source] else { continue };
        for &label in labelled.labels() {
            match all[source].get(&label) {
                Some(&v) if *agreed.entry(label).or_insert(v) == v => {}
                _ => {
                    broken.insert(label);
                }
            }
        }
    }
    agreed.retain(|label, _| !broken.contains(label));
    agreed
}
