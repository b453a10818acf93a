//! Convolution, and with it every product with a constant matrix.
//!
//! Both fast faces are matrix products in disguise: output channels × pixels, summed over input channels
//! and taps. The shader's invocations each hold a tile of 8 pixels × 8 channels in registers and fetch
//! operands as they go ("implicit GEMM"); weights are packed so that the eight channels lie together.
//! The host has three: rows, Winograd's transform, and windows written out for the rest. Neither the order of any sum nor
//! the way the work is split depends on the batch, so an image gets the same bits in any company.

mod blocks;
mod host;
mod host_winograd;
mod rows;

use std::sync::Arc;

use bytemuck::bytes_of;
use rayon::prelude::*;

use self::host::Direct;
use self::host_winograd::{Large, Small};
use super::activation::Activation;
use super::unfold::Images;
use super::window::{Windows, Words};
use super::winograd;
use super::{Case, Dispatch, Kernel, Prepared, Row, TIMED_BATCH, grid, noise_case, shader, uniform, word};
use crate::compare::Tolerance;

/// `y[n, o] = act(bias[o] + Σ w[o, c, i, j] · x[n, c, ..] (+ addend[n, o]))`, the cross-correlation that ONNX calls Conv.
///
/// Inputs: `x [batch, in_channels, h, w]`, `weights [out_channels, in_channels / groups, kh, kw]`
/// (constant), `bias [out_channels]` (constant), and, where something is added (a residual), an array like the output.
/// Output: `[batch, out_total, oh, ow]`, of which the channels `out_offset .. out_offset + out_channels` are written.
/// A matrix product with a constant is the case with all sizes 1×1 and the rows as batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Images.
    pub batch: usize,
    /// Groups; with more than one, `out_offset` is 0 and `out_total` is `out_channels`.
    pub groups: usize,
    /// Channels of `x`, of all groups together.
    pub in_channels: usize,
    /// Channels that this call produces, of all groups together.
    pub out_channels: usize,
    /// Where the windows lie on a plane of `x`.
    pub windows: Windows,
    /// The first channel of the output buffer that this call writes.
    pub out_offset: usize,
    /// Channels of the output buffer.
    pub out_total: usize,
    /// Whether there is an addend.
    pub addend: bool,
    /// Applied to each sum.
    pub activation: Activation,
}

/// Pixels of an invocation's tile.
const TILE_PIXELS: usize = 8;
/// Output channels of an invocation's tile.
const TILE_CHANNELS: usize = 8;

impl Conv {
    pub(super) fn in_plane(&self) -> usize {
        self.windows.pixels()
    }

    pub(super) fn out_plane(&self) -> usize {
        self.windows.positions()
    }

    pub(super) fn taps(&self) -> usize {
        self.windows.taps()
    }

    /// Input channels of a group.
    pub(super) fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of a group.
    pub(super) fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Products of a sum: the length of a filter.
    pub(super) fn depth(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Whether the matrix of taps is the input itself.
    pub(super) fn pointwise(&self) -> bool {
        self.windows.are_points()
    }

    /// The same without addend and activation.
    fn sums(&self) -> Self {
        Self { addend: false, activation: Activation::None, ..self.clone() }
    }

    /// Rows of `tile` numbers each, one a channel, for every tile of a group's channels; zeros where the last tile
    /// of a group is not full. `at` gives an output channel's number in a row.
    pub(super) fn tiled<R: Copy>(
        &self,
        tile: usize,
        rows: impl Iterator<Item = R> + Clone,
        at: impl Fn(usize, R) -> f32,
    ) -> Vec<f32> {
        let (group_out, slots) = (self.group_out(), self.group_out().next_multiple_of(tile));
        let mut packed = Vec::new();
        for first in (0..self.groups * slots).step_by(tile) {
            let (group, slot) = (first / slots, first % slots);
            let real = tile.min(group_out - slot);
            for row in rows.clone() {
                let channel = group * group_out + slot;
                packed.extend((channel..channel + real).map(|o| at(o, row)));
                packed.resize(packed.len() + tile - real, 0.0);
            }
        }
        packed
    }

    /// Weights as `[groups, channel tiles, taps, input channels, tile]` and the bias as `[groups, channel tiles, tile]`,
    /// with zeros for the channels that fill up a group's last tile.
    pub(super) fn pack_tiles(&self, tile: usize, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        let (group_in, taps) = (self.group_in(), self.taps());
        let rows = (0..taps).flat_map(move |tap| (0..group_in).map(move |c| (tap, c)));
        match input {
            1 => Some(self.tiled(tile, rows, |o, (tap, c)| data[(o * group_in + c) * taps + tap])),
            2 => Some(self.tiled(tile, 0..1, |o, _| data[o])),
            _ => None,
        }
    }
}

uniform! {
    len: u32,
    pixels: u32,
    pixel_tiles: u32,
    channel_tiles: u32,
    windows: Words,
    group_in: u32,
    group_out: u32,
    groups: u32,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: u32,
}

/// The kernel's row.
pub static ROW: Row = Row {
    name: "conv",
    shader: shader!("conv", "windows", "nan", "activation"),
    doc: "convolution, and products with a constant matrix",
    params: Params::FIELDS,
    params_size: Params::SIZE,
    cases,
};

impl Kernel for Conv {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let x = self.batch * self.in_channels * self.in_plane();
        let addend = self.addend.then(|| self.output_len());
        [x, self.out_channels * self.depth(), self.out_channels].into_iter().chain(addend).collect()
    }

    fn addend(&self) -> Option<usize> {
        self.addend.then_some(3)
    }

    fn output_len(&self) -> usize {
        self.batch * self.out_total * self.out_plane()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let windows = self.windows;
        let ([h, w], [oh, ow], [kh, kw]) = (windows.in_hw, windows.out_hw, windows.kernel);
        for n in 0..self.batch {
            for o in 0..self.out_channels {
                let group = o / self.group_out();
                for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
                    let mut sum = inputs[2][o];
                    for c in 0..self.group_in() {
                        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                            if let (Some(iy), Some(ix)) = (windows.at(0, oy, ky), windows.at(1, ox, kx)) {
                                let channel = n * self.in_channels + group * self.group_in() + c;
                                let weight = inputs[1][((o * self.group_in() + c) * kh + ky) * kw + kx];
                                sum += weight * inputs[0][(channel * h + iy) * w + ix];
                            }
                        }
                    }
                    let channel = n * self.out_total + self.out_offset + o;
                    let at = (channel * oh + oy) * ow + ox;
                    let addend = if self.addend { inputs[3][at] } else { 0.0 };
                    output[at] = self.activation.apply_f64(sum + addend);
                }
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() || self.out_channels == 0 {
            return;
        }
        match self.prepare(&[None, Some(inputs[1]), Some(inputs[2])]) {
            Some(prepared) => prepared.run(inputs, output),
            None => self.cpu_rows(inputs[0], inputs[1], inputs[2], output),
        }
    }

    fn prepare(&self, constants: &[Option<&[f32]>]) -> Option<Box<dyn Prepared>> {
        let &[_, Some(weights), Some(bias), ..] = constants else { return None };
        if self.addend {
            Some(Box::new(Added { conv: self.clone(), sums: self.sums().prepare(&constants[..3]) }))
        } else if self.output_len() == 0
            || self.out_channels == 0
            || self.pointwise() && self.out_plane() == 1
        {
            None
        } else if Large::suits(self) {
            Some(Box::new(Large::new(self, weights, bias)))
        } else if Small::suits(self) {
            Some(Box::new(Small::new(self, weights, bias)))
        } else {
            Some(Box::new(Direct::new(self, weights, bias)))
        }
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        let pixels = self.batch * self.out_plane();
        let pixel_tiles = pixels.div_ceil(TILE_PIXELS);
        let channel_tiles = self.group_out().div_ceil(TILE_CHANNELS);
        let len = pixel_tiles * channel_tiles * self.groups;
        let params = Params {
            len: word(len),
            pixels: word(pixels),
            pixel_tiles: word(pixel_tiles),
            channel_tiles: word(channel_tiles),
            windows: self.windows.words(),
            group_in: word(self.group_in()),
            group_out: word(self.group_out()),
            groups: word(self.groups),
            out_offset: word(self.out_offset),
            out_total: word(self.out_total),
            act_a,
            act_b,
            unused: 0,
        };
        Dispatch {
            overrides: vec![("ACT", self.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        self.pack_tiles(TILE_CHANNELS, input, data)
    }

    fn timed_as(&self) -> Option<Arc<dyn Kernel>> {
        self.of_images(self.batch, TIMED_BATCH)
    }

    fn of_images(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        let kernel = Self { batch: images, ..self.clone() };
        (self.batch == batch).then(|| Arc::new(kernel) as _)
    }

    fn tolerance(&self) -> Tolerance {
        if winograd::applies(self) { Tolerance::WINOGRAD } else { Tolerance::SUMS }
    }
}

/// A convolution's sums, to which something is added when they are all there. A processor gains nothing by adding earlier:
/// a sum comes from its caches faster than a piece of another array does from memory.
struct Added {
    conv: Conv,
    sums: Option<Box<dyn Prepared>>,
}

impl Prepared for Added {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let conv = &self.conv;
        match &self.sums {
            Some(prepared) => prepared.run(&inputs[..3], output),
            None => conv.sums().cpu(&inputs[..3], output),
        }
        let (plane, of) = (conv.out_plane(), conv.out_total * conv.out_plane());
        let own = conv.out_offset * plane..(conv.out_offset + conv.out_channels) * plane;
        output.par_chunks_mut(of.max(1)).zip(inputs[3].par_chunks(of.max(1))).for_each(|(sums, addend)| {
            let sums = &mut sums[own.clone()];
            sums.iter_mut().zip(&addend[own.clone()]).for_each(|(sum, addend)| *sum += addend);
            conv.activation.apply_slice(sums);
        });
    }
}

fn cases() -> Vec<Case> {
    convs().into_iter().map(|(label, conv)| noise_case(label, conv)).collect()
}

/// Awkward calls, and the later half of their images.
pub(super) fn parts() -> Vec<(String, Conv, Images)> {
    let part = |(label, conv): (String, Conv)| {
        let images = Images { first: conv.batch / 2, count: conv.batch.div_ceil(2) };
        (label, conv, images)
    };
    convs().into_iter().map(part).collect()
}

/// Awkward calls, each with and without an addend.
pub(super) fn convs() -> Vec<(String, Conv)> {
    let with = |(label, conv): &(&str, Conv)| {
        (format!("{label}, and an addend"), Conv { addend: true, ..conv.clone() })
    };
    let plain = plain_convs();
    let added: Vec<(String, Conv)> = plain.iter().map(with).collect();
    plain.into_iter().map(|(label, conv)| (label.to_owned(), conv)).chain(added).collect()
}

/// Awkward calls without an addend.
pub(super) fn plain_convs() -> Vec<(&'static str, Conv)> {
    let plain = Conv {
        batch: 1,
        groups: 1,
        in_channels: 3,
        out_channels: 5,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([8, 8]) },
        out_offset: 0,
        out_total: 5,
        addend: false,
        activation: Activation::None,
    };
    let point = Conv { windows: Windows::points([8, 8]), ..plain.clone() };
    let rows = Conv { windows: Windows::points([1, 1]), ..point.clone() };
    vec![
        ("3×3, padded", plain.clone()),
        ("two channels more than whole steps of four", Conv { in_channels: 6, ..plain.clone() }),
        ("one of everything", Conv { in_channels: 1, out_channels: 1, out_total: 1, ..rows.clone() }),
        (
            "many pixels and channels, batch 3, Relu",
            Conv {
                batch: 3,
                in_channels: 17,
                out_channels: 67,
                out_total: 67,
                windows: Windows { in_hw: [33, 35], out_hw: [33, 35], ..plain.windows },
                activation: Activation::Relu,
                ..plain.clone()
            },
        ),
        (
            "stride 2, asymmetric padding, odd sizes",
            Conv {
                windows: Windows {
                    in_hw: [9, 11],
                    out_hw: [5, 5],
                    stride: [2, 2],
                    pad: [1, 0],
                    ..plain.windows
                },
                batch: 2,
                ..plain.clone()
            },
        ),
        (
            "7×7 with stride 2",
            Conv {
                windows: Windows {
                    in_hw: [31, 29],
                    out_hw: [16, 15],
                    kernel: [7, 7],
                    stride: [2, 2],
                    pad: [3, 3],
                    ..plain.windows
                },
                ..plain.clone()
            },
        ),
        (
            "dilated, strides of both axes unlike",
            Conv {
                windows: Windows {
                    out_hw: [11, 3],
                    kernel: [2, 3],
                    stride: [1, 3],
                    dilation: [3, 2],
                    pad: [1, 2],
                    ..Windows::points([13, 12])
                },
                ..plain.clone()
            },
        ),
        (
            "three groups of odd sizes",
            Conv { batch: 3, groups: 3, in_channels: 15, out_channels: 33, out_total: 33, ..plain.clone() },
        ),
        (
            "a part of a concatenation",
            Conv { batch: 2, out_channels: 9, out_offset: 4, out_total: 17, ..plain.clone() },
        ),
        (
            "padding wider than the image",
            Conv {
                windows: Windows { in_hw: [2, 1], out_hw: [6, 5], pad: [3, 3], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "1×1 over an odd plane",
            Conv {
                batch: 3,
                in_channels: 65,
                out_channels: 17,
                out_total: 17,
                windows: Windows::points([7, 7]),
                ..point.clone()
            },
        ),
        (
            "1×1 with stride 2",
            Conv { windows: Windows { out_hw: [4, 4], stride: [2, 2], ..Windows::points([7, 7]) }, ..point },
        ),
        (
            "a matrix product of 17 rows",
            Conv { batch: 17, in_channels: 33, out_channels: 129, out_total: 129, ..rows.clone() },
        ),
        (
            "a matrix product of whole tiles, Relu",
            Conv {
                batch: 4,
                in_channels: 64,
                out_channels: 32,
                out_total: 32,
                activation: Activation::Relu,
                ..rows.clone()
            },
        ),
        (
            "a part of a matrix product, in groups",
            Conv { batch: 3, groups: 2, in_channels: 10, out_channels: 6, out_total: 6, ..rows.clone() },
        ),
        (
            "a slice of a matrix product's columns",
            Conv { batch: 5, in_channels: 100, out_channels: 65, out_offset: 64, out_total: 130, ..rows },
        ),
        (
            "3×3 in tiles, odd sizes, no padding, a part of a concatenation",
            Conv {
                batch: 3,
                in_channels: 33,
                out_channels: 19,
                windows: Windows { in_hw: [19, 16], out_hw: [17, 14], pad: [0, 0], ..plain.windows },
                out_offset: 5,
                out_total: 30,
                activation: Activation::Clip(-1.0, 2.0),
                ..plain.clone()
            },
        ),
        (
            "3×3 in tiles, many channels, padded on one side",
            Conv {
                in_channels: 130,
                out_channels: 40,
                out_total: 40,
                windows: Windows { in_hw: [13, 70], out_hw: [13, 69], pad: [2, 0], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "a 1-D filter as long as its signal",
            Conv {
                windows: Windows {
                    in_hw: [1, 65],
                    out_hw: [1, 1],
                    kernel: [1, 65],
                    pad: [0, 0],
                    ..plain.windows
                },
                ..plain
            },
        ),
    ]
}
