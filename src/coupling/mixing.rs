//! Operators that mix along axes: normalizations, softmax, reductions, products of computed tensors.
//!
//! Removing a channel is exact if no remaining value was computed from it. Therefore channels that are mixed are
//! removed together: for each index of the other axes, all labels along the mixed axes are united, so that whole slices
//! (groups, attention heads) can be removed. A single slice stays. An inexact analysis lets labels pass as if the
//! operator were pointwise, and records the node.

use super::labels::{ChannelLabels, FROZEN, Label, for_each_index};
use super::propagation::Propagation;
use super::state::{MixedSlices, Mixing, PassedProduct, Role};

/// The effect of a mixing node on labels in an inexact analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inexact {
    /// Labels pass as through a pointwise operator; an output has the shape of the input.
    Passes,
    /// Labels end at the node if whole slices cannot be removed; the output carries none of them.
    Ends,
    /// Labels are united as in an exact analysis, because the result without some of them is not an approximation.
    Never,
}

impl Propagation<'_> {
    /// Propagates labels through a node that mixes `x` along `axes`.
    ///
    /// `reason` describes the node if there is only one slice, which is frozen. Returns whether labels along `axes` end
    /// at the node without being united.
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
            self.freeze_if_single(x, reason);
        }
        ends
    }

    /// Defers the decision whether `labels` are a single class, which is frozen for `reason`.
    fn freeze_if_single(&mut self, labels: &ChannelLabels, reason: &str) {
        let (node, reason) = (self.node.1.to_owned(), reason.to_owned());
        self.coupling.deferred.slices.push(MixedSlices { node, labels: labels.clone(), reason });
    }

    /// Propagates labels through a product of inputs 0 and 1, summed over every index that the output lacks.
    ///
    /// `a`, `b` and `output` number the index of each axis; an index that both inputs and the output have belongs to the
    /// batch (heads). Both factors lose a batch index, or neither does. If only one factor carries channels, they pass.
    pub fn product(&mut self, a: &[usize], b: &[usize], output: &[usize]) {
        const REASON: &str = "multiplies computed tensors, all channels with each other";
        let [left, right] = [(0, a), (1, b)].map(|(i, axes)| self.factor(i, axes, output, REASON));
        let shape = self.outputs[0].shape.clone();
        let [left_varies, right_varies] = [&left, &right].map(|f| self.coupling.classes.has_several(f));
        let result = match (left_varies, right_varies) {
            (true, true) => self.heads(&left, &right, (a, b, output), REASON),
            // A factor of a single class cannot lose that class, so the labels of the other factor decide.
            (false, true) => right.reshaped(&shape),
            (_, false) => left.reshaped(&shape),
        };
        for (i, axes) in [(0, a), (1, b)] {
            self.label_constant_factor(i, axes, output, &result);
        }
        self.set_output(0, result);
    }

    /// Propagates labels through a product of input 0, along `axis`, and weights, input 1.
    ///
    /// `weights` are the weights' axes of the summed index and of the output channels, `channels` is the output's axis of
    /// output channels.
    ///
    /// If input 0 has channels on other axes only, they pass, and the product has no output channels of its own. Returns
    /// false in this case, and leaves the labels of the output to [`product`](Self::product). The analysis is repeated
    /// with output channels if none of the passed channels can be removed ([`Coupling::passed_in_vain`]).
    ///
    /// [`Coupling::passed_in_vain`]: super::Coupling::passed_in_vain
    pub fn weighted(&mut self, axis: usize, weights: [usize; 2], channels: usize) -> bool {
        let x = self.input_labels(0);
        let classes = &self.coupling.classes;
        let varying = classes.varying(&x);
        if classes.has_several(&x)
            && !varying.contains(&axis)
            && !self.coupling.makes_own.contains(&self.node.0)
        {
            self.coupling.passed.push(PassedProduct { node: self.node.0, labels: x });
            return false;
        }
        let consumed = if x.varies(axis) {
            self.axis_labels(0, axis)
        } else {
            self.coupling.deferred.rows.push((self.node.1.to_owned(), x.clone()));
            vec![FROZEN; x.shape[axis]]
        };
        let [summed, filters] = weights;
        let y = self.filter_labels(1, filters, self.outputs[0].shape[channels]);
        self.add_producer(1, filters, &y, &y);
        self.label_constant(1, summed, &consumed, Role::Consumer);
        self.set_output_along(0, channels, &y);
        true
    }

    /// Returns the labels of a factor over the output's axes, and unites labels along its summed axes.
    fn factor(&mut self, i: usize, axes: &[usize], output: &[usize], reason: &str) -> ChannelLabels {
        let x = self.input_labels(i);
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
        let factor = ChannelLabels::broadcast(&stored, &stored, labels);
        if !self.is_constant(i) && self.coupling.classes.is_one(&factor) {
            let one = factor.labels()[0];
            self.freeze(&[one], reason);
        }
        factor
    }

    /// Unites the labels of two factors that both carry channels, for each batch index.
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
        let result = ChannelLabels::broadcast(&self.outputs[0].shape, &kept, labels);
        self.freeze_if_single(&result, reason);
        result
    }

    /// Aligns a constant factor with the batch axes of the result, and freezes its summed axes.
    fn label_constant_factor(&mut self, i: usize, axes: &[usize], output: &[usize], result: &ChannelLabels) {
        if !self.is_constant(i) {
            return;
        }
        let shape = self.input_labels(i).shape;
        for (axis, number) in axes.iter().enumerate().filter(|&(axis, _)| shape[axis] > 1) {
            match output.iter().position(|o| o == number) {
                Some(along) => self.label_per_channel(i, axis, result, along),
                None => self.label_constant(i, axis, &vec![FROZEN; shape[axis]], Role::PerChannel),
            }
        }
    }
}
