//! What is decided when the whole graph has been labelled: choices come after everything that must be.
//!
//! The pass over the nodes classes what has to be tied. Then, with all of it known: whether a broadcast
//! operand may go; along which axis each tensor shrinks; and, when that is settled, which constants lose
//! indices with it. Each step only classes and freezes more, so what an earlier one found stays right.

use super::propagation::{Coupling, LabelledAxis, Role};
use super::{ChannelLabels, FROZEN, Label};

/// What the pass over the nodes leaves deferred.
#[derive(Clone, Debug, Default)]
pub(super) struct Deferred {
    /// Tensors that must stay rectangular: the node that made it, and its labels.
    pub(super) rectangular: Vec<(String, ChannelLabels)>,
    /// Operands that serve several labels of a result.
    pub(super) broadcast: Vec<BroadcastOperand>,
    /// Constants that go along with a value.
    pub(super) per_channel_constants: Vec<PerChannelConstant>,
    /// Slices that were tied because they mix.
    pub(super) slices: Vec<Slices>,
}

/// An operand that is broadcast along an axis on which the result's labels vary.
#[derive(Clone, Debug)]
pub(super) struct BroadcastOperand {
    pub(super) node: String,
    pub(super) operand: ChannelLabels,
    pub(super) result: ChannelLabels,
}

/// A constant's axis that stands beside an axis of a value.
#[derive(Clone, Debug)]
pub(super) struct PerChannelConstant {
    pub(super) node: String,
    /// The constant and its axis.
    pub(super) constant: (usize, usize),
    pub(super) beside: ChannelLabels,
    pub(super) along: usize,
}

/// What a node mixes: whole slices go, if there are several.
#[derive(Clone, Debug)]
pub(super) struct Slices {
    pub(super) node: String,
    pub(super) labels: ChannelLabels,
    pub(super) reason: String,
}

impl Coupling {
    /// Where all that a node mixes became one class, nothing would be left of its tensor: the class stays, and
    /// the node is the reason.
    pub fn freeze_wholly_mixed(&mut self) {
        for Slices { node, labels, reason } in std::mem::take(&mut self.deferred.slices) {
            if self.classes.is_one(&labels) {
                self.classes.freeze(&labels.labels()[..1], &node, &reason);
            }
        }
    }

    /// Settles what the pass over the nodes left deferred. What must stay should be frozen by now.
    pub fn resolve_deferred(&mut self) {
        for BroadcastOperand { node, operand, result } in std::mem::take(&mut self.deferred.broadcast) {
            self.broadcast(&node, &operand, &result);
        }
        for (node, labelled) in std::mem::take(&mut self.deferred.rectangular) {
            self.classes.keep_rectangular(&labelled, &node);
        }
        for PerChannelConstant { node, constant, beside, along } in
            std::mem::take(&mut self.deferred.per_channel_constants)
        {
            let labels = if self.classes.varying(&beside).contains(&along) {
                self.classes.along(&beside, along, &node)
            } else {
                vec![FROZEN; beside.shape[along]]
            };
            self.cut_along(constant, &labels, Role::PerChannel, &node);
        }
    }

    /// A broadcast label serves several labels of the result. If all of these are its own class it goes with
    /// them (a group's mean), else it stays. An axis that both have at its full length is the same to both: its indices
    /// go from both or from none.
    fn broadcast(&mut self, node: &str, operand: &ChannelLabels, result: &ChannelLabels) {
        let span: Vec<usize> = operand.stored.iter().zip(&result.stored).map(|(&a, &b)| a.max(b)).collect();
        let mut apart: Vec<(Label, Label)> = Vec::new();
        super::for_each_index(&span, |index| {
            let labels = (operand.at(index), result.at(index));
            if self.classes.find(labels.0) != self.classes.find(labels.1) {
                apart.push(labels);
            }
        });
        if apart.is_empty() {
            return;
        }
        let (served, shared): (Vec<usize>, Vec<usize>) =
            result.varying().into_iter().partition(|&axis| operand.shape[axis] == 1);
        let along = operand.varying();
        let free = apart.iter().all(|&(label, _)| self.classes.block(label).is_none());
        if free && !along.is_empty() && along.iter().all(|axis| shared.contains(axis)) {
            for (a, b) in apart {
                self.classes.unite(a, b, node);
            }
            return;
        }
        if let (false, Some(&axis)) = (shared.is_empty(), served.first()) {
            self.classes.along(result, axis, node);
        }
        let mut staying: Vec<Label> = apart.into_iter().map(|(label, _)| label).collect();
        staying.sort_unstable();
        staying.dedup();
        self.classes.freeze(&staying, node, "is broadcast over channels here");
    }

    /// Says that an axis of a constant is indexed by `labels`. One that several nodes read is cut once: their
    /// labels are tied.
    pub(super) fn cut_along(&mut self, constant: (usize, usize), labels: &[Label], role: Role, node: &str) {
        let fresh = || LabelledAxis { labels: labels.to_vec(), makes: false, reads: false };
        let cut = self.labelled_axes.entry(constant).or_insert_with(fresh);
        cut.makes |= role == Role::Producer;
        cut.reads |= role == Role::Consumer;
        for (&a, &b) in cut.labels.iter().zip(labels) {
            self.classes.unite(a, b, node);
        }
    }
}
