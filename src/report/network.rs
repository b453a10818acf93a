//! The part of a page that needs no run of the network: layers, channels and coupled channels.

use std::collections::{BTreeSet, HashMap};

use super::number::Num;
use super::parts::{ColumnText, GroupRow, LayerSection};
use crate::coupling::{Block, Label};
use crate::graph::facts::Facts;
use crate::graph::{Graph, NodeId};
use crate::prune::{Channels, Cut, CutCoupled};
use crate::stats::{Activity, LayerProfile, LayerTaps, Profile, layers, place};

/// The sizes and costs of a layer.
#[derive(Clone, Debug)]
pub struct LayerSize {
    /// Layer with the values of its statistics.
    pub taps: LayerTaps,
    /// Number of input channels.
    pub inputs: usize,
    /// Number of output channels.
    pub outputs: usize,
    /// Window of a convolution, else empty.
    pub kernel: Vec<usize>,
    /// Number of weights and biases.
    pub params: u64,
    /// Multiply-accumulates of one image.
    pub macs: u64,
}

/// Computes the sizes of all layers, in graph order.
pub fn sizes(graph: &Graph, facts: &Facts) -> Vec<LayerSize> {
    layers(graph, facts).into_iter().map(|taps| size(graph, facts, taps)).collect()
}

/// Inputs of a recurrent layer with parameters, beside the first weights: recurrence weights, biases, peepholes.
const RECURRENT: [usize; 3] = [2, 3, 7];

fn size(graph: &Graph, facts: &Facts, taps: LayerTaps) -> LayerSize {
    let node = &graph.nodes[taps.node];
    let weight = facts.shape(taps.weight);
    let outputs = taps.layer.out_channels(weight);
    let elements: usize = weight.iter().product();
    let kernel = if node.op_type.starts_with("Conv") { weight[2..].to_vec() } else { vec![] };
    // A recurrent layer has several filters for each unit.
    let filters = taps.layer.gates.map_or(outputs, |gates| weight[0] * gates * outputs);
    let per_group = elements / filters.max(1) / kernel.iter().product::<usize>().max(1);
    let others: &[usize] = if taps.layer.gates.is_some() { &RECURRENT } else { &[2] };
    let len =
        |&i: &usize| Some(facts.shape(node.inputs.get(i).copied().flatten()?).iter().product::<usize>());
    let bias: usize = others.iter().filter_map(len).sum();
    let macs = node.op.macs(&facts.inputs(graph, taps.node), &facts.outputs(graph, taps.node));
    let (inputs, params) = (per_group * taps.layer.groups, (elements + bias) as u64);
    LayerSize { taps, inputs, outputs, kernel, params, macs }
}

/// Sets of coupled channels of the same layers, with equal sizes and block reasons.
#[derive(Clone, Debug)]
pub struct DependencyGroup {
    /// Layers in graph order.
    pub nodes: Vec<NodeId>,
    /// Ids of the sets of coupled channels.
    pub coupled: Vec<usize>,
    /// Number of channels in each set.
    pub each: usize,
    /// Reason that blocks the removal.
    pub block: Option<Block>,
}

/// Groups all sets of coupled channels, in the order of their first channels.
pub fn dependency_groups(channels: &Channels) -> Vec<DependencyGroup> {
    let mut found: Vec<DependencyGroup> = Vec::new();
    let mut places: HashMap<(Vec<NodeId>, usize, Option<(&str, &str)>), usize> = HashMap::new();
    for set in &channels.coupled {
        let mut nodes: Vec<NodeId> = set.members.iter().map(|m| m.0).collect();
        nodes.dedup();
        let why = set.block.as_ref().map(|b| (b.node.as_str(), b.reason.as_str()));
        let each = set.members.len();
        let place = *places.entry((nodes.clone(), each, why)).or_insert(found.len());
        if place == found.len() {
            found.push(DependencyGroup { nodes, coupled: vec![], each, block: set.block.clone() });
        }
        found[place].coupled.push(set.id);
    }
    found
}

/// A function from statistics and a channel to a number; `None` if the statistics lack the channel.
type Get<T> = fn(&T, usize) -> Option<f64>;

/// The columns of weight statistics: key, label and function.
const WEIGHTS: [(&str, &str, Get<LayerProfile>); 5] = [
    ("w_mean", "mean of the weights", |l, c| l.weight.mean.get(c).copied()),
    ("w_variance", "variance of the weights", |l, c| l.weight.variance.get(c).copied()),
    ("w_l1", "L1 of the weights", |l, c| l.weight.l1.get(c).copied()),
    ("w_l2", "L2 of the weights", |l, c| l.weight.l2.get(c).copied()),
    ("bn_scale", "scale of the normalization", |l, c| l.weight.bn_scale.get(c).copied()),
];

/// The columns of activation statistics: key, label, function and standard error.
const ACTIVITY: [(&str, &str, fn(&Activity) -> f64, fn(&Activity) -> f64); 4] = [
    ("a_mean", "mean of the activation", |a| a.moments.mean, |a| a.spread.mean_error()),
    ("a_variance", "variance of the activation", |a| a.moments.variance(), |a| a.spread.variance_error()),
    ("a_abs", "mean magnitude of the activation", |a| a.moments.mean_abs(), |a| a.spread.mean_abs_error()),
    ("a_frequency", "share of values above zero", |a| a.moments.frequency(), |a| a.spread.frequency_error()),
];

const SCORE: (&str, &str) = ("score", "score (lowest removed first)");
const CONFIDENCE: (&str, &str) = ("confidence", "confidence that the score is among the lowest");

/// Returns the columns of channel statistics, in the order of the menus.
///
/// The scripts add the standard deviation, which follows from the variance.
pub fn columns() -> Vec<ColumnText> {
    let weights = WEIGHTS.iter().map(|&(key, label, _)| (key, label));
    let activity = ACTIVITY.iter().map(|&(key, label, ..)| (key, label));
    let all = weights.chain(activity).chain([SCORE, CONFIDENCE]);
    all.map(|(key, label)| ColumnText { key, label }).collect()
}

/// Describes the layers of a network with the statistics and states of their channels.
///
/// [`shrunk`] adds the costs after the cut.
pub fn described(
    graph: &Graph,
    channels: &Channels,
    cut: &Cut,
    removed: &BTreeSet<usize>,
    profile: &Profile,
) -> Vec<LayerSection> {
    let known: HashMap<&str, &LayerProfile> = profile.layers.iter().map(|l| (l.node.as_str(), l)).collect();
    let coupled: HashMap<Label, usize> = channels.coupled.iter().map(|k| (k.root, k.id)).collect();
    sizes(graph, &channels.facts)
        .into_iter()
        .map(|size| {
            let of: Vec<Option<usize>> = labels(channels, graph, &size)
                .into_iter()
                .map(|label| coupled.get(&channels.coupling.classes.find(label)).copied())
                .collect();
            let state: String = of.iter().map(|&set| state_letter(channels, set, removed)).collect();
            let left = state.chars().filter(|&s| s != 'c').count();
            let mut layer = section(graph, size);
            (layer.width[1], layer.state) = (left, state);
            if let Some(known) = known.get(layer.name.as_str()) {
                add_statistics(&mut layer, known);
            }
            add_scores(&mut layer, &of, cut);
            layer
        })
        .collect()
}

/// Describes the layers of a network by their sizes alone, as if nothing were removed.
pub fn sections(graph: &Graph, facts: &Facts) -> Vec<LayerSection> {
    sizes(graph, facts).into_iter().map(|size| section(graph, size)).collect()
}

fn section(graph: &Graph, size: LayerSize) -> LayerSection {
    let node = &graph.nodes[size.taps.node];
    LayerSection {
        name: node.name.clone(),
        op: node.op_type.clone(),
        kernel: size.kernel,
        groups: size.taps.layer.groups,
        width: [size.outputs; 2],
        macs: [Some(size.macs), None],
        params: [Some(size.params), None],
        ..LayerSection::default()
    }
}

/// Returns the number of output channels of each layer in another network; `None` for layers that it lacks.
pub fn widths(layers: &[LayerSection], graph: &Graph, facts: &Facts) -> Vec<Option<usize>> {
    let others = sizes(graph, facts);
    let by_name: HashMap<&str, usize> =
        others.iter().map(|s| (graph.nodes[s.taps.node].name.as_str(), s.outputs)).collect();
    layers.iter().map(|layer| by_name.get(layer.name.as_str()).copied()).collect()
}

/// Returns the label of each output channel of a layer.
fn labels(channels: &Channels, graph: &Graph, size: &LayerSize) -> Vec<Label> {
    let value = graph.nodes[size.taps.node].outputs.first().copied().flatten();
    let labelled = value.and_then(|v| channels.labels[v].as_ref().map(|labelled| (v, labelled)));
    let Some((value, labelled)) = labelled else { return vec![] };
    let axis = place(size.taps.layer.channels, channels.facts.shape(value).len());
    labelled.firsts(axis)
}

fn state_letter(channels: &Channels, set: Option<usize>, removed: &BTreeSet<usize>) -> char {
    match set {
        Some(set) if removed.contains(&set) => 'c',
        Some(set) if channels.coupled[set].block.is_none() => 'k',
        _ => 'b',
    }
}

/// Adds the statistics of a layer's channels.
fn add_statistics(layer: &mut LayerSection, known: &LayerProfile) {
    let width = layer.width[0];
    for (key, _, get) in WEIGHTS {
        let column: Option<Vec<Num>> = (0..width).map(|c| get(known, c).map(Num)).collect();
        layer.values.extend(column.map(|column| (key, column)));
    }
    if known.post.len() != width {
        return;
    }
    let column = |get: fn(&Activity) -> f64| known.post.iter().map(|a| Num(get(a))).collect::<Vec<_>>();
    for (key, _, get, error) in ACTIVITY {
        layer.values.insert(key, column(get));
        let errors = column(error);
        // Without a second image there are no standard errors.
        if errors.iter().any(|e| e.0.is_finite()) {
            layer.errors.insert(key, errors);
        }
    }
}

/// Adds the scores and confidences of a layer's channels.
fn add_scores(layer: &mut LayerSection, of: &[Option<usize>], cut: &Cut) {
    let by_id: HashMap<usize, &CutCoupled> = cut.coupled.iter().map(|k| (k.id, k)).collect();
    type Said = fn(&CutCoupled) -> Option<f64>;
    let column = |get: Said| -> Vec<Num> {
        let set = |k: &Option<usize>| k.and_then(|k| by_id.get(&k).copied()).and_then(get);
        of.iter().map(|k| Num(set(k).unwrap_or(f64::NAN))).collect()
    };
    let any = |column: &[Num]| column.iter().any(|n| n.0.is_finite());
    for (key, get) in [(SCORE.0, (|k| k.score) as Said), (CONFIDENCE.0, |k| k.confidence)] {
        let column = column(get);
        if any(&column) {
            layer.values.insert(key, column);
        }
    }
    let errors = column(|k| k.error);
    if any(&errors) {
        layer.errors.insert(SCORE.0, errors);
    }
}

/// Adds the costs of the layers in the pruned network.
///
/// Returns the name of a layer whose width contradicts the cut, if any: the network is then another one.
pub fn shrunk(layers: &mut [LayerSection], graph: &Graph, facts: &Facts) -> Option<String> {
    let after = sizes(graph, facts);
    let by_name: HashMap<&str, &LayerSize> =
        after.iter().map(|s| (graph.nodes[s.taps.node].name.as_str(), s)).collect();
    let mut wrong = None;
    for layer in layers {
        let Some(size) = by_name.get(layer.name.as_str()) else { continue };
        if size.outputs != layer.width[1] {
            wrong.get_or_insert_with(|| layer.name.clone());
        }
        layer.macs[1] = Some(size.macs);
        layer.params[1] = Some(size.params);
    }
    wrong
}

/// Returns the rows of coupled channels: their layers, removed sets, and block reasons.
pub fn group_rows(
    graph: &Graph,
    channels: &Channels,
    layers: &[LayerSection],
    removed: &BTreeSet<usize>,
) -> Vec<GroupRow> {
    let places: HashMap<&str, usize> = layers.iter().enumerate().map(|(i, l)| (l.name.as_str(), i)).collect();
    let row = |group: DependencyGroup| GroupRow {
        layers: group
            .nodes
            .iter()
            .filter_map(|&n| places.get(graph.nodes[n].name.as_str()).copied())
            .collect(),
        coupled: group.coupled.len(),
        each: group.each,
        cut: group.coupled.iter().filter(|k| removed.contains(k)).count(),
        blocked: group.block.map(|b| [b.node, b.reason]),
    };
    dependency_groups(channels).into_iter().map(row).collect()
}
