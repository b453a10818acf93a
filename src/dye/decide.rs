//! What is decided when the whole graph has been dyed: choices come after everything that must be.
//!
//! The pass over the nodes ties what has to be tied. Then, with all of it known: whether a stretched
//! operand may go; along which axis each tensor shrinks; and, when that is settled, which constants lose
//! indices with it. Each step only ties and freezes more, so what an earlier one found stays right.

use super::flow::{Cut, Dyer, Role};
use super::{Dyed, FROZEN, Label};

/// What the pass over the nodes leaves open.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    /// Tensors that must stay boxes: the node that made it, and its labels.
    pub(super) boxes: Vec<(String, Dyed)>,
    /// Operands that serve several labels of a result.
    pub(super) stretched: Vec<Stretched>,
    /// Constants that go along with a value.
    pub(super) passengers: Vec<Passenger>,
    /// Slices that were tied because they mix.
    pub(super) slices: Vec<Slices>,
}

/// An operand that is broadcast along an axis on which the result's labels vary.
#[derive(Clone, Debug)]
pub(super) struct Stretched {
    pub(super) node: String,
    pub(super) operand: Dyed,
    pub(super) result: Dyed,
}

/// A constant's axis that stands beside an axis of a value.
#[derive(Clone, Debug)]
pub(super) struct Passenger {
    pub(super) node: String,
    /// The constant and its axis.
    pub(super) constant: (usize, usize),
    pub(super) beside: Dyed,
    pub(super) along: usize,
}

/// What a node mixes: whole slices go, if there are several.
#[derive(Clone, Debug)]
pub(super) struct Slices {
    pub(super) node: String,
    pub(super) labels: Dyed,
    pub(super) reason: String,
}

impl Dyer {
    /// Where all that a node mixes became one class, nothing would be left of its tensor: the class stays, and
    /// the node is the reason.
    pub fn block_what_mixes_wholly(&mut self) {
        for Slices { node, labels, reason } in std::mem::take(&mut self.open.slices) {
            if self.ties.is_one(&labels) {
                self.ties.freeze(&labels.labels()[..1], &node, &reason);
            }
        }
    }

    /// Settles what the pass over the nodes left open. What must stay should be frozen by now.
    pub fn decide(&mut self) {
        for Stretched { node, operand, result } in std::mem::take(&mut self.open.stretched) {
            self.stretched(&node, &operand, &result);
        }
        for (node, dyed) in std::mem::take(&mut self.open.boxes) {
            self.ties.keep_box(&dyed, &node);
        }
        for Passenger { node, constant, beside, along } in std::mem::take(&mut self.open.passengers) {
            let labels = if self.ties.varying(&beside).contains(&along) {
                self.ties.along(&beside, along, &node)
            } else {
                vec![FROZEN; beside.shape[along]]
            };
            self.cut_along(constant, &labels, Role::Passenger, &node);
        }
    }

    /// A stretched label serves several labels of the result. If all of these are its own class it goes with
    /// them (a group's mean), else it stays. An axis that both have at its full length is the same to both: its indices
    /// go from both or from none.
    fn stretched(&mut self, node: &str, operand: &Dyed, result: &Dyed) {
        let span: Vec<usize> = operand.stored.iter().zip(&result.stored).map(|(&a, &b)| a.max(b)).collect();
        let mut apart: Vec<(Label, Label)> = Vec::new();
        super::for_each_index(&span, |index| {
            let labels = (operand.at(index), result.at(index));
            if self.ties.find(labels.0) != self.ties.find(labels.1) {
                apart.push(labels);
            }
        });
        if apart.is_empty() {
            return;
        }
        let (served, shared): (Vec<usize>, Vec<usize>) =
            result.varying().into_iter().partition(|&axis| operand.shape[axis] == 1);
        let along = operand.varying();
        let free = apart.iter().all(|&(label, _)| self.ties.block(label).is_none());
        if free && !along.is_empty() && along.iter().all(|axis| shared.contains(axis)) {
            for (a, b) in apart {
                self.ties.tie(a, b, node);
            }
            return;
        }
        if let (false, Some(&axis)) = (shared.is_empty(), served.first()) {
            self.ties.along(result, axis, node);
        }
        let mut staying: Vec<Label> = apart.into_iter().map(|(label, _)| label).collect();
        staying.sort_unstable();
        staying.dedup();
        self.ties.freeze(&staying, node, "is broadcast over channels here");
    }

    /// Says that an axis of a constant is indexed by `labels`. One that several nodes read is cut once: their
    /// labels are tied.
    pub(super) fn cut_along(&mut self, constant: (usize, usize), labels: &[Label], role: Role, node: &str) {
        let fresh = || Cut { labels: labels.to_vec(), makes: false, reads: false };
        let cut = self.cuts.entry(constant).or_insert_with(fresh);
        cut.makes |= role == Role::Producer;
        cut.reads |= role == Role::Reader;
        for (&a, &b) in cut.labels.iter().zip(labels) {
            self.ties.tie(a, b, node);
        }
    }
}
