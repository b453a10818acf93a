//! One node's view of the dye: the labels that come in, what the operator may do, the labels that
//! go out.

use std::collections::{BTreeMap, HashMap};

use super::decide::{Open, Passenger, Stretched};
use super::mix::Mixing;
use super::{Dyed, FROZEN, Label, Ties, for_each_index};
use crate::fact::{Fact, Inputs};

/// What a constant's axis means to the node that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The axis makes channels: the output axis of weights, the bias.
    Producer,
    /// The axis reads channels: the input axis of weights. Masked, its slices are zero.
    Reader,
    /// The axis goes along with channels: BatchNormalization's parameters, a broadcast operand.
    Passenger,
}

/// A constant's axis whose indices carry labels: it loses those whose labels go.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
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
pub struct Dyer {
    /// Which labels are tied.
    pub ties: Ties,
    /// Every node that makes channels, in graph order.
    pub producers: Vec<Producer>,
    /// Every constant axis that carries labels, by (value, axis).
    pub cuts: BTreeMap<(usize, usize), Cut>,
    /// Whether channels pass where they mix.
    pub inexact: bool,
    /// Where they did.
    pub mixings: Vec<Mixing>,
    pub(super) open: Open,
    fresh: HashMap<(usize, usize), Vec<Label>>,
}

impl Dyer {
    /// A dye that lets channels pass where they mix, if `inexact`.
    pub fn new(inexact: bool) -> Self {
        Self { inexact, ..Self::default() }
    }
}

/// One node's view.
#[derive(Debug)]
pub struct Flow<'a> {
    /// The state of the whole graph.
    pub dyer: &'a mut Dyer,
    /// The node's number and name.
    pub node: (usize, &'a str),
    /// The facts of its inputs.
    pub inputs: Inputs<'a>,
    /// The values that its inputs are.
    pub values: &'a [Option<usize>],
    /// The labels of its inputs; `None` for constants and absent ones.
    pub labels: Vec<Option<Dyed>>,
    /// The facts of its outputs.
    pub outputs: &'a [Fact],
    /// The labels of its outputs, to be filled in.
    pub result: Vec<Option<Dyed>>,
}

impl Flow<'_> {
    /// The labels of input `i`; a constant's are frozen.
    pub fn dyed(&self, i: usize) -> Dyed {
        match (self.labels.get(i), self.inputs.optional(i)) {
            (Some(Some(dyed)), _) => dyed.clone(),
            (_, Some(fact)) => Dyed::uniform(&fact.shape, FROZEN),
            (_, None) => Dyed::uniform(&[], FROZEN),
        }
    }

    /// Whether input `i` is a constant.
    pub fn is_constant(&self, i: usize) -> bool {
        self.inputs.optional(i).is_some_and(|f| f.value.is_some())
    }

    /// The labels along `axis` of input `i`; labels that share an index are tied.
    pub fn along(&mut self, i: usize, axis: usize) -> Vec<Label> {
        let dyed = self.dyed(i);
        self.dyer.ties.along(&dyed, axis, self.node.1)
    }

    /// Ties two vectors of labels index by index.
    pub fn tie_all(&mut self, a: &[Label], b: &[Label]) {
        for (&x, &y) in a.iter().zip(b) {
            self.dyer.ties.tie(x, y, self.node.1);
        }
    }

    /// Forbids the removal of every label in `labels`.
    pub fn freeze(&mut self, labels: &[Label], reason: &str) {
        self.dyer.ties.freeze(labels, self.node.1, reason);
    }

    /// What this node computes is not followed: nothing that enters may go.
    pub fn freeze_all(&mut self, reason: &str) {
        for i in 0..self.labels.len() {
            let labels = self.dyed(i).labels().to_vec();
            self.freeze(&labels, reason);
        }
        for k in 0..self.outputs.len() {
            let frozen = Dyed::uniform(&self.outputs[k].shape, FROZEN);
            self.set(k, frozen);
        }
    }

    /// Fresh labels for `n` filters that stand along `axis` of constant input `i`. Nodes that share the
    /// constant share the labels.
    pub fn fresh(&mut self, i: usize, axis: usize, n: usize) -> Vec<Label> {
        let Some(value) = self.values.get(i).copied().flatten() else {
            return vec![FROZEN; n];
        };
        let labels = match self.dyer.fresh.get(&(value, axis)) {
            Some(labels) if labels.len() == n => labels.clone(),
            _ => self.dyer.ties.fresh(n),
        };
        self.dyer.fresh.insert((value, axis), labels.clone());
        labels
    }

    /// This node makes `channels` with constant input `i`, along whose `axis` stand filters labelled
    /// `filters` (mostly the same; groups may share them).
    pub fn produce(&mut self, i: usize, axis: usize, filters: &[Label], channels: &[Label]) {
        let Some(value) = self.values.get(i).copied().flatten() else { return };
        self.cut(i, axis, filters, Role::Producer);
        self.dyer.producers.push(Producer {
            node: self.node.0,
            weight: (value, axis),
            labels: channels.to_vec(),
        });
    }

    /// Says that `axis` of constant input `i` is indexed by `labels`. A constant that several nodes
    /// read is cut once: their labels are tied.
    pub fn cut(&mut self, i: usize, axis: usize, labels: &[Label], role: Role) {
        let Some(value) = self.values.get(i).copied().flatten() else { return };
        self.dyer.cut_along((value, axis), labels, role, self.node.1);
    }

    /// Says that `axis` of constant input `i` stands beside axis `along` of a value with labels `beside`: where
    /// that is the axis that shrinks, the constant loses the same indices, else it stays whole.
    pub fn passenger(&mut self, i: usize, axis: usize, beside: &Dyed, along: usize) {
        let Some(value) = self.values.get(i).copied().flatten() else { return };
        if beside.varying().len() < 2 {
            // Nothing is left to choose: what shares the constant should know now.
            let labels = match beside.varies(along) {
                true => beside.firsts(along),
                false => vec![FROZEN; beside.shape[along]],
            };
            return self.cut(i, axis, &labels, Role::Passenger);
        }
        let (node, beside) = (self.node.1.to_owned(), beside.clone());
        self.dyer.open.passengers.push(Passenger { node, constant: (value, axis), beside, along });
    }

    /// Labels that must stay a box, of an output or of a view of one.
    pub fn keep_box(&mut self, dyed: &Dyed) {
        if dyed.varying().len() > 1 {
            self.dyer.open.boxes.push((self.node.1.to_owned(), dyed.clone()));
        }
    }

    /// Output `k` has labels `dyed`; they stay a box.
    pub fn set(&mut self, k: usize, dyed: Dyed) {
        self.keep_box(&dyed);
        if let Some(slot) = self.result.get_mut(k) {
            *slot = Some(dyed);
        }
    }

    /// Output `k`'s labels vary along `axis` only.
    pub fn set_along(&mut self, k: usize, axis: usize, labels: &[Label]) {
        let dyed = Dyed::along(&self.outputs[k].shape, axis, labels);
        self.set(k, dyed);
    }

    /// A pointwise operator with broadcasting over all inputs: labels that meet are tied, constants
    /// go along. Where one operand is stretched over an axis along which another's labels vary, the
    /// stretched labels serve them all, and go with all of them or not at all.
    pub fn pointwise(&mut self) {
        let shape = self.outputs[0].shape.clone();
        let data: Vec<Dyed> =
            self.labels.iter().flatten().map(|d| d.with_leading_ones(shape.len())).collect();
        let varies: Vec<bool> = (0..shape.len()).map(|a| data.iter().any(|d| d.varies(a))).collect();
        let stretched = |d: &Dyed| (0..shape.len()).any(|a| d.shape[a] == 1 && shape[a] > 1 && varies[a]);
        let (stretched, meeting): (Vec<Dyed>, Vec<Dyed>) = data.into_iter().partition(stretched);
        let stored: Vec<usize> = (0..shape.len()).map(|a| if varies[a] { shape[a] } else { 1 }).collect();
        let mut labels = Vec::new();
        for_each_index(&stored, |index| {
            let mut here = meeting.iter().map(|d| d.at(index));
            let first = here.next().unwrap_or(FROZEN);
            for other in here {
                self.dyer.ties.tie(first, other, self.node.1);
            }
            labels.push(first);
        });
        let result = Dyed::stored(&shape, &stored, labels);
        for operand in stretched {
            let (node, result) = (self.node.1.to_owned(), result.clone());
            self.dyer.open.stretched.push(Stretched { node, operand, result });
        }
        self.passengers(&result);
        self.set(0, result);
    }

    /// Constant operands of a pointwise node lose the indices that `result` loses.
    fn passengers(&mut self, result: &Dyed) {
        let rank = result.shape.len();
        for i in 0..self.values.len() {
            if !self.is_constant(i) {
                continue;
            }
            let Some(fact) = self.inputs.optional(i) else { continue };
            let offset = rank - fact.shape.len();
            for axis in (0..fact.shape.len()).filter(|&a| fact.shape[a] > 1) {
                self.passenger(i, axis, result, axis + offset);
            }
        }
    }
}
