//! The state of the analysis of a whole graph: classes, producers, constant axes and deferred choices.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::classes::EquivalenceClasses;
use super::labels::{ChannelLabels, Label};
use crate::ids::{NodeId, ValueId};

/// The relation of a constant's axis to the channels of the node that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The axis produces channels: the output axis of weights, the bias.
    Producer,
    /// The axis consumes channels: the input axis of weights. In a masked network, its slices are zero.
    Consumer,
    /// The axis holds per-channel constants: BatchNormalization's parameters, a broadcast operand.
    PerChannel,
}

/// A constant's axis with a label for each index, which is removed together with that label.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledAxis {
    /// One label for each index; [`super::FROZEN`] if the index stays in any case.
    pub labels: Vec<Label>,
    /// True if the axis produces channels for some node.
    pub makes: bool,
    /// True if the axis consumes channels for some node; both hold for some shared weights.
    pub reads: bool,
}

/// A node that produces channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    /// The number of the node.
    pub node: NodeId,
    /// The constant that holds the filters, and its axis of filters.
    pub weight: (ValueId, usize),
    /// One label for each output channel.
    pub labels: Vec<Label>,
}

/// A node that labels passed unchanged although the node mixes them.
#[derive(Clone, Debug)]
pub struct Mixing {
    /// The number of the node.
    pub node: NodeId,
    pub(super) labels: ChannelLabels,
    pub(super) axes: Vec<usize>,
}

impl Mixing {
    /// Returns the classes whose removal is inexact at this node: those that are mixed with others.
    pub fn classes(&self, classes: &EquivalenceClasses) -> BTreeSet<Label> {
        let mut slices: HashMap<usize, BTreeSet<Label>> = HashMap::new();
        self.labels.for_each_slice(&self.axes, |slice, label| {
            slices.entry(slice).or_default().insert(classes.find(label));
        });
        slices.into_values().filter(|classes| classes.len() > 1).flatten().collect()
    }
}

/// A product with weights along an axis without channels, through which the channels of other axes passed.
#[derive(Clone, Debug)]
pub struct PassedProduct {
    /// The number of the node.
    pub node: NodeId,
    /// The labels of the factor that has channels.
    pub labels: ChannelLabels,
}

/// The coupling of channels in a whole graph.
#[derive(Clone, Debug, Default)]
pub struct Coupling {
    /// The classes of labels that are removed together.
    pub classes: EquivalenceClasses,
    /// Every node that produces channels, in graph order.
    pub producers: Vec<Producer>,
    /// Every constant axis that carries labels, by (value, axis).
    pub labelled_axes: BTreeMap<(ValueId, usize), LabelledAxis>,
    /// True if labels may pass operators that mix them.
    pub inexact: bool,
    /// The nodes at which labels did so.
    pub mixings: Vec<Mixing>,
    /// The products with weights through which the labels of other axes passed, in graph order.
    pub passed: Vec<PassedProduct>,
    /// Nodes of products whose outputs are channels of their own, although labels of other axes could pass.
    pub makes_own: BTreeSet<NodeId>,
    pub(super) deferred: Deferred,
    /// The labels of filters, by (constant, axis).
    pub(super) filters: HashMap<(ValueId, usize), Vec<Label>>,
}

impl Coupling {
    /// Creates an empty state; `inexact` lets labels pass operators that mix them.
    ///
    /// Products of the nodes in `makes_own` have output channels of their own, whatever labels could pass.
    pub fn new(inexact: bool, makes_own: BTreeSet<NodeId>) -> Self {
        Self { inexact, makes_own, ..Self::default() }
    }

    /// Returns the nodes of products through which labels passed of which none can be removed.
    pub fn passed_in_vain(&self) -> impl Iterator<Item = NodeId> {
        let blocked =
            |p: &&PassedProduct| p.labels.labels().iter().all(|&label| self.classes.block(label).is_some());
        self.passed.iter().filter(blocked).map(|p| p.node)
    }

    /// Labels the indices of a constant's axis.
    ///
    /// If several nodes use the constant, it is cut once: their labels are united at `node`.
    pub(super) fn label_axis(&mut self, axis: (ValueId, usize), labels: &[Label], role: Role, node: &str) {
        let new = || LabelledAxis { labels: labels.to_vec(), makes: false, reads: false };
        let labelled = self.labelled_axes.entry(axis).or_insert_with(new);
        labelled.makes |= role == Role::Producer;
        labelled.reads |= role == Role::Consumer;
        for (&a, &b) in labelled.labels.iter().zip(labels) {
            self.classes.unite(a, b, node);
        }
    }
}

/// The choices that are deferred until all nodes have been visited.
#[derive(Clone, Debug, Default)]
pub(super) struct Deferred {
    /// Tensors that must stay rectangular: the name of the node that computes each, and the labels.
    pub(super) rectangular: Vec<(String, ChannelLabels)>,
    /// Operands that are broadcast over several labels of a result.
    pub(super) broadcast: Vec<BroadcastOperand>,
    /// Constants that shrink together with a value.
    pub(super) per_channel: Vec<PerChannelConstant>,
    /// Slices whose labels were united because a node mixes them.
    pub(super) slices: Vec<MixedSlices>,
    /// Labels of rows that a product with output channels of its own cannot lose: the node's name, and the labels.
    pub(super) rows: Vec<(String, ChannelLabels)>,
}

/// An operand that is broadcast along an axis on which the result's labels vary.
#[derive(Clone, Debug)]
pub(super) struct BroadcastOperand {
    pub(super) node: String,
    pub(super) operand: ChannelLabels,
    pub(super) result: ChannelLabels,
}

/// A constant's axis that is aligned with axis `along` of a value.
#[derive(Clone, Debug)]
pub(super) struct PerChannelConstant {
    pub(super) node: String,
    /// The constant and its axis.
    pub(super) constant: (ValueId, usize),
    /// The labels of the value.
    pub(super) value: ChannelLabels,
    pub(super) along: usize,
}

/// Labels that a node mixes within slices, of which there may be only one.
#[derive(Clone, Debug)]
pub(super) struct MixedSlices {
    pub(super) node: String,
    pub(super) labels: ChannelLabels,
    pub(super) reason: String,
}
