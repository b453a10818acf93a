//! The parameters of a convolution.

use crate::kernels::activation::Activation;
use crate::kernels::window::Windows;

/// ONNX's Conv, `y[n, o] = act(bias[o] + Σ w[o, c, i, j] · x[n, c, ..] (+ residual[n, o]))`.
///
/// Inputs: `x [batch, in_channels, h, w]`, `weights [out_channels, in_channels / groups, kh, kw]` (constant), `bias
/// [out_channels]` (constant), and optionally a residual with the shape of the output. Output: `[batch, out_total,
/// oh, ow]`, of which the channels `out_offset .. out_offset + out_channels` are written. A product with a constant
/// matrix is a 1×1 convolution of single pixels, with the rows as batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvKernel {
    /// Number of images in the batch.
    pub batch: usize,
    /// Number of groups; if more than one, `out_offset` is 0 and `out_total` is `out_channels`.
    pub groups: usize,
    /// Channels of `x`, over all groups.
    pub in_channels: usize,
    /// Channels that this call computes, over all groups.
    pub out_channels: usize,
    /// Placement of the windows on a plane of `x`.
    pub windows: Windows,
    /// First channel of the output buffer that this call writes.
    pub out_offset: usize,
    /// Channels of the output buffer.
    pub out_total: usize,
    /// True if a residual is added.
    pub residual: bool,
    /// Activation applied to each sum.
    pub activation: Activation,
}

/// A range of the images of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageRange {
    /// Index of the first image.
    pub(crate) first: usize,
    /// Number of images in the range.
    pub(crate) count: usize,
}

impl ConvKernel {
    pub(crate) fn in_plane(&self) -> usize {
        self.windows.pixels()
    }

    pub(crate) fn out_plane(&self) -> usize {
        self.windows.positions()
    }

    pub(crate) fn taps(&self) -> usize {
        self.windows.taps()
    }

    /// Input channels of a group.
    pub(crate) fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of a group.
    pub(crate) fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Number of products in a sum: the length of a filter.
    pub(crate) fn depth(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Returns whether the im2col matrix equals the input.
    pub(crate) fn pointwise(&self) -> bool {
        self.windows.are_points()
    }

    /// The convolution without residual and activation.
    pub(crate) fn sums(&self) -> Self {
        Self { residual: false, activation: Activation::None, ..self.clone() }
    }

    /// Packs rows of `tile` numbers, one for each channel, for every channel tile of every group. Incomplete tiles
    /// are padded with zeros. `at` returns the number of an output channel in a row.
    pub(crate) fn tiled<R: Copy>(
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

    /// Packs weights as `[groups, channel tiles, taps, input channels, tile]` and the bias as `[groups, channel
    /// tiles, tile]`. Incomplete tiles are padded with zeros.
    pub(crate) fn pack_tiles(&self, tile: usize, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        let (group_in, taps) = (self.group_in(), self.taps());
        let rows = (0..taps).flat_map(move |tap| (0..group_in).map(move |c| (tap, c)));
        match input {
            1 => Some(self.tiled(tile, rows, |o, (tap, c)| data[(o * group_in + c) * taps + tap])),
            2 => Some(self.tiled(tile, 0..1, |o, _| data[o])),
            _ => None,
        }
    }
}
