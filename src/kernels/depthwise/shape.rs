//! The parameters of a depthwise convolution.

use crate::kernels::activation::Activation;
use crate::kernels::window::Windows;

/// A convolution with as many groups as input channels.
///
/// Inputs: `x [batch, channels, h, w]`, `weights [channels · multiplier, 1, kh, kw]` (constant), `bias [channels ·
/// multiplier]` (constant). Output: `[batch, channels · multiplier, oh, ow]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Depthwise {
    /// Number of images in the batch.
    pub batch: usize,
    /// Number of channels of `x`.
    pub channels: usize,
    /// Output channels for each input channel, at least 1.
    pub multiplier: usize,
    /// Placement of the windows on a plane of `x`.
    pub windows: Windows,
    /// Activation applied to each sum.
    pub activation: Activation,
}

impl Depthwise {
    pub(crate) fn in_plane(&self) -> usize {
        self.windows.pixels()
    }

    pub(crate) fn out_plane(&self) -> usize {
        self.windows.positions()
    }

    pub(crate) fn taps(&self) -> usize {
        self.windows.taps()
    }

    pub(crate) fn filters(&self) -> usize {
        self.channels * self.multiplier
    }
}
