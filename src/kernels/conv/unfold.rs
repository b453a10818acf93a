//! The im2col matrix of a convolution, which turns any convolution into a matrix product.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::binding::InputBinding;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::shape::{ConvKernel, ImageRange};
use crate::kernels::conv::test_cases::parts;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::WindowsUniform;

/// The im2col matrix of some images.
///
/// Input: `x` of the convolution, all images. Output: `[in_channels · taps, columns]`; the columns after the first
/// `count · pixels` are zero.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unfold {
    /// The convolution whose windows are unfolded.
    pub(crate) conv: ConvKernel,
    /// The images whose windows are unfolded.
    pub(crate) images: ImageRange,
}

/// Columns of the matrix: whole quads of pixels.
pub(crate) fn columns(conv: &ConvKernel, images: usize) -> usize {
    (images * conv.out_plane()).next_multiple_of(4)
}

/// Number of elements of the matrix.
pub(crate) fn len(conv: &ConvKernel, images: usize) -> usize {
    conv.in_channels * conv.taps() * columns(conv, images)
}

uniform! {
    len: u32,
    pixels: u32,
    quads: u32,
    channels: u32,
    windows: WindowsUniform,
    first: u32,
    unused: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "unfold",
    file: "conv/unfold",
    shared: ["windows", "quotient", "texels", "pixels"],
    doc: "im2col matrix of a convolution",
};

impl Kernel for Unfold {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.conv.input_lens()[0]]
    }

    fn output_len(&self) -> usize {
        len(&self.conv, self.images.count)
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let conv = &self.conv;
        let ([h, w], [oh, ow], windows) = (conv.windows.in_hw, conv.windows.out_hw, conv.windows);
        let columns = columns(conv, self.images.count);
        for row in 0..conv.in_channels * conv.taps() {
            let (channel, tap) = (row / conv.taps(), row % conv.taps());
            let (ky, kx) = (tap / conv.windows.kernel[1], tap % conv.windows.kernel[1]);
            output[row * columns..][..columns].fill(0.0);
            for pixel in 0..self.images.count * oh * ow {
                let (image, y, x) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
                let plane = (self.images.first + image) * conv.in_channels + channel;
                let seen = windows.at(0, y, ky).zip(windows.at(1, x, kx));
                output[row * columns + pixel] =
                    seen.map_or(0.0, |(iy, ix)| inputs[0][(plane * h + iy) * w + ix]);
            }
        }
    }

    fn dispatch(&self) -> Dispatch {
        let c = &self.conv;
        let pixels = self.images.count * c.out_plane();
        let quads = columns(c, self.images.count) / 4;
        let len = c.in_channels * quads;
        let params = Params {
            len: word(len),
            pixels: word(pixels),
            quads: word(quads),
            channels: word(c.in_channels),
            windows: c.windows.words(),
            first: word(self.images.first),
            unused: 0,
        };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(len) }
    }

    fn binding(&self, _input: usize) -> InputBinding {
        InputBinding::Texels(1)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    parts().into_iter().map(|(label, conv, images)| noise_case(label, Unfold { conv, images })).collect()
}
