//! Which channels are tied: labels that the graph carries.
//!
//! Every output channel of every layer with weights gets a fresh label. The operators then run on
//! labels instead of numbers ([`propagation::Propagation`]): those that move data move labels, those that compute pointwise
//! unite the labels that meet, those that contract an axis read the labels on it. What is tied at the
//! end can only stay or go together: a set.
//!
//! What mixes labels along axes classes, for each index of the other axes, all of them: whole slices go
//! ([`mix`]).
//!
//! Two rules complete it. A tensor must stay a box: where labels vary along several axes, one axis
//! shrinks, and labels that share an index of it are tied. Which axis is chosen when everything else is
//! known ([`decide`]). And label [`FROZEN`] marks what may not go: the network's inputs and outputs, and
//! channels of which none would be left.

pub mod classes;
pub mod deferred;
pub mod mixing;
pub mod propagation;

pub use classes::{Block, EquivalenceClasses};

use std::borrow::Cow;
use std::sync::Arc;

use crate::tensor::elements;

/// A channel's label.
pub type Label = u32;

/// The label of what may not be removed.
pub const FROZEN: Label = 0;

/// The labels of a tensor's elements. Stored only over the axes along which they vary.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelLabels {
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// The stored shape: `shape[a]` where labels vary along `a`, else 1.
    stored: Vec<usize>,
    data: Arc<Vec<Label>>,
}

impl ChannelLabels {
    /// One label everywhere.
    pub fn uniform(shape: &[usize], label: Label) -> Self {
        Self { shape: shape.to_vec(), stored: vec![1; shape.len()], data: Arc::new(vec![label]) }
    }

    /// Labels that vary along one axis only.
    pub fn along(shape: &[usize], axis: usize, labels: &[Label]) -> Self {
        assert_eq!(shape[axis], labels.len(), "one label an index of the axis");
        let mut stored = vec![1; shape.len()];
        stored[axis] = labels.len();
        Self { shape: shape.to_vec(), stored, data: Arc::new(labels.to_vec()) }.compressed()
    }

    /// A label for each element, row-major.
    pub fn full(shape: &[usize], data: Vec<Label>) -> Self {
        assert_eq!(elements(shape), Some(data.len()), "one label an element");
        Self { shape: shape.to_vec(), stored: shape.to_vec(), data: Arc::new(data) }.compressed()
    }

    /// Labels over `stored` axes: `shape[a]` where they vary along `a`, else 1.
    pub(crate) fn stored(shape: &[usize], stored: &[usize], labels: Vec<Label>) -> Self {
        Self { shape: shape.to_vec(), stored: stored.to_vec(), data: Arc::new(labels) }.compressed()
    }

    /// The same labels with axes of size 1 put in front.
    pub(crate) fn with_leading_ones(&self, rank: usize) -> Self {
        let lead = vec![1; rank - self.shape.len()];
        let pad = |dims: &[usize]| lead.iter().chain(dims).copied().collect();
        Self { shape: pad(&self.shape), stored: pad(&self.stored), data: self.data.clone() }
    }

    /// The same labels in a tensor of another shape, which may differ along axes where they do not vary.
    pub(crate) fn reshaped(&self, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), stored: self.stored.clone(), data: self.data.clone() }
    }

    /// Whether labels vary along `axis`.
    pub fn varies(&self, axis: usize) -> bool {
        self.stored[axis] > 1
    }

    /// The axes along which labels vary.
    pub fn varying(&self) -> Vec<usize> {
        (0..self.shape.len()).filter(|&a| self.varies(a)).collect()
    }

    /// The distinct stored labels' slice; each occurs somewhere in the tensor.
    pub fn labels(&self) -> &[Label] {
        &self.data
    }

    /// The label of the element at `index`; an axis along which labels do not vary may be
    /// indexed by anything, or at the end by nothing.
    pub fn at(&self, index: &[usize]) -> Label {
        let mut flat = 0;
        for (axis, &size) in self.stored.iter().enumerate() {
            flat = flat * size + if size == 1 { 0 } else { index[axis] };
        }
        self.data[flat]
    }

    /// A label for each `unit` elements, row-major; `None` where they are not the elements at an index of the
    /// first axes, all labelled alike.
    pub(crate) fn units(&self, unit: usize) -> Option<Vec<Label>> {
        let len = elements(&self.shape).unwrap_or(0);
        if let [label] = self.data[..] {
            return len.is_multiple_of(unit).then(|| vec![label; len / unit]);
        }
        let first = unit_axes(&self.shape, unit)
            .filter(|&first| !(first..self.shape.len()).any(|a| self.varies(a)))?;
        let mut all = Vec::with_capacity(len / unit);
        for_each_index(&self.shape[..first], |index| all.push(self.at(index)));
        Some(all)
    }

    /// The inverse of [`ChannelLabels::units`].
    pub(crate) fn of_units(shape: &[usize], unit: usize, labels: Vec<Label>) -> Option<Self> {
        let mut stored = shape.to_vec();
        stored[unit_axes(shape, unit)?..].fill(1);
        Some(Self::stored(shape, &stored, labels))
    }

    /// For each index of `axis`, the stored labels that stand there.
    pub fn slices(&self, axis: usize) -> AxisSlices<'_> {
        let (size, inner) = (self.stored[axis], self.stored[axis + 1..].iter().product::<usize>());
        let outer: usize = self.stored[..axis].iter().product();
        let labels = if outer == 1 {
            Cow::Borrowed(&self.data[..])
        } else {
            let parts = (0..size).flat_map(|i| (0..outer).map(move |o| (o * size + i) * inner));
            Cow::Owned(parts.flat_map(|at| &self.data[at..at + inner]).copied().collect())
        };
        let len = outer * inner;
        AxisSlices { labels, count: self.shape[axis], len, step: if size == 1 { 0 } else { len } }
    }

    /// For each index of `axis`, the first label that stands there; nothing where the tensor has no elements.
    pub fn firsts(&self, axis: usize) -> Vec<Label> {
        self.slices(axis).iter().filter_map(|slice| slice.first().copied()).collect()
    }

    /// Calls `f` for each stored label with the number of its slice: what shares all indices but those of
    /// `axes` is one slice.
    pub(crate) fn each_slice(&self, axes: &[usize], mut f: impl FnMut(usize, Label)) {
        let mut labels = self.data.iter();
        for_each_index(&self.stored, |index| {
            let rest = index.iter().zip(&self.stored).enumerate().filter(|(a, _)| !axes.contains(a));
            let slice = rest.fold(0, |number, (_, (&i, &size))| number * size + i);
            if let Some(&label) = labels.next() {
                f(slice, label);
            }
        });
    }

    fn compressed(mut self) -> Self {
        for axis in 0..self.shape.len() {
            if self.stored[axis] < 2 || self.data.is_empty() {
                continue;
            }
            let inner: usize = self.stored[axis + 1..].iter().product();
            let size = self.stored[axis];
            let same = self
                .data
                .chunks(size * inner)
                .all(|block| block.chunks(inner).all(|slice| slice == &block[..inner]));
            if same {
                let kept = self.data.chunks(size * inner).flat_map(|b| b[..inner].iter().copied()).collect();
                self.data = Arc::new(kept);
                self.stored[axis] = 1;
            }
        }
        self
    }
}

/// The labels at each index of an axis.
#[derive(Debug)]
pub struct AxisSlices<'a> {
    /// Slice after slice.
    labels: Cow<'a, [Label]>,
    count: usize,
    /// Labels of a slice.
    len: usize,
    /// From one slice to the next: none where all are the same.
    step: usize,
}

impl AxisSlices<'_> {
    /// Index by index.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[Label]> {
        (0..self.count).map(|i| &self.labels[i * self.step..][..self.len])
    }
}

/// The first of the last axes that have `unit` elements together.
fn unit_axes(shape: &[usize], unit: usize) -> Option<usize> {
    (0..=shape.len()).rev().find(|&first| shape[first..].iter().product::<usize>() == unit)
}

/// Calls `f` with every index of a box, row-major.
pub(crate) fn for_each_index(shape: &[usize], mut f: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        f(&index);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_stored_only_where_they_vary() {
        let labelled = ChannelLabels::full(&[2, 3, 2], vec![1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]);
        assert_eq!(labelled.varying(), [1]);
        assert_eq!(labelled.labels(), [1, 2, 3]);
        assert_eq!(labelled.units(1), Some(vec![1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]));
        assert_eq!(labelled.slices(1).iter().collect::<Vec<_>>(), [[1], [2], [3]]);
        assert_eq!(labelled.slices(0).iter().collect::<Vec<_>>(), [[1, 2, 3], [1, 2, 3]]);
        let labelled = ChannelLabels::full(&[2, 3], vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(labelled.slices(1).iter().collect::<Vec<_>>(), [[1, 4], [2, 5], [3, 6]]);
        assert_eq!(labelled.firsts(0), [1, 4]);
    }

    #[test]
    fn units_are_elements_labelled_alike() {
        let labelled = ChannelLabels::along(&[2, 3, 2, 2], 1, &[7, 8, 9]);
        assert_eq!(labelled.units(4), Some(vec![7, 8, 9, 7, 8, 9]));
        assert_eq!(labelled.units(2).map(|labels| labels.len()), Some(12));
        assert_eq!(labelled.units(12), None, "channels are not alike");
        assert_eq!(labelled.units(3), None, "no axis ends there");
        assert_eq!(ChannelLabels::of_units(&labelled.shape, 4, vec![7, 8, 9, 7, 8, 9]), Some(labelled));
    }

    #[test]
    fn slices_share_all_indices_but_those_of_their_axes() {
        let labelled = ChannelLabels::full(&[2, 2, 3], (0..12).collect());
        let mut seen = vec![vec![]; 2];
        labelled.each_slice(&[0, 2], |slice, label| seen[slice].push(label));
        assert_eq!(seen, [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]);
    }
}
