//! Operators that mix along axes: normalizations, softmax, reductions, products of computed tensors.
//!
//! Removing a channel is exact where nothing that stays was computed with it. So what is mixed together goes
//! together: for each index of the other axes, all labels along the mixed ones are tied, and whole slices
//! (groups, attention heads) can go. Where one slice is all there is, it stays. A dye that is asked to be
//! inexact lets labels pass as if the operator were pointwise, and remembers where.

use std::collections::{BTreeSet, HashMap};

use super::deferred::Slices;
use super::propagation::{Propagation, Role};
use super::{ChannelLabels, EquivalenceClasses, FROZEN, Label, for_each_index};

/// A node that labels passed though it mixes them.
#[derive(Clone, Debug)]
pub struct Mixing {
    /// The node's number.
    pub node: usize,
    labels: ChannelLabels,
    axes: Vec<usize>,
}

impl Mixing {
    /// The classes whose removal is not exact here: what is mixed with others.
    pub fn classes(&self, classes: &EquivalenceClasses) -> BTreeSet<Label> {
        let mut slices: HashMap<usize, BTreeSet<Label>> = HashMap::new();
        self.labels.each_slice(&self.axes, |slice, label| {
            slices.entry(slice).or_default().insert(classes.find(label));
        });
        slices.into_values().filter(|classes| classes.len() > 1).flatten().collect()
    }
}

/// What a node does to labels that it mixes, where the dye may be inexact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inexact {
    /// They pass, as if it were pointwise: an output has the shape of the input.
    Passes,
    /// They end here, where whole slices cannot go: an output that has none of them.
    Ends,
    /// They are tied all the same: fewer of them would be another question, not an answer nearby.
    Never,
}

impl Propagation<'_> {
    /// This node mixes `x` along `axes`; `reason` says what it does where one slice is all there is. Says
    /// whether labels along `axes` end here, not tied to each other.
    pub fn mix(&mut self, x: &ChannelLabels, axes: &[usize], inexact: Inexact, reason: &str) -> bool {
        let (mixed, other): (Vec<usize>, Vec<usize>) = x.varying().iter().partition(|a| axes.contains(a));
        if mixed.is_empty() {
            return false;
        }
        let inexact = if self.coupling.inexact { inexact } else { Inexact::Never };
        let ends = inexact == Inexact::Ends && other.is_empty();
        if inexact == Inexact::Passes || ends {
            self.coupling.mixings.push(Mixing { node: self.node.0, labels: x.clone(), axes: axes.to_vec() });
        } else if other.is_empty() {
            self.freeze(x.labels(), reason);
        } else {
            self.coupling.classes.unite_slices(x, axes, self.node.1);
            self.blocked_if_one(x, reason);
        }
        ends
    }

    fn blocked_if_one(&mut self, labels: &ChannelLabels, reason: &str) {
        let (node, reason) = (self.node.1.to_owned(), reason.to_owned());
        self.coupling.deferred.slices.push(Slices { node, labels: labels.clone(), reason });
    }

    /// A product of inputs 0 and 1, summed over every index that the output lacks. `a`, `b` and `output` give
    /// each axis the number of its index; an index that both inputs and the output have is the batch (heads).
    ///
    /// Of each batch index both factors go, or neither. Where only one factor carries channels they pass.
    pub fn product(&mut self, a: &[usize], b: &[usize], output: &[usize]) {
        const REASON: &str = "multiplies computed tensors, all channels with each other";
        let [left, right] = [(0, a), (1, b)].map(|(i, axes)| self.factor(i, axes, output, REASON));
        let shape = self.outputs[0].shape.clone();
        let [left_varies, right_varies] = [&left, &right].map(|f| self.coupling.classes.varies(f));
        let result = match (left_varies, right_varies) {
            (true, true) => self.heads(&left, &right, (a, b, output), REASON),
            // A factor that is one class cannot lose it, so that the other's labels alone decide.
            (false, true) => right.reshaped(&shape),
            (_, false) => left.reshaped(&shape),
        };
        for (i, axes) in [(0, a), (1, b)] {
            self.beside(i, axes, output, &result);
        }
        self.set(0, result);
    }

    /// The labels of a factor over the output's axes, its summed axes tied.
    fn factor(&mut self, i: usize, axes: &[usize], output: &[usize], reason: &str) -> ChannelLabels {
        let x = self.labels_of(i);
        let summed: Vec<usize> = (0..axes.len()).filter(|&p| !output.contains(&axes[p])).collect();
        self.mix(&x, &summed, Inexact::Never, reason);
        let place: Vec<Option<usize>> = axes.iter().map(|n| output.iter().position(|o| o == n)).collect();
        let mut stored = vec![1; output.len()];
        for (p, place) in place.iter().enumerate() {
            if let (Some(place), true) = (place, x.varies(p)) {
                stored[*place] = x.shape[p];
            }
        }
        let mut labels = Vec::new();
        for_each_index(&stored, |index| {
            let own: Vec<usize> = place.iter().map(|p| p.map_or(0, |p| index[p])).collect();
            labels.push(x.at(&own));
        });
        let factor = ChannelLabels::stored(&stored, &stored, labels);
        if !self.is_constant(i) && self.coupling.classes.is_one(&factor) {
            let one = factor.labels()[0];
            self.freeze(&[one], reason);
        }
        factor
    }

    /// Both factors carry channels: of each batch index all go, or none.
    fn heads(
        &mut self,
        left: &ChannelLabels,
        right: &ChannelLabels,
        (a, b, output): (&[usize], &[usize], &[usize]),
        reason: &str,
    ) -> ChannelLabels {
        let batch: Vec<bool> = output.iter().map(|n| a.contains(n) && b.contains(n)).collect();
        let either = |axis: usize| left.stored[axis].max(right.stored[axis]);
        let whole: Vec<usize> = (0..output.len()).map(either).collect();
        let kept: Vec<usize> = whole.iter().zip(&batch).map(|(&n, &b)| if b { n } else { 1 }).collect();
        let mut first: Vec<Option<Label>> = vec![None; kept.iter().product()];
        for_each_index(&whole, |index| {
            let at = index.iter().zip(&kept).fold(0, |at, (&i, &n)| at * n + if n == 1 { 0 } else { i });
            let first = *first[at].get_or_insert(left.at(index));
            self.coupling.classes.unite(first, left.at(index), self.node.1);
            self.coupling.classes.unite(first, right.at(index), self.node.1);
        });
        let labels = first.into_iter().map(|l| l.unwrap_or(FROZEN)).collect();
        let result = ChannelLabels::stored(&self.outputs[0].shape, &kept, labels);
        self.blocked_if_one(&result, reason);
        result
    }

    /// A constant factor loses the batch indices that the result loses; what is summed over stays.
    fn beside(&mut self, i: usize, axes: &[usize], output: &[usize], result: &ChannelLabels) {
        if !self.is_constant(i) {
            return;
        }
        let shape = self.labels_of(i).shape;
        for (axis, number) in axes.iter().enumerate().filter(|&(axis, _)| shape[axis] > 1) {
            match output.iter().position(|o| o == number) {
                Some(along) => self.per_channel_constant(i, axis, result, along),
                None => self.cut(i, axis, &vec![FROZEN; shape[axis]], Role::PerChannel),
            }
        }
    }
}
