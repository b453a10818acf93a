//! The labels of a tensor's elements: one number per channel, stored along the axes where they vary.

use std::borrow::Cow;
use std::sync::Arc;

use crate::tensor::elements;

/// The label of a channel, an index into [`super::EquivalenceClasses`].
pub type Label = u32;

/// The label of every element that may not be removed.
pub const FROZEN: Label = 0;

/// The labels of a tensor's elements, stored only over the axes along which they vary.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelLabels {
    /// The shape of the tensor.
    pub shape: Vec<usize>,
    /// The stored shape: `shape[a]` where labels vary along `a`, else 1.
    pub(super) stored: Vec<usize>,
    pub(super) data: Arc<Vec<Label>>,
}

impl ChannelLabels {
    /// Creates labels that are equal for all elements.
    pub fn uniform(shape: &[usize], label: Label) -> Self {
        Self { shape: shape.to_vec(), stored: vec![1; shape.len()], data: Arc::new(vec![label]) }
    }

    /// Creates labels that vary along one axis only.
    pub fn along(shape: &[usize], axis: usize, labels: &[Label]) -> Self {
        assert_eq!(shape[axis], labels.len(), "one label an index of the axis");
        let mut stored = vec![1; shape.len()];
        stored[axis] = labels.len();
        Self { shape: shape.to_vec(), stored, data: Arc::new(labels.to_vec()) }.compressed()
    }

    /// Creates labels from one for each element, in row-major order.
    pub fn full(shape: &[usize], data: Vec<Label>) -> Self {
        assert_eq!(elements(shape), Some(data.len()), "one label an element");
        Self { shape: shape.to_vec(), stored: shape.to_vec(), data: Arc::new(data) }.compressed()
    }

    /// Creates labels from those of a tensor of shape `stored`, broadcast to `shape`.
    pub(crate) fn broadcast(shape: &[usize], stored: &[usize], labels: Vec<Label>) -> Self {
        Self { shape: shape.to_vec(), stored: stored.to_vec(), data: Arc::new(labels) }.compressed()
    }

    /// Prepends axes of size 1, up to `rank` axes.
    pub(crate) fn with_leading_ones(&self, rank: usize) -> Self {
        let lead = vec![1; rank - self.shape.len()];
        let pad = |dims: &[usize]| lead.iter().chain(dims).copied().collect();
        Self { shape: pad(&self.shape), stored: pad(&self.stored), data: self.data.clone() }
    }

    /// Replaces the shape, which may change along axes where labels do not vary.
    pub(crate) fn reshaped(&self, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), stored: self.stored.clone(), data: self.data.clone() }
    }

    /// Returns whether labels vary along `axis`.
    pub fn varies(&self, axis: usize) -> bool {
        self.stored[axis] > 1
    }

    /// Returns the axes along which labels vary.
    pub fn varying(&self) -> Vec<usize> {
        (0..self.shape.len()).filter(|&a| self.varies(a)).collect()
    }

    /// Returns the stored labels, which include every label of the tensor.
    pub fn labels(&self) -> &[Label] {
        &self.data
    }

    /// Returns the label of the element at `index`.
    ///
    /// Along axes where labels do not vary, any index is accepted, and trailing ones may be absent.
    pub fn at(&self, index: &[usize]) -> Label {
        let mut flat = 0;
        for (axis, &size) in self.stored.iter().enumerate() {
            flat = flat * size + if size == 1 { 0 } else { index[axis] };
        }
        self.data[flat]
    }

    /// Returns one label for each block of `unit` consecutive elements.
    ///
    /// `None` if such blocks do not coincide with trailing axes, or contain several labels.
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

    /// Creates labels from those of blocks of `unit` elements, as [`ChannelLabels::units`] returns them.
    pub(crate) fn from_units(shape: &[usize], unit: usize, labels: Vec<Label>) -> Option<Self> {
        let mut stored = shape.to_vec();
        stored[unit_axes(shape, unit)?..].fill(1);
        Some(Self::broadcast(shape, &stored, labels))
    }

    /// Returns the stored labels at each index of `axis`.
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

    /// Returns the first label at each index of `axis`; empty if the tensor has no elements.
    pub fn firsts(&self, axis: usize) -> Vec<Label> {
        self.slices(axis).iter().filter_map(|slice| slice.first().copied()).collect()
    }

    /// Creates labels of another shape, whose axes are axes of this tensor by `source`, or new ones.
    ///
    /// The labels at index 0 of all other axes of this tensor are used. A new axis, and one that is shorter here, keeps
    /// its first indices.
    pub(crate) fn along_others(&self, shape: &[usize], source: &dyn Fn(usize) -> Option<usize>) -> Self {
        let sources: Vec<Option<usize>> = (0..shape.len()).map(source).collect();
        let varies = |source: &Option<usize>| source.is_some_and(|axis| self.varies(axis));
        let stored: Vec<usize> =
            shape.iter().zip(&sources).map(|(&size, source)| if varies(source) { size } else { 1 }).collect();
        let mut labels = Vec::new();
        for_each_index(&stored, |index| {
            let mut own = vec![0; self.shape.len()];
            for (&i, source) in index.iter().zip(&sources) {
                source.iter().for_each(|&axis| own[axis] = i);
            }
            labels.push(self.at(&own));
        });
        Self::broadcast(shape, &stored, labels)
    }

    /// Calls `f` with the slice number of each stored label, and the label.
    ///
    /// Elements whose indices differ only along `axes` form one slice.
    pub(crate) fn for_each_slice(&self, axes: &[usize], mut f: impl FnMut(usize, Label)) {
        let mut labels = self.data.iter();
        for_each_index(&self.stored, |index| {
            let rest = index.iter().zip(&self.stored).enumerate().filter(|(a, _)| !axes.contains(a));
            let slice = rest.fold(0, |number, (_, (&i, &size))| number * size + i);
            if let Some(&label) = labels.next() {
                f(slice, label);
            }
        });
    }

    /// Stores axes along which labels do not vary only once.
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
    /// The labels of all slices, one slice after the other.
    labels: Cow<'a, [Label]>,
    count: usize,
    /// The number of labels in a slice.
    len: usize,
    /// The distance between slices; 0 if all are equal.
    step: usize,
}

impl AxisSlices<'_> {
    /// Iterates over the labels at each index.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[Label]> {
        (0..self.count).map(|i| &self.labels[i * self.step..][..self.len])
    }
}

/// Returns the first of the trailing axes that contain `unit` elements together.
fn unit_axes(shape: &[usize], unit: usize) -> Option<usize> {
    (0..=shape.len()).rev().find(|&first| shape[first..].iter().product::<usize>() == unit)
}

/// Calls `f` with every index of a tensor, in row-major order.
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
        let labels = ChannelLabels::full(&[2, 3, 2], vec![1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]);
        assert_eq!(labels.varying(), [1]);
        assert_eq!(labels.labels(), [1, 2, 3]);
        assert_eq!(labels.units(1), Some(vec![1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]));
        assert_eq!(labels.slices(1).iter().collect::<Vec<_>>(), [[1], [2], [3]]);
        assert_eq!(labels.slices(0).iter().collect::<Vec<_>>(), [[1, 2, 3], [1, 2, 3]]);
        let labels = ChannelLabels::full(&[2, 3], vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(labels.slices(1).iter().collect::<Vec<_>>(), [[1, 4], [2, 5], [3, 6]]);
        assert_eq!(labels.firsts(0), [1, 4]);
    }

    #[test]
    fn units_have_one_label_each() {
        let labels = ChannelLabels::along(&[2, 3, 2, 2], 1, &[7, 8, 9]);
        assert_eq!(labels.units(4), Some(vec![7, 8, 9, 7, 8, 9]));
        assert_eq!(labels.units(2).map(|units| units.len()), Some(12));
        assert_eq!(labels.units(12), None, "channels have different labels");
        assert_eq!(labels.units(3), None, "no axis ends there");
        assert_eq!(ChannelLabels::from_units(&labels.shape, 4, vec![7, 8, 9, 7, 8, 9]), Some(labels));
    }

    #[test]
    fn slices_share_all_indices_but_those_of_their_axes() {
        let labels = ChannelLabels::full(&[2, 2, 3], (0..12).collect());
        let mut seen = vec![vec![]; 2];
        labels.for_each_slice(&[0, 2], |slice, label| seen[slice].push(label));
        assert_eq!(seen, [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]);
    }
}
