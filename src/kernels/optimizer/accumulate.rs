//! Sums of gradients over the runs of a step, so that a step has more samples than memory holds at once.

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::SETTINGS;
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Adds a gradient to the sum over the runs of a step.
///
/// Inputs: gradient `[len]`; settings ([`super::StepSettings`]). Output: the sum `[len]`, updated in place: the gradient
/// times the share of the run, plus the sum of earlier runs of the step.
#[derive(Clone, Debug, PartialEq)]
pub struct Accumulate {
    /// Number of elements of the gradient.
    pub len: usize,
}

uniform! { len: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "accumulate",
    file: "optimizer/accumulate",
    shared: [],
    doc: "the sum of gradients over the runs of a step, in place",
};

/// Returns the share of the run, and whether it is the first of its step.
fn run<T: Copy + PartialOrd + Default>(settings: &[T]) -> (T, bool) {
    let following = settings[6] > T::default();
    (settings[5], !following)
}

impl Kernel for Accumulate {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.len, SETTINGS]
    }

    fn output_len(&self) -> usize {
        self.len
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (share, is_first) = run(inputs[1]);
        for (sum, gradient) in output.iter_mut().zip(inputs[0]) {
            *sum = share * gradient + if is_first { 0.0 } else { *sum };
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (share, is_first) = run(inputs[1]);
        output.par_iter_mut().zip(inputs[0]).with_min_len(1 << 12).for_each(|(sum, gradient)| {
            *sum = share * gradient + if is_first { 0.0 } else { *sum };
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params { len: word(self.len) };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(self.len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, len: usize, share: f32, following: f32| Case {
        label: label.to_owned(),
        kernel: std::sync::Arc::new(Accumulate { len }),
        inputs: vec![noise(len, 1), vec![0.0, 0.0, 0.0, 0.0, 0.0, share, following]],
    };
    vec![
        case("one element", 1, 1.0, 0.0),
        case("the first of four runs", 130, 0.25, 0.0),
        case("a later run", 130, 0.25, 1.0),
        case("the last of many elements", 1025, 0.5, 1.0),
    ]
}
