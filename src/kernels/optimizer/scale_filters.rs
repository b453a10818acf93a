//! The multiplication of a parameter's filters by factors, in place.

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::filters::FilterLayout;
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Multiplies each filter of a parameter, and of its moving average, by a factor.
///
/// Input: the factors of all parameters' filters `[total]`. Output: the parameter's state, value first and average last,
/// `[arrays, elements]`, updated in place.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleFilters {
    /// Layout of the filters.
    pub layout: FilterLayout,
    /// Position of the first filter's factor.
    pub offset: usize,
    /// Number of factors.
    pub total: usize,
    /// Number of arrays of the state.
    pub arrays: usize,
}

uniform! { elements: u32, outer: u32, filters: u32, inner: u32, offset: u32, average: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "scale_filters",
    file: "optimizer/scale_filters",
    shared: ["quotient"],
    doc: "the multiplication of each filter by a factor, in place",
};

impl ScaleFilters {
    fn factor<T: Copy>(&self, factors: &[T], at: usize) -> T {
        let FilterLayout { outer, filters, inner, .. } = self.layout;
        let run = at / inner;
        factors[self.offset + run / (outer * filters) * filters + run % filters]
    }
}

impl Kernel for ScaleFilters {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.total]
    }

    fn output_len(&self) -> usize {
        self.arrays * self.layout.elements()
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let len = self.layout.elements();
        for first in [0, (self.arrays - 1) * len] {
            output[first..first + len]
                .iter_mut()
                .enumerate()
                .for_each(|(at, x)| *x *= self.factor(inputs[0], at));
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let len = self.layout.elements();
        for first in [0, (self.arrays - 1) * len] {
            let part = output[first..first + len].par_iter_mut().with_min_len(1 << 12);
            part.enumerate().for_each(|(at, x)| *x *= self.factor(inputs[0], at));
        }
    }

    fn dispatch(&self) -> Dispatch {
        let FilterLayout { outer, filters, inner, .. } = self.layout;
        let len = self.layout.elements();
        let params = Params {
            elements: word(len),
            outer: word(outer),
            filters: word(filters),
            inner: word(inner),
            offset: word(self.offset),
            average: word((self.arrays - 1) * len),
        };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, [groups, outer, filters, inner]: [usize; 4], offset: usize, arrays: usize| {
        let layout = FilterLayout { groups, outer, filters, inner };
        let total = offset + layout.count() + 2;
        noise_case(label, ScaleFilters { layout, offset, total, arrays })
    };
    vec![
        case("one element", [1, 1, 1, 1], 0, 3),
        case("filters first", [1, 1, 5, 29], 4, 4),
        case("filters last", [1, 70, 9, 1], 0, 3),
        case("filters of groups", [3, 4, 2, 9], 2, 4),
    ]
}
