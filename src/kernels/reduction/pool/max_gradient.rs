//! The gradient of maximum pooling.

use bytemuck::bytes_of;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{LANES, PoolKernel, PoolKind, TASK, shapes};
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::host::padded_rows::PaddedRows;
use crate::kernels::host::scratch;
use crate::kernels::instructions;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::{Windows, WindowsUniform};

/// Adds the gradient of each window to its first maximum, in the order of the window's rows.
///
/// Inputs: `x [planes, h, w]`, `y` and `gy`, both `[planes, oh, ow]`. Output: as `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPoolGradient {
    /// Number of planes: images times channels.
    pub planes: usize,
    /// Placement of the windows on a plane.
    pub windows: Windows,
}

/// Propagates the gradient of a plane.
struct Propagate<'a> {
    windows: Windows,
    padded: PaddedRows,
    x: &'a [f32],
    y: &'a [f32],
    gy: &'a [f32],
    gx: &'a mut [f32],
    /// Positions of the taps in the padded rows.
    taps: &'a [usize],
    room: &'a mut [f32],
}

impl WithSimd for Propagate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, gx) = self.room.split_at_mut(self.padded.len() + LANES);
        // A NaN is no maximum.
        self.padded.fill(&self.windows, self.x, f32::NAN, x);
        gx.fill(0.0);
        let (step, ow) = (self.windows.stride[0] * self.padded.row_len(), self.windows.out_hw[1]);
        for (row, (y, gy)) in self.y.chunks_exact(ow).zip(self.gy.chunks_exact(ow)).enumerate() {
            for (part, (y, gy)) in y.chunks(S::F32_LANES).zip(gy.chunks(S::F32_LANES)).enumerate() {
                let first = row * step + part * S::F32_LANES;
                let (most, mut left) = (simd.partial_load_f32s(y), simd.partial_load_f32s(gy));
                for tap in self.taps {
                    let at = first + tap;
                    let seen = S::as_simd_f32s(&x[at..][..S::F32_LANES]).0[0];
                    let sum = &mut S::as_mut_simd_f32s(&mut gx[at..][..S::F32_LANES]).0[0];
                    let is_most = simd.equal_f32s(seen, most);
                    let zero = simd.splat_f32s(0.0);
                    *sum = simd.add_f32s(*sum, simd.select_f32s(is_most, left, zero));
                    left = simd.select_f32s(is_most, zero, left);
                }
            }
        }
        self.padded.read(&self.windows, gx, self.gx);
    }
}

uniform! { windows: WindowsUniform, len: u32, unused: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "max_pool_gradient",
    file: "reduction/max_pool_gradient",
    shared: ["windows", "quotient", "covering"],
    doc: "gradient of maximum pooling",
};

impl Kernel for MaxPoolGradient {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let windows = self.planes * self.windows.positions();
        vec![self.output_len(), windows, windows]
    }

    fn output_len(&self) -> usize {
        self.planes * self.windows.pixels()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        output.fill(0.0);
        let [w, ow] = [self.windows.in_hw[1], self.windows.out_hw[1]];
        let kernel = self.windows.kernel;
        for (window, (&y, &gy)) in inputs[1].iter().zip(inputs[2]).enumerate() {
            let (plane, window) = (window / self.windows.positions(), window % self.windows.positions());
            let taps = (0..kernel[0]).flat_map(|ty| (0..kernel[1]).map(move |tx| (ty, tx)));
            let mut places = taps.filter_map(|(ty, tx)| {
                let row = self.windows.at(0, window / ow, ty)?;
                Some(plane * self.windows.pixels() + row * w + self.windows.at(1, window % ow, tx)?)
            });
            if let Some(first) = places.find(|&at| inputs[0][at] == y) {
                output[first] += gy;
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (windows, plane) = (self.windows, self.windows.positions());
        if output.is_empty() || plane == 0 {
            return output.fill(0.0);
        }
        let padded = PaddedRows::of(&windows, 0, plane);
        let taps: Vec<usize> = (0..windows.taps()).map(|tap| padded.tap(&windows, tap)).collect();
        let arch = instructions::arch();
        let pixels = windows.pixels();
        let of_windows = inputs[1].par_chunks(plane).zip(inputs[2].par_chunks(plane));
        let planes = output.par_chunks_mut(pixels).zip(inputs[0].par_chunks(pixels)).zip(of_windows);
        planes.with_min_len(1 + TASK / (plane * taps.len())).for_each(|((gx, x), (y, gy))| {
            scratch::with(2 * (padded.len() + LANES), |room| {
                arch.dispatch(Propagate { windows, padded, x, y, gy, gx, taps: &taps, room });
            });
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params { windows: self.windows.words(), len: word(self.output_len()), unused: 0 };
        Dispatch {
            overrides: Vec::new(),
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::ELEMENTWISE
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, planes, windows, pad_end| {
        // Coarse steps, so that some elements are equal.
        let pool = PoolKernel { kind: PoolKind::Max, planes, windows, pad_end };
        let x: Vec<f32> = noise(pool.input_lens()[0], 1).iter().map(|x| (x * 2.0).round()).collect();
        let mut y = vec![0.0; pool.output_len()];
        pool.cpu(&[&x], &mut y);
        let inputs = vec![x, y, noise(pool.output_len(), 2)];
        let kernel = std::sync::Arc::new(MaxPoolGradient { planes, windows });
        Case { label: label.to_owned(), kernel, inputs }
    };
    shapes().map(|(label, planes, windows, pad_end)| case(label, planes, windows, pad_end)).into()
}
