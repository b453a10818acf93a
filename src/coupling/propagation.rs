//! One node's view of the dye: the labels that come in, what the operator may do, the labels that
//! go out.

use std::collections::{BTreeMap, HashMap};

use super::deferred::{BroadcastOperand, Deferred, PerChannelConstant};
use super::mixing::Mixing;
use super::{ChannelLabels, EquivalenceClasses, FROZEN, Label, for_each_index};
use crate::fact::{Fact, Inputs};

/// What a constant's axis means to the node that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The axis makes channels: the output axis of weights, the bias.
    Producer,
    /// The axis reads channels: the input axis of weights. Masked, its slices are zero.
    Consumer,
    /// The axis goes along with channels: BatchNormalization's parameters, a broadcast operand.
    PerChannel,
}

/// A constant's axis whose indices carry labels: it loses those whose labels go.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledAxis {
    /// One label an index; [`FROZEN`] where the index stays in any case.
    pub labels: Vec<Label>,
    /// Whether it makes channels for some node.
    pub makes: bool,
    /// Whether it reads channels for some node: of weights that two layers share, an axis may do both.
    pub reads: bool,
}

/// A node that makes channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    /// The node's number.
    pub node: usize,
    /// The constant that holds the filters, and its axis of filters.
    pub weight: (usize, usize),
    /// One label an output channel.
    pub labels: Vec<Label>,
}

/// What the dye of a whole graph found.
#[derive(Clone, Debug, Default)]
pub struct Coupling {
    /// Which labels are tied.
    pub classes: EquivalenceClasses,
    /// Every node that makes channels, in graph order.
    pub producers: Vec<Producer>,
    /// Every constant axis that carries labels, by (value, axis).
    pub labelled_axes: BTreeMap<(usize, usize), LabelledAxis>,
    /// Whether channels pass where they mix.
    pub inexact: bool,
    /// Where they did.
    pub mixings: Vec<Mixing>,
    pub(super) deferred: Deferred,
    fresh: HashMap<(usize, usize), Vec<Label>>,
}

impl Coupling {
    /// A dye that lets channels pass where they mix, if `inexact`.
    pub fn new(inexact: bool) -> Self {
        Self { inexact, ..Self::default() }
    }
}

/// One node's view.
#[derive(Debug)]
pub struct Propagation<'a> {
    /// The state of the whole graph.
    pub coupling: &'a mut Coupling,
    /// The node's number and name.
    pub node: (usize, &'a str),
    /// The facts of its inputs.
    pub inputs: Inputs<'a>,
    /// The values that its inputs are.
    pub values: &'a [Option<usize>],
    /// The labels of its inputs; `None` for constants and absent ones.
    pub labels: Vec<Option<ChannelLabels>>,
    /// The facts of its outputs.
    pub outputs: &'a [Fact],
    /// The labels of its outputs, to be filled in.
    pub result: Vec<Option<ChannelLabels>>,
}

impl Propagation<'_> {
    /// The labels of input `i`; a constant's are frozen.
    pub fn labels_of(&self, i: usize) -> ChannelLabels {
        match (self.labels.get(i), self.inputs.optional(i)) {
            (Some(Some(labelled)), _) => labelled.clone(),
            (_, Some(fact)) => ChannelLabels::uniform(&fact.shape, FROZEN),
            (_, None) => ChannelLabels::uniform(&[], FROZEN),
        }
    }

    /// Whether input `i` is a constant.
    pub fn is_constant(&self, i: usize) -> bool {
        self.inputs.optional(i).is_some_and(|f| f.value.is_some())
    }

    /// The labels along `axis` of input `i`; labels that share an index are tied.
    pub fn along(&mut self, i: usize, axis: usize) -> Vec<Label> {
        let labelled = self.labels_of(i);
        self.coupling.classes.along(&labelled, axis, self.node.1)
    }

    /// EquivalenceClasses two vectors of labels index by index.
    pub fn unite_all(&mut self, a: &[Label], b: &[Label]) {
        for (&x, &y) in a.iter().zip(b) {
            self.coupling.classes.unite(x, y, self.node.1);
        }
    }

    /// Forbids the removal of every label in `labels`.
    pub fn freeze(&mut self, labels: &[Label], reason: &str) {
        self.coupling.classes.freeze(labels, self.node.1, reason);
    }

    /// What this node computes is not followed: nothing that enters may go.
    pub fn freeze_all(&mut self, reason: &str) {
        for i in 0..self.labels.len() {
            let labels = self.labels_of(i).labels().to_vec();
            self.freeze(&labels, reason);
        }
        for k in 0..self.outputs.len() {
            let frozen = ChannelLabels::uniform(&self.outputs[k].shape, FROZEN);
            self.set(k, frozen);
        }
    }

    /// Fresh labels for `n` filters that stand along `axis` of constant input `i`. Nodes that share the
    /// constant share the labels.
    pub fn fresh(&mut self, i: usize, axis: usize, n: usize) -> Vec<Label> {
        let Some(value) = self.values.get(i).copied().flatten() else {
            return vec![FROZEN; n];
        };
        let labels = match self.coupling.fresh.get(&(value, axis)) {
            Some(labels) if labels.len() == n => labels.clone(),
            _ => self.coupling.classes.fresh(n),
        };
        self.coupling.fresh.insert((value, axis), labels.clone());
        labels
    }

    /// This node makes `channels` with constant input `i`, along whose `axis` stand filters labelled
    /// `filters` (mostly the same; groups may share them).
    pub fn produce(&mut self, i: usize, axis: usize, filters: &[Label], channels: &[Label]) {
        let Some(value) = self.values.get(i).copied().flatten() else { return };
        self.cut(i, axis, filters, Role::Producer);
        self.coupling.producers.push(Producer {
            node: self.node.0,
            weight: (value, axis),
            labels: channels.to_vec(),
        });
    }

    /// Says that `axis` of constant input `i` is indexed by `labels`. A constant that several nodes
    /// read is cut once: their labels are tied.
    pub fn cut(&mut self, i: usize, axis: usize, labels: &[Label], role: Role) {
        let Some(value) = self.values.get(i).copied().flatten() else { return };
        self.coupling.cut_along((value, axis), labels, role, self.node.1);
    }

    /// Says that `axis` of constant input `i` stands beside axis `along` of a value with labels `beside`: where
    /// that is the axis that shrinks, the constant loses the same indices, else it stays whole.
    pub fn per_channel_constant(&mut self, i: usize, axis: usize, beside: &ChannelLabels, along: usize) {
        let Some(value) = self.values.get(i).copied().flatten() else { return };
        if beside.varying().len() < 2 {
            // Nothing is left to choose: what shares the constant should know now.
            let labels = match beside.varies(along) {
                true => beside.firsts(along),
                false => vec![FROZEN; beside.shape[along]],
            };
            return self.cut(i, axis, &labels, Role::PerChannel);
        }
        let (node, beside) = (self.node.1.to_owned(), beside.clone());
        self.coupling.deferred.per_channel_constants.push(PerChannelConstant {
            node,
            constant: (value, axis),
            beside,
            along,
        });
    }

    /// Labels that must stay a box, of an output or of a view of one.
    pub fn keep_rectangular(&mut self, labelled: &ChannelLabels) {
        if labelled.varying().len() > 1 {
            self.coupling.deferred.rectangular.push((self.node.1.to_owned(), labelled.clone()));
        }
    }

    /// Output `k` has labels `labelled`; they stay a box.
    pub fn set(&mut self, k: usize, labelled: ChannelLabels) {
        self.keep_rectangular(&labelled);
        if let Some(slot) = self.result.get_mut(k) {
            *slot = Some(labelled);
        }
    }

    /// Output `k`'s labels vary along `axis` only.
    pub fn set_along(&mut self, k: usize, axis: usize, labels: &[Label]) {
        let labelled = ChannelLabels::along(&self.outputs[k].shape, axis, labels);
        self.set(k, labelled);
    }

    /// A pointwise operator with broadcasting over all inputs: labels that meet are tied, constants
    /// go along. Where one operand is broadcast over an axis along which another's labels vary, the
    /// broadcast labels serve them all, and go with all of them or not at all.
    pub fn pointwise(&mut self) {
        let shape = self.outputs[0].shape.clone();
        let data: Vec<ChannelLabels> =
            self.labels.iter().flatten().map(|d| d.with_leading_ones(shape.len())).collect();
        let varies: Vec<bool> = (0..shape.len()).map(|a| data.iter().any(|d| d.varies(a))).collect();
        let broadcast =
            |d: &ChannelLabels| (0..shape.len()).any(|a| d.shape[a] == 1 && shape[a] > 1 && varies[a]);
        let (broadcast, meeting): (Vec<ChannelLabels>, Vec<ChannelLabels>) =
            data.into_iter().partition(broadcast);
        let stored: Vec<usize> = (0..shape.len()).map(|a| if varies[a] { shape[a] } else { 1 }).collect();
        let mut labels = Vec::new();
        for_each_index(&stored, |index| {
            let mut here = meeting.iter().map(|d| d.at(index));
            let first = here.next().unwrap_or(FROZEN);
            for other in here {
                self.coupling.classes.unite(first, other, self.node.1);
            }
            labels.push(first);
        });
        let result = ChannelLabels::stored(&shape, &stored, labels);
        for operand in broadcast {
            let (node, result) = (self.node.1.to_owned(), result.clone());
            self.coupling.deferred.broadcast.push(BroadcastOperand { node, operand, result });
        }
        self.per_channel_constants(&result);
        self.set(0, result);
    }

    /// Constant operands of a pointwise node lose the indices that `result` loses.
    fn per_channel_constants(&mut self, result: &ChannelLabels) {
        let rank = result.shape.len();
        for i in 0..self.values.len() {
            if !self.is_constant(i) {
                continue;
            }
            let Some(fact) = self.inputs.optional(i) else { continue };
            let offset = rank - fact.shape.len();
            for axis in (0..fact.shape.len()).filter(|&a| fact.shape[a] > 1) {
                self.per_channel_constant(i, axis, result, axis + offset);
            }
        }
    }
}
