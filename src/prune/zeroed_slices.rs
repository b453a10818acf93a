//! The slices of constants that are zero in the masked reference and in the paired graph of a repair.

use std::collections::BTreeSet;
use std::ops::RangeBounds;

use super::channels::Channels;
use crate::coupling::Label;
use crate::graph::ValueId;

/// The slices of a constant along one axis, and which of them become zero.
pub(crate) struct ZeroedSlices {
    pub(crate) value: ValueId,
    pub(crate) axis: usize,
    /// True for each index whose slice is multiplied by a removed channel.
    pub(crate) zeros: Vec<bool>,
}

impl Channels {
    /// Returns the slices that become zero when the classes `removed` are masked, by constant and axis.
    pub(crate) fn zeroed_slices(&self, removed: &BTreeSet<Label>) -> impl Iterator<Item = ZeroedSlices> {
        self.zeroed_between(.., removed)
    }

    /// Returns the slices of one constant that become zero when the classes `removed` are masked.
    pub(crate) fn zeroed_slices_of(
        &self,
        value: ValueId,
        removed: &BTreeSet<Label>,
    ) -> impl Iterator<Item = ZeroedSlices> {
        self.zeroed_between((value, 0)..=(value, usize::MAX), removed)
    }

    fn zeroed_between(
        &self,
        constants: impl RangeBounds<(ValueId, usize)>,
        removed: &BTreeSet<Label>,
    ) -> impl Iterator<Item = ZeroedSlices> {
        let consumed = self.coupling.labelled_axes.range(constants).filter(|(_, labelled)| labelled.reads);
        consumed.filter_map(|(&(value, axis), labelled)| {
            let zeros: Vec<bool> = labelled.labels.iter().map(|&l| self.is_removed(l, removed)).collect();
            zeros.contains(&true).then_some(ZeroedSlices { value, axis, zeros })
        })
    }
}
