//! The choices that are made once the whole graph is labelled, when all constraints are known.
//!
//! They are, in this order: whether a broadcast operand may shrink, along which axis each tensor shrinks, and which
//! constants shrink with it. Each step only unites and freezes more labels, so earlier choices stay valid.

use super::labels::{ChannelLabels, FROZEN, Label, for_each_index};
use super::state::{BroadcastOperand, Coupling, MixedSlices, PerChannelConstant, Role};

impl Coupling {
    /// Freezes channels that a node mixes if they all form one class, and records the node.
    ///
    /// Removing that class would empty the tensor.
    pub fn freeze_wholly_mixed(&mut self) {
        for MixedSlices { node, labels, reason } in std::mem::take(&mut self.deferred.slices) {
            if self.classes.is_one(&labels) {
                self.classes.freeze(&labels.labels()[..1], &node, &reason);
            }
        }
    }

    /// Makes the deferred choices; everything that must stay should be frozen before.
    pub fn resolve_deferred(&mut self) {
        for (node, labels) in std::mem::take(&mut self.deferred.rows) {
            let reason = "multiplies along an axis that is not the channels'";
            self.classes.freeze(labels.labels(), &node, reason);
        }
        for BroadcastOperand { node, operand, result } in std::mem::take(&mut self.deferred.broadcast) {
            self.resolve_broadcast(&node, &operand, &result);
        }
        for (node, labels) in std::mem::take(&mut self.deferred.rectangular) {
            self.classes.keep_rectangular(&labels, &node);
        }
        for PerChannelConstant { node, constant, value, along } in
            std::mem::take(&mut self.deferred.per_channel)
        {
            let labels = if self.classes.varying(&value).contains(&along) {
                self.classes.unite_along(&value, along, &node)
            } else {
                vec![FROZEN; value.shape[along]]
            };
            self.label_axis(constant, &labels, Role::PerChannel, &node);
        }
    }

    /// Unites a broadcast operand with the result that it serves, or freezes it.
    ///
    /// A broadcast label serves several labels of the result. It is removed with them if all are of its own class (the
    /// mean of a group), else it stays. An axis that both have at its full length loses indices in both or in neither.
    fn resolve_broadcast(&mut self, node: &str, operand: &ChannelLabels, result: &ChannelLabels) {
        let span: Vec<usize> = operand.stored.iter().zip(&result.stored).map(|(&a, &b)| a.max(b)).collect();
        let mut apart: Vec<(Label, Label)> = Vec::new();
        for_each_index(&span, |index| {
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
            self.classes.unite_along(result, axis, node);
        }
        let mut frozen: Vec<Label> = apart.into_iter().map(|(label, _)| label).collect();
        frozen.sort_unstable();
        frozen.dedup();
        self.classes.freeze(&frozen, node, "is broadcast over channels here");
    }
}
