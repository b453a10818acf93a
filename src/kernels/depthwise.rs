//! Depthwise convolution: every input channel has filters of its own.
//!
//! There is no sum over channels to share operands over, so a tile of pixels × channels gains nothing: an
//! invocation takes a few pixels of one channel, and the host a plane.

use std::sync::Arc;

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::activation::Activation;
use super::depthwise_texels::Texels;
use super::way::Adapters::Software;
use super::way::Way;
use super::{
    Case, Dispatch, Kernel, Row, TIMED_BATCH, grid, layout, noise_case, shader, uniform, word, words,
};
use crate::compare::Tolerance;

/// A convolution with as many groups as input channels.
///
/// Inputs: `x [batch, channels, h, w]`, `weights [channels · multiplier, 1, kh, kw]` (constant),
/// `bias [channels · multiplier]` (constant). Output: `[batch, channels · multiplier, oh, ow]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Depthwise {
    /// Images.
    pub batch: usize,
    /// Channels of `x`.
    pub channels: usize,
    /// Output channels for each input channel, at least 1.
    pub multiplier: usize,
    /// Height and width of `x`.
    pub in_hw: [usize; 2],
    /// Height and width of `y`.
    pub out_hw: [usize; 2],
    /// Height and width of a filter.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Steps between the taps of a filter.
    pub dilation: [usize; 2],
    /// Zeros before the first row and column. Those after the last follow from `out_hw`.
    pub pad: [usize; 2],
    /// Applied to each sum.
    pub activation: Activation,
}

/// Pixels of an invocation.
const TILE: usize = 4;

impl Depthwise {
    fn in_plane(&self) -> usize {
        self.in_hw.iter().product()
    }

    fn out_plane(&self) -> usize {
        self.out_hw.iter().product()
    }

    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    fn filters(&self) -> usize {
        self.channels * self.multiplier
    }
}

uniform! {
    len: u32,
    tiles: u32,
    in_hw: [u32; 2],
    out_hw: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad: [u32; 2],
    filters: u32,
    multiplier: u32,
    act_a: f32,
    act_b: f32,
}

/// The kernel's row.
pub static ROW: Row = Row {
    name: "depthwise",
    shader: shader!("depthwise", "activation"),
    doc: "convolution of each channel by itself",
    params: Params::FIELDS,
    params_size: Params::SIZE,
    cases,
};

impl Kernel for Depthwise {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.batch * self.channels * self.in_plane(), self.filters() * self.taps(), self.filters()]
    }

    fn output_len(&self) -> usize {
        self.batch * self.filters() * self.out_plane()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let ([h, w], [kh, kw]) = (self.in_hw, self.kernel);
        for (at, y) in output.iter_mut().enumerate() {
            let (plane, pixel) = (at / self.out_plane(), at % self.out_plane());
            let (image, filter) = (plane / self.filters(), plane % self.filters());
            let channel = image * self.channels + filter / self.multiplier;
            let (oy, ox) = (pixel / self.out_hw[1], pixel % self.out_hw[1]);
            let mut sum = inputs[2][filter];
            for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                // In coordinates that start with the padding.
                let (py, px) = (
                    oy * self.stride[0] + ky * self.dilation[0],
                    ox * self.stride[1] + kx * self.dilation[1],
                );
                let ([top, left], [bottom, right]) = (self.pad, [self.pad[0] + h, self.pad[1] + w]);
                if (top..bottom).contains(&py) && (left..right).contains(&px) {
                    let weight = inputs[1][(filter * kh + ky) * kw + kx];
                    sum += weight * inputs[0][(channel * h + py - top) * w + px - left];
                }
            }
            *y = self.activation.apply_f64(sum);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let ([h, w], [oh, ow]) = (self.in_hw, self.out_hw);
        let (down, right) = (self.stride[0], self.stride[1]);
        output.par_chunks_mut(oh * ow).enumerate().for_each(|(plane, y)| {
            let (image, filter) = (plane / self.filters(), plane % self.filters());
            let channel = image * self.channels + filter / self.multiplier;
            let x = &inputs[0][channel * h * w..][..h * w];
            y.fill(inputs[2][filter]);
            for tap in 0..self.taps() {
                // A tap's weight is added, times a row of the input, to a row of the output.
                let weight = inputs[1][filter * self.taps() + tap];
                let shift =
                    |axis: usize, tap: usize| (tap * self.dilation[axis]) as isize - self.pad[axis] as isize;
                let (ky, kx) = (shift(0, tap / self.kernel[1]), shift(1, tap % self.kernel[1]));
                let columns = layout::inside(kx, right, w, ow);
                if columns.is_empty() {
                    continue;
                }
                for oy in layout::inside(ky, down, h, oh) {
                    let iy = ((oy * down) as isize + ky) as usize;
                    let ix = ((columns.start * right) as isize + kx) as usize;
                    let source = &x[iy * w + ix..(iy + 1) * w];
                    let target = &mut y[oy * ow..][columns.clone()];
                    if right == 1 {
                        target.iter_mut().zip(source).for_each(|(t, &s)| *t += weight * s);
                    } else {
                        let source = source.iter().step_by(right);
                        target.iter_mut().zip(source).for_each(|(t, &s)| *t += weight * s);
                    }
                }
            }
            self.activation.apply_slice(y);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        let tiles = self.out_plane().div_ceil(TILE);
        let len = self.batch * self.filters() * tiles;
        let params = Params {
            len: word(len),
            tiles: word(tiles),
            in_hw: words(self.in_hw),
            out_hw: words(self.out_hw),
            kernel: words(self.kernel),
            stride: words(self.stride),
            dilation: words(self.dilation),
            pad: words(self.pad),
            filters: word(self.filters()),
            multiplier: word(self.multiplier),
            act_a,
            act_b,
        };
        Dispatch {
            overrides: vec![("ACT", self.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn ways(&self) -> Vec<Way> {
        let texels = || Way::one("texels", Some(Software), Texels { depthwise: self.clone() });
        Texels::applies(self).then(texels).into_iter().collect()
    }

    fn timed_as(&self) -> Option<Arc<dyn Kernel>> {
        Some(Arc::new(Self { batch: TIMED_BATCH, ..self.clone() }))
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

fn cases() -> Vec<Case> {
    calls().into_iter().map(|(label, depthwise)| noise_case(label, depthwise)).collect()
}

/// Awkward calls.
pub(super) fn calls() -> Vec<(&'static str, Depthwise)> {
    let plain = Depthwise {
        batch: 1,
        channels: 5,
        multiplier: 1,
        in_hw: [9, 7],
        out_hw: [9, 7],
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [1, 1],
        activation: Activation::None,
    };
    vec![
        ("3×3, padded", plain.clone()),
        (
            "one of everything",
            Depthwise {
                channels: 1,
                in_hw: [1, 1],
                out_hw: [1, 1],
                kernel: [1, 1],
                pad: [0, 0],
                ..plain.clone()
            },
        ),
        (
            "stride 2 on an odd plane, batch 3, Relu6",
            Depthwise {
                batch: 3,
                channels: 17,
                out_hw: [5, 4],
                stride: [2, 2],
                activation: Activation::Clip(0.0, 6.0),
                ..plain.clone()
            },
        ),
        (
            "three filters a channel, asymmetric padding",
            Depthwise { batch: 2, channels: 3, multiplier: 3, out_hw: [9, 6], pad: [2, 0], ..plain.clone() },
        ),
        (
            "dilated, axes unlike",
            Depthwise {
                out_hw: [9, 2],
                kernel: [2, 3],
                dilation: [4, 2],
                stride: [1, 3],
                pad: [2, 1],
                ..plain.clone()
            },
        ),
        (
            "rows of more than one tile, no padding",
            Depthwise { channels: 2, in_hw: [21, 23], out_hw: [19, 21], pad: [0, 0], ..plain.clone() },
        ),
        (
            "stride 2, rows of more than one tile",
            Depthwise {
                batch: 2,
                channels: 3,
                in_hw: [36, 22],
                out_hw: [18, 11],
                stride: [2, 2],
                ..plain.clone()
            },
        ),
        (
            "a filter as large as the plane",
            Depthwise { out_hw: [1, 1], kernel: [9, 7], pad: [0, 0], ..plain.clone() },
        ),
        ("padding wider than the image", Depthwise { in_hw: [1, 2], out_hw: [5, 6], pad: [3, 3], ..plain }),
    ]
}
