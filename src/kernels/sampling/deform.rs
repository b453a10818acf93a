//! The im2col matrix of ONNX's DeformConv: every tap of a window is sampled at a place of its own.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::{Windows, WindowsUniform};

/// Samples every tap by linear interpolation, from `x [batch, channels, h, w]` to `[batch, channels, taps, oh, ow]`.
///
/// Inputs: x and `offsets [batch, groups, taps, 2, oh, ow]` (down, right). Elements outside of the image are zero.
#[derive(Clone, Debug, PartialEq)]
pub struct DeformUnfold {
    /// Number of images in the batch.
    pub batch: usize,
    /// Channels of each image.
    pub channels: usize,
    /// Groups of channels that share offsets.
    pub groups: usize,
    /// Placement of the windows before they are deformed.
    pub windows: Windows,
}

impl DeformUnfold {
    /// Implements both host versions, in double precision.
    fn value<T: Copy + Into<f64>>(&self, inputs: &[&[T]], at: usize) -> f64 {
        let w = &self.windows;
        let (positions, taps, [height, width]) = (w.positions(), w.taps(), w.in_hw);
        let (row, window) = (at / positions, at % positions);
        let (plane, tap) = (row / taps, row % taps);
        let (image, channel) = (plane / self.channels, plane % self.channels);
        let group = image * self.groups + channel / (self.channels / self.groups);
        let offset = |axis: usize| inputs[1][((group * taps + tap) * 2 + axis) * positions + window].into();
        let place = |axis: usize, window: usize, tap: usize| {
            (window * w.stride[axis] + tap * w.dilation[axis]) as f64 - w.pad[axis] as f64 + offset(axis)
        };
        let y = place(0, window / w.out_hw[1], tap / w.kernel[1]);
        let x = place(1, window % w.out_hw[1], tap % w.kernel[1]);
        let (top, left) = (y.floor(), x.floor());
        let (v, u) = (y - top, x - left);
        let image = &inputs[0][plane * height * width..][..height * width];
        let element = |row: f64, column: f64, weight: f64| {
            let inside = row >= 0.0 && row < height as f64 && column >= 0.0 && column < width as f64;
            // The weight stays a factor, so that a NaN among the offsets yields NaN.
            weight * if inside { image[row as usize * width + column as usize].into() } else { 0.0 }
        };
        element(top, left, (1.0 - v) * (1.0 - u))
            + element(top, left + 1.0, (1.0 - v) * u)
            + element(top + 1.0, left, v * (1.0 - u))
            + element(top + 1.0, left + 1.0, v * u)
    }
}

uniform! {
    len: u32,
    channels: u32,
    groups: u32,
    unused: u32,
    windows: WindowsUniform,
}

pub(crate) static ROW: KernelRow = row! {
    name: "deform_unfold",
    file: "sampling/deform_unfold",
    shared: ["windows"],
    doc: "the samples of deformed windows",
};

impl Kernel for DeformUnfold {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let samples = self.batch * self.groups * self.windows.taps() * self.windows.positions();
        vec![self.batch * self.channels * self.windows.pixels(), 2 * samples]
    }

    fn output_len(&self) -> usize {
        self.batch * self.channels * self.windows.taps() * self.windows.positions()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        output.iter_mut().enumerate().for_each(|(at, y)| *y = self.value(inputs, at));
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        output.par_iter_mut().enumerate().for_each(|(at, y)| *y = self.value(inputs, at) as f32);
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.output_len()),
            channels: word(self.channels),
            groups: word(self.groups),
            unused: 0,
            windows: self.windows.words(),
        };
        Dispatch {
            overrides: Vec::new(),
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn tolerance(&self) -> Tolerance {
        // A rounding of a place moves a sample between elements.
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let windows = Windows {
        in_hw: [7, 9],
        out_hw: [5, 4],
        kernel: [3, 2],
        stride: [1, 2],
        dilation: [2, 3],
        pad: [1, 1],
    };
    let mut cases = Vec::new();
    for (label, batch, channels, groups, windows) in [
        ("one element", 1, 1, 1, Windows::points([1, 1])),
        ("stride, dilation and padding", 2, 3, 1, windows),
        ("a group of offsets for each channel", 1, 5, 5, windows),
        ("a row", 2, 2, 1, Windows::points([1, 67])),
        ("two groups of offsets", 3, 4, 2, windows),
    ] {
        let mut case = noise_case(label, DeformUnfold { batch, channels, groups, windows });
        // Offsets of up to 3, which leave the image.
        case.inputs[1].iter_mut().for_each(|offset| *offset *= 3.0);
        cases.push(case);
    }
    cases
}
