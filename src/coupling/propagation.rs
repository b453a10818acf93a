//! The propagation of labels through one node: input labels, constraints, output labels.

use super::labels::{ChannelLabels, FROZEN, Label, for_each_index};
use super::state::{BroadcastOperand, Coupling, PerChannelConstant, Producer, Role};
use crate::fact::{Fact, Inputs};
use crate::ids::{NodeId, ValueId};

/// The inputs and outputs of one node, through which its operator propagates labels.
#[derive(Debug)]
pub struct Propagation<'a> {
    /// The coupling of the whole graph.
    pub coupling: &'a mut Coupling,
    /// The number and name of the node.
    pub node: (NodeId, &'a str),
    /// The facts of the inputs.
    pub inputs: Inputs<'a>,
    /// The values that are the inputs; `None` if absent.
    pub values: &'a [Option<ValueId>],
    /// The labels of the inputs; `None` for constants and absent inputs.
    pub labels: Vec<Option<ChannelLabels>>,
    /// The facts of the outputs.
    pub outputs: &'a [Fact],
    /// The labels of the outputs, which the operator sets.
    pub result: Vec<Option<ChannelLabels>>,
}

impl Propagation<'_> {
    /// Returns the labels of input `i`; those of a constant are frozen.
    pub fn input_labels(&self, i: usize) -> ChannelLabels {
        match (self.labels.get(i), self.inputs.optional(i)) {
            (Some(Some(labels)), _) => labels.clone(),
            (_, Some(fact)) => ChannelLabels::uniform(&fact.shape, FROZEN),
            (_, None) => ChannelLabels::uniform(&[], FROZEN),
        }
    }

    /// Returns whether input `i` is a constant.
    pub fn is_constant(&self, i: usize) -> bool {
        self.inputs.optional(i).is_some_and(|f| f.value.is_some())
    }

    /// Returns one label for each index of `axis` of input `i`, and unites labels that share an index.
    pub fn axis_labels(&mut self, i: usize, axis: usize) -> Vec<Label> {
        let labels = self.input_labels(i);
        self.coupling.classes.unite_along(&labels, axis, self.node.1)
    }

    /// Unites two lists of labels index by index.
    pub fn unite_all(&mut self, a: &[Label], b: &[Label]) {
        for (&x, &y) in a.iter().zip(b) {
            self.coupling.classes.unite(x, y, self.node.1);
        }
    }

    /// Forbids the removal of every label in `labels`.
    pub fn freeze(&mut self, labels: &[Label], reason: &str) {
        self.coupling.classes.freeze(labels, self.node.1, reason);
    }

    /// Freezes all labels of inputs and outputs, for a node whose dependencies are not analysed.
    pub fn freeze_all(&mut self, reason: &str) {
        for i in 0..self.labels.len() {
            let labels = self.input_labels(i).labels().to_vec();
            self.freeze(&labels, reason);
        }
        for k in 0..self.outputs.len() {
            let frozen = ChannelLabels::uniform(&self.outputs[k].shape, FROZEN);
            self.set_output(k, frozen);
        }
    }

    /// Creates labels for the `n` filters along `axis` of constant input `i`.
    ///
    /// Nodes that share the constant share the labels.
    pub fn filter_labels(&mut self, i: usize, axis: usize, n: usize) -> Vec<Label> {
        let Some(value) = self.values.get(i).copied().flatten() else {
            return vec![FROZEN; n];
        };
        let labels = match self.coupling.filters.get(&(value, axis)) {
            Some(labels) if labels.len() == n => labels.clone(),
            _ => self.coupling.classes.new_labels(n),
        };
        self.coupling.filters.insert((value, axis), labels.clone());
        labels
    }

    /// Registers the node as the producer of `channels`, with filters along `axis` of constant input `i`.
    ///
    /// `filters` are the labels along that axis. They differ from `channels` if groups share filters.
    pub fn add_producer(&mut self, i: usize, axis: usize, filters: &[Label], channels: &[Label]) {
        let Some(value) = self.values.get(i).copied().flatten() else { return };
        self.label_constant(i, axis, filters, Role::Producer);
        self.coupling.producers.push(Producer {
            node: self.node.0,
            weight: (value, axis),
            labels: channels.to_vec(),
        });
    }

    /// Labels the indices of `axis` of constant input `i`.
    ///
    /// A constant that several nodes use is cut once, so that their labels are united.
    pub fn label_constant(&mut self, i: usize, axis: usize, labels: &[Label], role: Role) {
        let Some(value) = self.values.get(i).copied().flatten() else { return };
        self.coupling.label_axis((value, axis), labels, role, self.node.1);
    }

    /// Aligns `axis` of constant input `i` with axis `along` of a value that has labels `value`.
    ///
    /// If the value shrinks along that axis, the constant loses the corresponding indices; else it stays whole.
    pub fn label_per_channel(&mut self, i: usize, axis: usize, value: &ChannelLabels, along: usize) {
        let Some(constant) = self.values.get(i).copied().flatten() else { return };
        if value.varying().len() < 2 {
            // There is no choice to defer, and other nodes that share the constant should see its labels at once.
            let labels = match value.varies(along) {
                true => value.firsts(along),
                false => vec![FROZEN; value.shape[along]],
            };
            return self.label_constant(i, axis, &labels, Role::PerChannel);
        }
        self.coupling.deferred.per_channel.push(PerChannelConstant {
            node: self.node.1.to_owned(),
            constant: (constant, axis),
            value: value.clone(),
            along,
        });
    }

    /// Requires that removal leaves a rectangular tensor, for an output or a view of one.
    pub fn keep_rectangular(&mut self, labels: &ChannelLabels) {
        if labels.varying().len() > 1 {
            self.coupling.deferred.rectangular.push((self.node.1.to_owned(), labels.clone()));
        }
    }

    /// Sets the labels of output `k`, which stays rectangular.
    pub fn set_output(&mut self, k: usize, labels: ChannelLabels) {
        self.keep_rectangular(&labels);
        if let Some(slot) = self.result.get_mut(k) {
            *slot = Some(labels);
        }
    }

    /// Sets the labels of output `k` to labels that vary along `axis` only.
    pub fn set_output_along(&mut self, k: usize, axis: usize, labels: &[Label]) {
        let labels = ChannelLabels::along(&self.outputs[k].shape, axis, labels);
        self.set_output(k, labels);
    }

    /// Propagates labels through a pointwise operator that broadcasts all inputs.
    ///
    /// Labels that meet are united, and constants become per-channel constants. An operand that is broadcast over an
    /// axis along which another's labels vary is removed together with all of these labels or not at all.
    pub fn pointwise(&mut self) {
        let shape = self.outputs[0].shape.clone();
        let data: Vec<ChannelLabels> =
            self.labels.iter().flatten().map(|d| d.with_leading_ones(shape.len())).collect();
        let varies: Vec<bool> = (0..shape.len()).map(|a| data.iter().any(|d| d.varies(a))).collect();
        let is_broadcast =
            |d: &ChannelLabels| (0..shape.len()).any(|a| d.shape[a] == 1 && shape[a] > 1 && varies[a]);
        let (broadcast, meeting): (Vec<ChannelLabels>, Vec<ChannelLabels>) =
            data.into_iter().partition(is_broadcast);
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
        let result = ChannelLabels::broadcast(&shape, &stored, labels);
        for operand in broadcast {
            let (node, result) = (self.node.1.to_owned(), result.clone());
            self.coupling.deferred.broadcast.push(BroadcastOperand { node, operand, result });
        }
        self.label_constant_operands(&result);
        self.set_output(0, result);
    }

    /// Aligns the constant operands of a pointwise node with the axes of its result.
    fn label_constant_operands(&mut self, result: &ChannelLabels) {
        let rank = result.shape.len();
        for i in 0..self.values.len() {
            if !self.is_constant(i) {
                continue;
            }
            let Some(fact) = self.inputs.optional(i) else { continue };
            let offset = rank - fact.shape.len();
            for axis in (0..fact.shape.len()).filter(|&a| fact.shape[a] > 1) {
                self.label_per_channel(i, axis, result, axis + offset);
            }
        }
    }
}
