//! The layout of a parameter's filters in memory.

/// A parameter of shape `[groups, outer, filters, inner]` with one filter for each group and index of `filters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterLayout {
    /// Number of groups.
    pub groups: usize,
    /// Product of the dimensions between the groups and the filters.
    pub outer: usize,
    /// Number of filters of a group.
    pub filters: usize,
    /// Product of the dimensions after the filters.
    pub inner: usize,
}

impl FilterLayout {
    /// Returns the number of filters of all groups.
    pub fn count(&self) -> usize {
        self.groups * self.filters
    }

    /// Returns the number of elements of a filter.
    pub fn size(&self) -> usize {
        self.outer * self.inner
    }

    /// Returns the number of elements of the parameter.
    pub fn elements(&self) -> usize {
        self.count() * self.size()
    }

    /// Returns the sum of magnitudes of each filter.
    ///
    /// # Panics
    /// If the parameter has fewer elements than the layout.
    pub fn magnitudes(&self, parameter: &[f64]) -> Vec<f64> {
        let of = |filter: usize| -> f64 {
            let runs = self.runs(filter).map(|first| &parameter[first..first + self.inner]);
            runs.flatten().map(|x| x.abs()).sum()
        };
        (0..self.count()).map(of).collect()
    }

    /// Returns the first elements of the runs of a filter, each of which has `inner` elements.
    pub(super) fn runs(self, filter: usize) -> impl Iterator<Item = usize> {
        let (group, filter) = (filter / self.filters, filter % self.filters);
        (0..self.outer).map(move |o| ((group * self.outer + o) * self.filters + filter) * self.inner)
    }
}
