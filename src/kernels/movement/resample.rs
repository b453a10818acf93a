//! ONNX's Resize in all its modes, one axis at a time. Every new element is a weighted sum of old ones.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::movement::resample_gradient::ResampleGradient;
use crate::kernels::shader::{grid, row, uniform, word};

/// Resamples an axis, `y[o, k, i] = Σ_t weights[k, t] · x[o, positions[k, t], i]`, from `[outer, axis, inner]` to
/// `[outer, out, inner]`.
///
/// Inputs: x, positions and weights, both `[out, taps]`. If the first position of `k` is negative, `k` is outside of
/// the axis and becomes `outside`.
#[derive(Clone, Debug, PartialEq)]
pub struct Resample {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis, at most 2²⁴: an `f32` must represent every position exactly.
    pub axis: usize,
    /// Length of the axis in the output.
    pub out: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
    /// Input elements of each output element.
    pub taps: usize,
    /// Value of output elements outside of the axis.
    pub outside: f32,
}

uniform! { len: u32, axis: u32, out: u32, inner: u32, taps: u32, outside: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "resample",
    file: "movement/resample",
    shared: [],
    doc: "an axis resampled by weighted sums",
};

impl Kernel for Resample {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let table = self.out * self.taps;
        vec![self.outer * self.axis * self.inner, table, table]
    }

    fn output_len(&self) -> usize {
        self.outer * self.out * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (at, y) in output.iter_mut().enumerate() {
            let (o, k, i) = (at / self.inner / self.out, at / self.inner % self.out, at % self.inner);
            let taps = k * self.taps..(k + 1) * self.taps;
            *y = if inputs[1][taps.start] < 0.0 {
                f64::from(self.outside)
            } else {
                let x = |position: f64| inputs[0][(o * self.axis + position as usize) * self.inner + i];
                taps.map(|t| inputs[2][t] * x(inputs[1][t])).sum()
            };
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        output.par_chunks_mut(self.inner).enumerate().for_each(|(row, y)| {
            let (o, k) = (row / self.out, row % self.out);
            let taps = k * self.taps..(k + 1) * self.taps;
            if inputs[1][taps.start] < 0.0 {
                return y.fill(self.outside);
            }
            for (tap, t) in taps.enumerate() {
                let (position, weight) = (inputs[1][t] as usize, inputs[2][t]);
                let x = &inputs[0][(o * self.axis + position) * self.inner..][..self.inner];
                if tap == 0 {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y = weight * x);
                } else {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
                }
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.output_len()),
            axis: word(self.axis),
            out: word(self.out),
            inner: word(self.inner),
            taps: word(self.taps),
            outside: self.outside,
        };
        Dispatch {
            overrides: Vec::new(),
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn gradient(&self, input: usize) -> Gradient {
        match input {
            0 => {
                let Self { outer, axis, out, inner, taps, .. } = *self;
                let mut builder = GradientBuilder::default();
                let inputs = [GradientOperand::OutputGradient].into_iter();
                let inputs = inputs.chain([1, 2].map(GradientOperand::Input)).collect();
                let gx = builder.call(ResampleGradient { outer, axis, out, inner, taps }, inputs);
                builder.finish(gx)
            }
            1 => Gradient::Zero,
            _ => Gradient::Unknown,
        }
    }

    fn tolerance(&self) -> Tolerance {
        if self.taps == 1 { Tolerance::ELEMENTWISE } else { Tolerance::SUMS }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, (outer, axis, out, inner): (usize, usize, usize, usize), taps, lost: usize| {
        let kernel = Resample { outer, axis, out, inner, taps, outside: -7.0 };
        let [x, table, _] = kernel.input_lens()[..] else { unreachable!("three inputs") };
        let mut positions: Vec<f32> = (0..table).map(|t| ((t * 7) % axis) as f32).collect();
        positions[..lost * taps].fill(-1.0);
        let inputs = vec![noise(x, 1), positions, noise(table, 2)];
        Case { label: label.to_owned(), kernel: std::sync::Arc::new(kernel), inputs }
    };
    vec![
        case("one element", (1, 1, 1, 1), 1, 0),
        case("columns, nearest", (3, 5, 17, 1), 1, 0),
        case("rows, linear", (3, 17, 9, 7), 2, 0),
        case("cubic, two outside", (5, 9, 11, 3), 4, 2),
        case("many taps, as antialiasing has", (2, 33, 4, 65), 19, 0),
    ]
}
