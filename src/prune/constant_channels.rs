//! Constant channels: channels whose value does not depend on the network's input.
//!
//! A filter of zeros returns its bias; BatchNormalization, activations, arithmetic with constants, pooling and data
//! movement map a constant to another one. If a constant channel is removed, each consumer adds the lost constant to its
//! bias. Then the network computes the same function, except where a consumer pads its input with zeros: at the borders
//! it lost less than the constant. How much the outputs change is measured (`border_effect`).

use std::collections::{BTreeSet, HashMap, HashSet};

use super::channels::Channels;
use crate::coupling::{ChannelLabels, FROZEN, Label, for_each_index};
use crate::fact::{Fact, Inputs};
use crate::graph::{Graph, IdVec, NodeId, ValueId};
use crate::ops::{ChannelConstant, Constancy, NEGLIGIBLE, evaluate};
use crate::stats::place;
use crate::tensor::{Tensor, strides};

/// The constant channels of a value, by label.
type ConstantChannels = HashMap<Label, ChannelConstant>;

/// A bias to which the constants of removed channels are added.
#[derive(Clone, Debug)]
pub(crate) struct FoldedBias {
    /// The layer that consumes the channels.
    pub(crate) layer: NodeId,
    /// The node that adds the bias: the layer, or an Add behind it.
    pub(crate) node: NodeId,
    /// The node's input that is the bias.
    pub(crate) input: usize,
    /// The new bias, with one number for each of the layer's output channels.
    pub(crate) bias: Tensor,
    /// The sums that were added.
    pub(crate) sums: Vec<f64>,
}

/// The removed channels that are constant, and the biases that make up for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folds {
    /// The new biases in graph order.
    pub(crate) biases: Vec<FoldedBias>,
    /// The labels of the constant channels, without those that are zero everywhere.
    pub(crate) labels: BTreeSet<Label>,
    /// The layers for which a bias does not replace the constants at every position of the output.
    pub(crate) borders: Vec<NodeId>,
    /// The removed classes of which some consumer loses more than a constant.
    pub(crate) lossy: BTreeSet<Label>,
}

/// Finds the biases that change when the classes for which `gone` is true are removed.
pub(crate) fn folds(graph: &Graph, channels: &Channels, gone: &dyn Fn(Label) -> bool) -> Folds {
    let constants = constants(graph, channels);
    let mut folds = Folds::default();
    for (id, node) in graph.nodes.iter_enumerated() {
        if channels.facts.is_data_dependent_node(graph, id) {
            continue;
        }
        let reads = |v: &ValueId| {
            let axes = channels.coupling.labelled_axes.range((*v, 0)..=(*v, usize::MAX));
            axes.filter(|(_, axis)| axis.reads)
                .flat_map(|(_, axis)| &axis.labels)
                .copied()
                .collect::<Vec<_>>()
        };
        let lost: BTreeSet<Label> =
            node.inputs.iter().flatten().flat_map(reads).filter(|&l| gone(l)).collect();
        if lost.is_empty() {
            continue;
        }
        let Some(fold) = fold(graph, channels, id, (&constants, gone)) else {
            folds.lossy.extend(lost.iter().map(|&l| channels.coupling.classes.find(l)));
            continue;
        };
        folds.labels.extend(fold.constant);
        folds.lossy.extend(fold.lossy);
        folds.biases.extend(fold.bias);
        folds.borders.extend(fold.border.then_some(id));
    }
    folds
}

/// The effect of removed channels on one layer.
struct LayerFold {
    /// The new bias; `None` if it stays.
    bias: Option<FoldedBias>,
    /// True if the bias does not replace the constants at every position.
    border: bool,
    constant: Vec<Label>,
    lossy: Vec<Label>,
}

/// Folds the removed constant channels that a layer consumes; `None` if nothing can be folded.
fn fold(
    graph: &Graph,
    channels: &Channels,
    id: NodeId,
    (constants, gone): (&IdVec<ValueId, ConstantChannels>, &dyn Fn(Label) -> bool),
) -> Option<LayerFold> {
    let (node, inputs) = (&graph.nodes[id], channels.facts.inputs(graph, id));
    let layer = node.op.layer()?;
    let (x, output) = (node.inputs.first().copied()??, node.outputs.first().copied()??);
    let labels = along(channels.labels[x].as_ref(), channels_axis(layer.channels, channels.facts.shape(x)))?;
    let constant = |&l: &Label| constants[x].get(&l).copied();
    let lossy = labels.iter().filter(|&l| gone(*l) && constant(l).is_none());
    let lossy: Vec<Label> = lossy.map(|&l| channels.coupling.classes.find(l)).collect();
    let lost =
        labels.iter().filter(|&l| gone(*l) && constant(l).is_some_and(|c| c.value != 0.0 || !c.everywhere));
    let lost: Vec<Label> = lost.copied().collect();
    if lost.is_empty() {
        return Some(LayerFold { bias: None, border: false, constant: vec![], lossy });
    }
    let removed: Vec<Option<ChannelConstant>> =
        labels.iter().map(|l| constant(l).filter(|_| gone(*l))).collect();
    let sum = node.op.contribution(&inputs, &removed)?;
    let border = !sum.everywhere.iter().all(|&everywhere| everywhere);
    let bias = match node.op.bias_with(&inputs, &sum.sums) {
        _ if sum.sums.iter().all(|&s| s == 0.0) => None,
        Some(bias) => Some((id, layer.bias?, bias)),
        None => Some(bias_behind(graph, channels, output, &sum.sums)?),
    };
    let bias = bias.map(|(node, input, bias)| FoldedBias { layer: id, node, input, bias, sums: sum.sums });
    Some(LayerFold { bias, border, constant: lost, lossy })
}

/// Returns the Add of a bias that is the only consumer of `value`: the node, the input, and the bias plus `sums`.
fn bias_behind(
    graph: &Graph,
    channels: &Channels,
    value: ValueId,
    sums: &[f64],
) -> Option<(NodeId, usize, Tensor)> {
    let next = graph.only_consumer(value).filter(|_| !graph.outputs.contains(&value))?;
    let node = &graph.nodes[next];
    let input = usize::from(node.inputs.first().copied()? == Some(value));
    let fact = channels.facts.get(node.inputs.get(input).copied()??)?;
    let bias = fact.value.as_ref().filter(|_| node.op_type == "Add")?;
    let fits = bias.len() == 1 || bias.len() == sums.len() && bias.shape.last() == Some(&sums.len());
    let old = bias.to_f64();
    let new: Vec<f64> = sums.iter().enumerate().map(|(o, s)| s + old[o % old.len()]).collect();
    fits.then(|| (next, input, Tensor::from_f64(bias.dtype, &[new.len()], &new)))
}

/// Returns the axis of channels of a tensor that a layer consumes.
fn channels_axis(axis: isize, shape: &[usize]) -> usize {
    place(axis, shape.len())
}

/// Returns the label of each index of `axis`, if labels vary along this axis only.
fn along(labels: Option<&ChannelLabels>, axis: usize) -> Option<Vec<Label>> {
    Some(labels.filter(|d| d.varying() == [axis])?.firsts(axis))
}

/// Collects constants by label; a label of several channels needs equal constants.
fn by_label(channels: impl Iterator<Item = (Label, Option<ChannelConstant>)>) -> ConstantChannels {
    let mut found: HashMap<Label, Option<ChannelConstant>> = HashMap::new();
    for (label, constant) in channels.filter(|&(label, _)| label != FROZEN) {
        let known = found.entry(label).or_insert(constant);
        *known = match (*known, constant) {
            (Some(a), Some(b)) if a.value == b.value => {
                Some(ChannelConstant { everywhere: a.everywhere && b.everywhere, ..a })
            }
            _ => None,
        };
    }
    found.into_iter().filter_map(|(label, constant)| Some((label, constant?))).collect()
}

/// Returns the constant channels of every value.
fn constants(graph: &Graph, channels: &Channels) -> IdVec<ValueId, ConstantChannels> {
    let facts = &channels.facts;
    let mut all = graph.values.filled(ConstantChannels::new());
    for (id, node) in graph.nodes.iter_enumerated() {
        let Some(output) = node.outputs.first().copied().flatten() else { continue };
        if facts.is_constant(output) || facts.is_data_dependent_node(graph, id) {
            continue;
        }
        let found = of_layer(graph, channels, id, &all)
            .or_else(|| scaled(graph, channels, id, &all))
            .or_else(|| pointwise(graph, channels, id, &all))
            .or_else(|| normalized(graph, channels, id, &all))
            .unwrap_or_else(|| passed(graph, channels, id, &all));
        for &output in node.outputs.iter().flatten() {
            all[output].clone_from(&found);
        }
    }
    all
}

/// Returns the constant output channels of a layer.
fn of_layer(
    graph: &Graph,
    channels: &Channels,
    id: NodeId,
    all: &IdVec<ValueId, ConstantChannels>,
) -> Option<ConstantChannels> {
    let node = &graph.nodes[id];
    let layer = node.op.layer()?;
    let (x, output) = (node.inputs.first().copied()??, node.outputs.first().copied()??);
    let (before, after) = (channels.facts.shape(x), channels.facts.shape(output));
    let consumed = channels_axis(layer.channels, before);
    let known = match along(channels.labels[x].as_ref(), consumed) {
        Some(labels) => labels.iter().map(|l| all[x].get(l).copied()).collect(),
        None => vec![None; *before.get(consumed)?],
    };
    let sum = node.op.contribution(&channels.facts.inputs(graph, id), &known)?;
    let labels = along(channels.labels[output].as_ref(), channels_axis(layer.channels, after))?;
    Some(by_label(labels.into_iter().zip(sum.constants())))
}

/// Returns the constant channels behind a scale and shift of each channel.
fn scaled(
    graph: &Graph,
    channels: &Channels,
    id: NodeId,
    all: &IdVec<ValueId, ConstantChannels>,
) -> Option<ConstantChannels> {
    let node = &graph.nodes[id];
    let (scale, shift) = node.op.scale_shift(&channels.facts.inputs(graph, id))?;
    let x = node.inputs.first().copied()??;
    let labels = along(channels.labels[x].as_ref(), 1)?;
    let one = |label: &Label, a: f64, b: f64| {
        // A scale of zero makes any channel constant.
        let none = ChannelConstant { value: 0.0, everywhere: true };
        let x = if a.abs() < NEGLIGIBLE { none } else { *all[x].get(label)? };
        Some(ChannelConstant { value: a * x.value + b, ..x })
    };
    Some(by_label(labels.iter().zip(scale.iter().zip(&shift)).map(|(l, (&a, &b))| (*l, one(l, a, b)))))
}

/// Returns the constant channels of a normalization over each channel's plane.
fn normalized(
    graph: &Graph,
    channels: &Channels,
    id: NodeId,
    all: &IdVec<ValueId, ConstantChannels>,
) -> Option<ConstantChannels> {
    let node = &graph.nodes[id];
    let values = node.op.normalized_constants(&channels.facts.inputs(graph, id))?;
    let x = node.inputs.first().copied()??;
    let labels = along(channels.labels[x].as_ref(), 1)?;
    // If borders differ, the channel has a variance.
    let known = |label: &Label| all[x].get(label).is_some_and(|c| c.everywhere);
    let one = |(label, value): (&Label, f64)| {
        (*label, known(label).then_some(ChannelConstant { value, everywhere: true }))
    };
    Some(by_label(labels.iter().zip(values).map(one)))
}

/// Returns the constant channels of a pointwise node, computed by its lowering from one element per channel.
fn pointwise(
    graph: &Graph,
    channels: &Channels,
    id: NodeId,
    all: &IdVec<ValueId, ConstantChannels>,
) -> Option<ConstantChannels> {
    let node = &graph.nodes[id];
    let output = node.outputs.first().copied().flatten().filter(|_| node.op.is_pointwise())?;
    let (labels, facts) = (channels.labels[output].as_ref()?, channels.facts.inputs(graph, id));
    let operands: Vec<Operand> =
        node.inputs.iter().enumerate().map(|(i, v)| Operand::of(channels, all, &facts, i, *v)).collect();
    if operands.iter().any(|o| matches!(o, Operand::Computed(_, known) if known.is_empty())) {
        return Some(ConstantChannels::new());
    }
    let (mut found, mut rows): (Vec<(Label, Option<bool>)>, Vec<Vec<f64>>) =
        (vec![], vec![vec![]; operands.len()]);
    let varying: Vec<usize> =
        labels.shape.iter().enumerate().map(|(a, &n)| if labels.varies(a) { n } else { 1 }).collect();
    for_each_index(&varying, |index| {
        let here: Option<Vec<ChannelConstant>> = operands.iter().map(|o| o.at(index, labels)).collect();
        found.push((labels.at(index), here.as_ref().map(|h| h.iter().all(|c| c.everywhere))));
        for (row, constant) in rows.iter_mut().zip(here.into_iter().flatten()) {
            row.push(constant.value);
        }
    });
    let n = rows.first().map_or(0, Vec::len);
    if n == 0 {
        return Some(ConstantChannels::new());
    }
    // Single numbers stay as they are: the bounds of Clip must be scalars.
    let input = |(i, row): (usize, &Vec<f64>)| -> Option<Fact> {
        let fact = facts.optional(i)?;
        let scalar = fact.value.as_ref().filter(|v| v.len() == 1);
        Some(Fact::constant(match scalar {
            Some(scalar) => scalar.clone(),
            None => Tensor::from_f64(fact.dtype, &[n], row),
        }))
    };
    let vectors: Vec<Option<Fact>> = rows.iter().enumerate().map(input).collect();
    let inputs = Inputs { facts: vectors.iter().map(Option::as_ref).collect() };
    let dtype = channels.facts.get(output)?.dtype;
    let values = evaluate(&*node.op, &inputs, &[Fact::new(dtype, &[n])]).ok()?.swap_remove(0).to_f64();
    let mut values = values.into_iter();
    let one = |(label, known): (Label, Option<bool>)| {
        let constant =
            known.and_then(|everywhere| Some(ChannelConstant { value: values.next()?, everywhere }));
        (label, constant.filter(|c| c.value.is_finite()))
    };
    Some(by_label(found.into_iter().map(one)))
}

/// An input of a pointwise node.
enum Operand<'a> {
    /// An absent input, which counts as any number.
    Absent,
    Constant(&'a [usize], Vec<f64>),
    Computed(&'a ChannelLabels, &'a ConstantChannels),
    Unknown,
}

impl<'a> Operand<'a> {
    fn of(
        channels: &'a Channels,
        all: &'a IdVec<ValueId, ConstantChannels>,
        facts: &Inputs<'a>,
        i: usize,
        value: Option<ValueId>,
    ) -> Self {
        let Some(value) = value else { return Self::Absent };
        match (facts.optional(i).and_then(|f| f.value.as_ref()), &channels.labels[value]) {
            (Some(constant), _) => Self::Constant(&constant.shape, constant.to_f64()),
            (None, Some(labels)) => Self::Computed(labels, &all[value]),
            (None, None) => Self::Unknown,
        }
    }

    /// Returns the number at an index of the output; `None` if it is unknown, or varies along other axes than the index.
    fn at(&self, index: &[usize], output: &ChannelLabels) -> Option<ChannelConstant> {
        let everywhere = |value| Some(ChannelConstant { value, everywhere: true });
        match self {
            Self::Absent => everywhere(0.0),
            Self::Unknown => None,
            Self::Computed(labels, known) => {
                known.get(&labels.at(&index[index.len() - labels.shape.len()..])).copied()
            }
            Self::Constant(shape, values) => everywhere(uniform((shape, values), index, output)?),
        }
    }
}

/// Returns the number that a constant operand has at an index of the output, if labels vary where it does.
fn uniform((shape, values): (&[usize], &[f64]), index: &[usize], output: &ChannelLabels) -> Option<f64> {
    let lead = index.len().checked_sub(shape.len())?;
    let (mut free, mut found) = (vec![1; shape.len()], None);
    for (axis, &n) in shape.iter().enumerate().filter(|&(axis, _)| !output.varies(lead + axis)) {
        free[axis] = n;
    }
    let steps = strides(shape);
    let fixed = |axis: usize| if shape[axis] > 1 && free[axis] == 1 { index[lead + axis] } else { 0 };
    let mut equal = true;
    for_each_index(&free, |rest| {
        let at: usize = (0..rest.len()).map(|a| (rest[a] + fixed(a)) * steps[a] as usize).sum();
        let first = *found.get_or_insert(values[at]);
        equal = equal && first == values[at];
    });
    found.filter(|_| equal)
}

/// Returns the constant channels that a node passes on.
fn passed(
    graph: &Graph,
    channels: &Channels,
    id: NodeId,
    all: &IdVec<ValueId, ConstantChannels>,
) -> ConstantChannels {
    let node = &graph.nodes[id];
    let first = node.inputs.first().copied().flatten().and_then(|v| channels.labels[v].as_ref());
    let varying = first.map(ChannelLabels::varying).unwrap_or_default();
    let constancy = node.op.constancy(&channels.facts.inputs(graph, id), &varying);
    let sources = node.inputs.iter().flatten().filter_map(|&v| Some((v, channels.labels[v].as_ref()?)));
    let own =
        sources.flat_map(|(v, labels)| labels.labels().iter().map(move |&l| (l, all[v].get(&l).copied())));
    match constancy {
        Constancy::Lost => ConstantChannels::new(),
        Constancy::Passed => by_label(own),
        Constancy::Joined => {
            let class = |label| channels.coupling.classes.find(label);
            let own: Vec<(Label, Option<ChannelConstant>)> = own.collect();
            let classes = by_label(own.iter().map(|&(label, constant)| (class(label), constant)));
            by_label(own.iter().map(|&(label, _)| (label, classes.get(&class(label)).copied())))
        }
        Constancy::Padded { value, around } => {
            let mut found = by_label(own);
            for constant in found.values_mut().filter(|c| around && c.value != value) {
                constant.everywhere = false;
            }
            // Whole channels that are added have labels of their own.
            let output = node.outputs.first().copied().flatten().and_then(|v| channels.labels[v].as_ref());
            let old: HashSet<Label> = first.into_iter().flat_map(ChannelLabels::labels).copied().collect();
            let new = output.into_iter().flat_map(ChannelLabels::labels).filter(|l| !old.contains(l));
            let added = ChannelConstant { value, everywhere: true };
            found.extend(new.filter(|&&l| l != FROZEN).map(|&l| (l, added)));
            found
        }
    }
}
