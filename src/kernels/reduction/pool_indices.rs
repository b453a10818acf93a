//! The second output of MaxPool: where each window has its maximum.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::gradient::Gradient;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::volume::{VolumeUniform, VolumeWindows, awkward};

/// Index of the largest element of each window, the first of equal ones.
///
/// A NaN counts as larger than all numbers. Input: `[planes, d, h, w]`, less than 2²⁴ elements. Output: `[planes, od, oh, ow]`, indices of the flat input. A
/// window that covers only padding has index -1.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolIndices {
    /// Number of planes or volumes: images times channels.
    pub planes: usize,
    /// Placement of the windows on a plane.
    pub windows: VolumeWindows,
    /// True if the first spatial axis varies fastest within a plane.
    pub column_major: bool,
}

uniform! { len: u32, positions: u32, unused: [u32; 2], windows: VolumeUniform }

pub(crate) static ROW: KernelRow = row! {
    name: "pool_indices",
    file: "reduction/pool_indices",
    shared: ["volumes", "nan"],
    doc: "indices of the maxima of windows",
};

impl PoolIndices {
    /// Implements both host versions: comparisons are exact in any precision.
    fn find<T: Copy + PartialOrd>(&self, x: &[T], at: usize) -> f64 {
        let windows = &self.windows;
        let (plane, window) = (at / windows.positions(), at % windows.positions());
        let x = &x[plane * windows.elements()..][..windows.elements()];
        let mut best: Option<(T, [usize; 3])> = None;
        for coordinates in (0..windows.taps()).filter_map(|tap| windows.coordinates(window, tap)) {
            let [d, h, w] = coordinates;
            let value = x[(d * windows.input[1] + h) * windows.input[2] + w];
            // A NaN is not equal to itself.
            let is_nan = value.partial_cmp(&value).is_none();
            if best.is_none_or(|(most, _)| value > most || is_nan) {
                best = Some((value, coordinates));
            }
        }
        let Some((_, [d, h, w])) = best else { return -1.0 };
        let [depth, height, width] = windows.input;
        let place = match self.column_major {
            true => d + (h + w * height) * depth,
            false => (d * height + h) * width + w,
        };
        (plane * windows.elements() + place) as f64
    }
}

impl Kernel for PoolIndices {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.planes * self.windows.elements()]
    }

    fn output_len(&self) -> usize {
        self.planes * self.windows.positions()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        output.iter_mut().enumerate().for_each(|(at, y)| *y = self.find(inputs[0], at));
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        output.par_iter_mut().enumerate().for_each(|(at, y)| *y = self.find(inputs[0], at) as f32);
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.output_len()),
            positions: word(self.windows.positions()),
            unused: [0; 2],
            windows: self.windows.words(),
        };
        Dispatch {
            overrides: vec![("COLUMN_MAJOR", f64::from(u8::from(self.column_major)))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn gradient(&self, _input: usize) -> Gradient {
        Gradient::Zero
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (label, windows) in awkward() {
        for (planes, column_major) in [(1, false), (7, false), (5, true)] {
            let kernel = PoolIndices { planes, windows, column_major };
            let mut case =
                noise_case(format!("{label}, {planes} planes, columns first {column_major}"), kernel);
            // Coarse steps, so that some elements are equal.
            case.inputs[0].iter_mut().for_each(|x| *x = (*x * 3.0).round());
            case.inputs[0].iter_mut().skip(11).step_by(29).for_each(|x| *x = f32::NAN);
            cases.push(case);
        }
    }
    let windows = VolumeWindows {
        input: [1, 2, 2],
        output: [1, 3, 3],
        kernel: [1, 2, 2],
        stride: [1, 2, 2],
        dilation: [1; 3],
        pad: [0, 2, 2],
    };
    cases
        .push(noise_case("windows of padding only", PoolIndices { planes: 2, windows, column_major: false }));
    cases
}
