//! Cumulative sums along an axis.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Cumulative sums, `y[o, a, i] = Σ_{b ≤ a} x[o, b, i]`, over the middle axis of `[outer, axis, inner]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CumSumKernel {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis.
    pub axis: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
    /// True if each sum excludes its own element.
    pub exclusive: bool,
    /// True if sums run from the end.
    pub reverse: bool,
}

uniform! { len: u32, axis: u32, inner: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "cumsum",
    file: "reduction/cumsum",
    shared: [],
    doc: "cumulative sums along an axis",
};

impl Kernel for CumSumKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.output_len()]
    }

    fn output_len(&self) -> usize {
        self.outer * self.axis * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (at, y) in output.iter_mut().enumerate() {
            let a = at / self.inner % self.axis;
            let first = at - a * self.inner;
            let before = |b: &usize| match (self.reverse, self.exclusive) {
                (false, false) => *b <= a,
                (false, true) => *b < a,
                (true, false) => *b >= a,
                (true, true) => *b > a,
            };
            *y = (0..self.axis).filter(before).map(|b| inputs[0][first + b * self.inner]).sum();
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        for row in 0..self.outer * self.inner {
            let first = row / self.inner * self.axis * self.inner + row % self.inner;
            let mut sum = 0.0f64;
            for step in 0..self.axis {
                let a = if self.reverse { self.axis - 1 - step } else { step };
                let at = first + a * self.inner;
                let with = sum + f64::from(inputs[0][at]);
                output[at] = if self.exclusive { sum } else { with } as f32;
                sum = with;
            }
        }
    }

    fn dispatch(&self) -> Dispatch {
        let len = self.outer * self.inner;
        let params = Params { len: word(len), axis: word(self.axis), inner: word(self.inner) };
        let flag = |f: bool| f64::from(u8::from(f));
        Dispatch {
            overrides: vec![("EXCLUSIVE", flag(self.exclusive)), ("REVERSE", flag(self.reverse))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn gradient(&self, _input: usize) -> Gradient {
        let mut builder = GradientBuilder::default();
        let back = Self { reverse: !self.reverse, ..self.clone() };
        let gx = builder.call(back, vec![GradientOperand::OutputGradient]);
        builder.finish(gx)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
        for (label, outer, axis, inner) in
            [("one element", 1, 1, 1), ("rows", 17, 65, 1), ("a middle axis", 3, 5, 67)]
        {
            let kernel = CumSumKernel { outer, axis, inner, exclusive, reverse };
            cases.push(noise_case(format!("{label}, exclusive {exclusive}, reverse {reverse}"), kernel));
        }
    }
    cases
}
