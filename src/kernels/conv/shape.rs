//! A convolution as data.

use crate::kernels::activation::Activation;
use crate::kernels::window::Windows;

/// `y[n, o] = act(bias[o] + Σ w[o, c, i, j] · x[n, c, ..] (+ residual[n, o]))`, the cross-correlation that ONNX calls Conv.
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
    /// Whether there is an residual.
    pub residual: bool,
    /// Applied to each sum.
    pub activation: Activation,
}

/// A part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageRange {
    /// The first image.
    pub(crate) first: usize,
    /// How many.
    pub(crate) count: usize,
}

impl Conv {
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

    /// Products of a sum: the length of a filter.
    pub(crate) fn depth(&self) -> usize {
        self.group_in() * self.taps()
    }

    /// Whether the matrix of taps is the input itself.
    pub(crate) fn pointwise(&self) -> bool {
        self.windows.are_points()
    }

    /// The same without residual and activation.
    pub(crate) fn sums(&self) -> Self {
        Self { residual: false, activation: Activation::None, ..self.clone() }
    }

    /// Rows of `tile` numbers each, one a channel, for every tile of a group's channels; zeros where the last tile
    /// of a group is not full. `at` gives an output channel's number in a row.
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

    /// Weights as `[groups, channel tiles, taps, input channels, tile]` and the bias as `[groups, channel tiles, tile]`,
    /// with zeros for the channels that fill up a group's last tile.
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
