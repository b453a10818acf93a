//! The gradient of an axis that is resampled by weighted sums.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Adds weighted gradients, `gx[o, a, i] = Σ_{k, t: positions[k, t] = a} weights[k, t] · gy[o, k, i]`.
///
/// Shapes and tables are those of [`Resample`](super::Resample). Inputs: `gy`, positions, weights. If the first position
/// of `k` is negative, `k` is outside of the axis and adds nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct ResampleGradient {
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
}

uniform! { len: u32, axis: u32, out: u32, inner: u32, taps: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "resample_gradient",
    file: "movement/resample_gradient",
    shared: ["quotient"],
    doc: "gradient of a resampled axis",
};

impl Kernel for ResampleGradient {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let table = self.out * self.taps;
        vec![self.outer * self.out * self.inner, table, table]
    }

    fn output_len(&self) -> usize {
        self.outer * self.axis * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (at, gx) in output.iter_mut().enumerate() {
            let (o, a, i) = (at / self.inner / self.axis, at / self.inner % self.axis, at % self.inner);
            let reads = |&t: &usize| inputs[1][t] == a as f64 && inputs[1][t / self.taps * self.taps] >= 0.0;
            let gy = |t: usize| inputs[0][(o * self.out + t / self.taps) * self.inner + i];
            *gx = (0..self.out * self.taps).filter(reads).map(|t| inputs[2][t] * gy(t)).sum();
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (from, to) = (self.out * self.inner, self.axis * self.inner);
        if output.is_empty() {
            return;
        }
        let blocks = output.par_chunks_mut(to).zip(inputs[0].par_chunks(from));
        blocks.with_min_len(1 + (1 << 12) / from).for_each(|(gx, gy)| {
            gx.fill(0.0);
            for (k, gy) in gy.chunks(self.inner).enumerate() {
                let taps = k * self.taps..(k + 1) * self.taps;
                if inputs[1][taps.start] < 0.0 {
                    continue;
                }
                for t in taps {
                    let (position, weight) = (inputs[1][t] as usize, inputs[2][t]);
                    let gx = &mut gx[position * self.inner..][..self.inner];
                    gx.iter_mut().zip(gy).for_each(|(gx, gy)| *gx += weight * gy);
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
        };
        Dispatch {
            overrides: Vec::new(),
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, (outer, axis, out, inner): (usize, usize, usize, usize), taps, lost: usize| {
        let kernel = ResampleGradient { outer, axis, out, inner, taps };
        let [gy, table, _] = kernel.input_lens()[..] else { unreachable!("three inputs") };
        let mut positions: Vec<f32> = (0..table).map(|t| ((t * 7) % axis) as f32).collect();
        // Only the first position marks an element outside of the axis.
        positions.iter_mut().step_by(taps).take(lost).for_each(|position| *position = -1.0);
        let inputs = vec![noise(gy, 1), positions, noise(table, 2)];
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
