//! Sums of squares of each filter, from which the norms of coupled filters are computed.

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::filters::FilterLayout;
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{row, uniform, word};

/// Sums of squares of a parameter's filters, `y[offset + f] = Σ w²`.
///
/// Input: the parameter in the layout. Output: `[total]`, of which the sums of this call's filters are written.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterSquares {
    /// Layout of the filters.
    pub layout: FilterLayout,
    /// Position of the first filter's sum in the output.
    pub offset: usize,
    /// Number of elements of the output buffer.
    pub total: usize,
}

uniform! { count: u32, outer: u32, filters: u32, inner: u32, offset: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "filter_squares",
    file: "optimizer/filter_squares",
    shared: ["quotient", "filters"],
    doc: "sums of squares of each filter",
};

impl FilterSquares {
    fn of<T: Copy + Into<f64>>(&self, filter: usize, weights: &[T]) -> f64 {
        let runs = self.layout.runs(filter).map(|first| &weights[first..first + self.layout.inner]);
        let square = |&w: &T| -> f64 { w.into() * w.into() };
        runs.map(|run| run.iter().map(square).sum::<f64>()).sum()
    }
}

impl Kernel for FilterSquares {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.layout.elements()]
    }

    fn output_len(&self) -> usize {
        self.total
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let own = &mut output[self.offset..][..self.layout.count()];
        own.iter_mut().enumerate().for_each(|(filter, sum)| *sum = self.of(filter, inputs[0]));
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let own = &mut output[self.offset..][..self.layout.count()];
        let filters = own.par_iter_mut().with_min_len(8).enumerate();
        filters.for_each(|(filter, sum)| *sum = self.of(filter, inputs[0]) as f32);
    }

    fn dispatch(&self) -> Dispatch {
        let FilterLayout { outer, filters, inner, .. } = self.layout;
        let count = self.layout.count();
        let params = Params {
            count: word(count),
            outer: word(outer),
            filters: word(filters),
            inner: word(inner),
            offset: word(self.offset),
        };
        let workgroups = super::workgroup_each(count);
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, [groups, outer, filters, inner]: [usize; 4], offset: usize, total: usize| {
        let layout = FilterLayout { groups, outer, filters, inner };
        noise_case(label, FilterSquares { layout, offset, total })
    };
    vec![
        case("one element", [1, 1, 1, 1], 0, 1),
        case("filters first, at the end", [1, 1, 5, 290], 4, 9),
        case("filters last", [1, 70, 9, 1], 0, 9),
        case("filters of groups, in the middle", [3, 4, 2, 9], 2, 11),
    ]
}
