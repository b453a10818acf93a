//! Sums over a training of each filter's gradient, and of its product with the weights.

use std::array::from_fn;

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::filters::FilterLayout;
use super::{SETTINGS, clipping};
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{row, uniform, word};

/// Adds sums over each filter's elements of the gradient g and the weights w to those of earlier steps.
///
/// Inputs: gradient and weights in the layout; settings ([`super::StepSettings`]); norm of all gradients `[1]`. Output:
/// for each filter Σg, Σg², Σ|g|, Σ−wg and Σ|wg|, `[filters, 5]`, updated in place.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterSums {
    /// Layout of the filters.
    pub layout: FilterLayout,
}

/// The number of sums of a filter.
pub const FILTER_SUMS: usize = 5;

uniform! { count: u32, outer: u32, filters: u32, inner: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "filter_sums",
    file: "optimizer/filter_sums",
    shared: ["quotient", "filters", "updates"],
    doc: "sums of a gradient and of its product with the weights over each filter, in place",
};

/// Returns the terms of one element.
fn terms(gradient: f64, weight: f64) -> [f64; FILTER_SUMS] {
    let product = gradient * weight;
    [gradient, gradient * gradient, gradient.abs(), -product, product.abs()]
}

impl FilterSums {
    fn of<T: Copy + Into<f64>>(&self, filter: usize, gradient: &[T], weight: &[T]) -> [f64; FILTER_SUMS] {
        let mut sums = [0.0; FILTER_SUMS];
        for first in self.layout.runs(filter) {
            let run = first..first + self.layout.inner;
            for (&g, &w) in gradient[run.clone()].iter().zip(&weight[run]) {
                let terms = terms(g.into(), w.into());
                sums = from_fn(|i| sums[i] + terms[i]);
            }
        }
        sums
    }
}

impl Kernel for FilterSums {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.layout.elements(), self.layout.elements(), SETTINGS, 1]
    }

    fn output_len(&self) -> usize {
        FILTER_SUMS * self.layout.count()
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        if clipping(inputs[2][1], inputs[3][0]).is_none() {
            return;
        }
        for (filter, sums) in output.as_chunks_mut::<FILTER_SUMS>().0.iter_mut().enumerate() {
            let more = self.of(filter, inputs[0], inputs[1]);
            *sums = from_fn(|i| sums[i] + more[i]);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if clipping(inputs[2][1].into(), inputs[3][0].into()).is_none() {
            return;
        }
        let filters = output.as_chunks_mut::<FILTER_SUMS>().0.par_iter_mut();
        filters.with_min_len(8).enumerate().for_each(|(filter, sums)| {
            let more = self.of(filter, inputs[0], inputs[1]);
            *sums = from_fn(|i| sums[i] + more[i] as f32);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let FilterLayout { outer, filters, inner, .. } = self.layout;
        let count = self.layout.count();
        let params =
            Params { count: word(count), outer: word(outer), filters: word(filters), inner: word(inner) };
        let workgroups = super::workgroup_each(count);
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, [groups, outer, filters, inner]: [usize; 4], norm: f32| {
        let layout = FilterLayout { groups, outer, filters, inner };
        let settings = vec![0.01, 2.0, 0.1, 1.0, 1.0, 1.0, 0.0];
        let (gradient, weights) = (noise(layout.elements(), 1), noise(layout.elements(), 2));
        Case {
            label: label.to_owned(),
            kernel: std::sync::Arc::new(FilterSums { layout }),
            inputs: vec![gradient, weights, settings, vec![norm]],
        }
    };
    vec![
        case("one element", [1, 1, 1, 1], 1.0),
        case("filters first", [1, 1, 5, 290], 1.0),
        case("filters last", [1, 70, 9, 1], 1.0),
        case("filters of groups between inputs and taps", [3, 4, 2, 9], 1.0),
        case("gradients without a norm are left out", [1, 1, 5, 3], f32::NAN),
    ]
}
