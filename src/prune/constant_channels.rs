//! Dead filters: channels that are one constant wherever they are read, whatever the network is fed.
//!
//! A filter of zeros gives its bias; BatchNormalization, activations, pools and moves make other constants
//! of it. When such a channel goes, a consumer without padding loses just a constant, which its bias takes
//! over: the network stays what it was. (With zeros around the map the borders would differ: then the
//! channel is removed like any other.)

use std::collections::{BTreeMap, HashMap, HashSet};

use super::channels::Channels;
use crate::coupling::Label;
use crate::graph::{Graph, NodeId, ValueId};

/// What removed channels leave in the bias of each consumer: one number for each of its output channels.
pub(super) type BiasCorrections = BTreeMap<NodeId, Vec<f64>>;

/// What the channels of a value are where they are constant.
type ConstantChannels = HashMap<Label, f64>;

/// What the consumers' biases take over when the classes `gone` go.
pub(super) fn bias_corrections(
    graph: &Graph,
    channels: &Channels,
    gone: &dyn Fn(Label) -> bool,
) -> BiasCorrections {
    let constants = constants(graph, channels);
    let mut bias_corrections = BiasCorrections::new();
    for (id, node) in graph.nodes.iter().enumerate() {
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

/// One label for each index of axis 1, where labels vary along that axis only.
fn along_channels(channels: &Channels, value: ValueId) -> Option<Vec<Label>> {
    let labelled = channels.labels[value].as_ref().filter(|d| d.varying() == [1])?;
    Some(labelled.firsts(1))
}

/// For each value, its constant channels.
fn constants(graph: &Graph, channels: &Channels) -> Vec<ConstantChannels> {
    let facts = &channels.facts;
    let mut all: Vec<ConstantChannels> = vec![ConstantChannels::new(); graph.values.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        let inputs = facts.inputs(graph, id);
        let (first, output) =
            (node.inputs.first().copied().flatten(), node.outputs.first().copied().flatten());
        let (Some(first), Some(output)) = (first, output) else { continue };
        if facts.is_data_dependent(output) {
            continue;
        }
        if let Some(dead) = node.op.constant_channels(&inputs) {
            let labels = along_channels(channels, output).unwrap_or_default();
            let pairs = labels.into_iter().zip(dead).filter_map(|(l, v)| Some((l, v?)));
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

/// The constants on which all sources agree that have the label at all.
fn agreed(all: &[ConstantChannels], channels: &Channels, sources: &[ValueId]) -> ConstantChannels {
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
