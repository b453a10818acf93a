//! Convolution with weights that the network computes, so that nothing can be packed or transformed in advance.

use bytemuck::bytes_of;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::volume::{VolumeUniform, VolumeWindows, awkward};

/// ONNX's Conv in up to three dimensions, `y[n, o] = bias[o] + Σ w[o, c, t] · x[n, c, ..]`, for computed weights.
///
/// Inputs: `x [batch, in_channels, d, h, w]`, `weights [out_channels, in_channels / groups, kd, kh, kw]` and `bias
/// [out_channels]`. Output: `[batch, out_channels, od, oh, ow]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ComputedConv {
    /// Number of images in the batch.
    pub batch: usize,
    /// Number of groups of channels.
    pub groups: usize,
    /// Channels of `x`, over all groups.
    pub in_channels: usize,
    /// Channels of the output, over all groups.
    pub out_channels: usize,
    /// Placement of the windows on a volume of `x`.
    pub windows: VolumeWindows,
}

/// Rows, and columns, of an invocation's tile.
const TILE: usize = 4;
/// Windows of a host task.
const BLOCK: usize = 512;

impl ComputedConv {
    fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Number of products in a sum.
    fn depth(&self) -> usize {
        self.group_in() * self.windows.taps()
    }

    /// Computes up to [`BLOCK`] windows of a group from `first` on, as `[group_out, windows]`.
    fn block(&self, x: &[f32], weights: &[f32], bias: &[f32], first: usize) -> Vec<f32> {
        let windows = &self.windows;
        let (taps, count) = (windows.taps(), BLOCK.min(windows.positions() - first));
        let places: Vec<Option<usize>> = (0..taps)
            .flat_map(|tap| (first..first + count).map(move |window| windows.element(window, tap)))
            .collect();
        let mut columns = vec![0.0; self.depth() * count];
        for (x, columns) in x.chunks(windows.elements()).zip(columns.chunks_mut(taps * count)) {
            for (value, place) in columns.iter_mut().zip(&places) {
                *value = place.map_or(0.0, |at| x[at]);
            }
        }
        let mut sums = vec![0.0; self.group_out() * count];
        let left = MatRef::from_row_major_slice(weights, self.group_out(), self.depth());
        let right = MatRef::from_row_major_slice(&columns, self.depth(), count);
        let target = MatMut::from_row_major_slice_mut(&mut sums, self.group_out(), count);
        matmul(target, Accum::Replace, left, right, 1.0, Par::Seq);
        for (sums, bias) in sums.chunks_mut(count).zip(bias) {
            sums.iter_mut().for_each(|sum| *sum += bias);
        }
        sums
    }
}

uniform! {
    len: u32,
    positions: u32,
    position_tiles: u32,
    channel_tiles: u32,
    windows: VolumeUniform,
    group_in: u32,
    group_out: u32,
    groups: u32,
    unused: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "conv_computed",
    file: "conv/computed",
    shared: ["volumes"],
    doc: "convolution with computed weights",
};

impl Kernel for ComputedConv {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let x = self.batch * self.in_channels * self.windows.elements();
        vec![x, self.out_channels * self.depth(), self.out_channels]
    }

    fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.windows.positions()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (positions, taps) = (self.windows.positions(), self.windows.taps());
        for (at, y) in output.iter_mut().enumerate() {
            let (channel, window) = (at / positions, at % positions);
            let (image, o) = (channel / self.out_channels, channel % self.out_channels);
            let first = image * self.in_channels + o / self.group_out() * self.group_in();
            *y = inputs[2][o];
            for (c, tap) in (0..self.group_in()).flat_map(|c| (0..taps).map(move |tap| (c, tap))) {
                if let Some(place) = self.windows.element(window, tap) {
                    let weight = inputs[1][(o * self.group_in() + c) * taps + tap];
                    *y += weight * inputs[0][(first + c) * self.windows.elements() + place];
                }
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let (positions, group_out) = (self.windows.positions(), self.group_out());
        let group_len = self.group_in() * self.windows.elements();
        output.par_chunks_mut(group_out * positions).enumerate().for_each(|(at, y)| {
            let first = at % self.groups * group_out;
            let x = &inputs[0][at * group_len..][..group_len];
            let weights = &inputs[1][first * self.depth()..][..group_out * self.depth()];
            let bias = &inputs[2][first..][..group_out];
            let starts = (0..positions).into_par_iter().step_by(BLOCK);
            let blocks: Vec<Vec<f32>> = starts.map(|start| self.block(x, weights, bias, start)).collect();
            for (number, block) in blocks.iter().enumerate() {
                let count = block.len() / group_out;
                for (y, sums) in y.chunks_mut(positions).zip(block.chunks(count)) {
                    y[number * BLOCK..][..count].copy_from_slice(sums);
                }
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let positions = self.windows.positions();
        let (position_tiles, channel_tiles) = (positions.div_ceil(TILE), self.group_out().div_ceil(TILE));
        let len = self.batch * self.groups * channel_tiles * position_tiles;
        let params = Params {
            len: word(len),
            positions: word(positions),
            position_tiles: word(position_tiles),
            channel_tiles: word(channel_tiles),
            windows: self.windows.words(),
            group_in: word(self.group_in()),
            group_out: word(self.group_out()),
            groups: word(self.groups),
            unused: 0,
        };
        Dispatch { overrides: Vec::new(), params: bytes_of(&params).to_vec(), workgroups: grid(len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let channels = [
        ("one channel", 1, 1, [1, 1]),
        ("a batch, no exact tile", 3, 1, [5, 7]),
        ("groups", 2, 3, [6, 15]),
        ("a group for each channel", 2, 9, [9, 9]),
    ];
    let mut cases = Vec::new();
    for (volume, windows) in awkward() {
        for (label, batch, groups, [in_channels, out_channels]) in channels {
            let kernel = ComputedConv { batch, groups, in_channels, out_channels, windows };
            cases.push(noise_case(format!("{label}, {volume}"), kernel));
        }
    }
    let windows = VolumeWindows {
        input: [1, 25, 27],
        output: [1, 25, 27],
        kernel: [1, 3, 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0, 1, 1],
    };
    let large = ComputedConv { batch: 2, groups: 1, in_channels: 17, out_channels: 19, windows };
    cases.push(noise_case("several blocks of windows", large));
    cases
}
