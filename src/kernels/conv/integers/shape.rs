//! The parameters of a convolution of integers.

use crate::kernels::conv::shape::ConvKernel;

/// A convolution of 8-bit integers, `y[n, o] = act(scale[o] · (bias[o] + Σ w[o, c, ..] · (x[n, c, ..] - zero)))`.
///
/// Inputs: those of the convolution, which has no residual, then `scale [out_channels]`. `x` and `weights` hold integers, the
/// weights from -128 to 127; the bias need not be one. Output: that of the convolution. In the padding `x` is zero.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerConv {
    /// The convolution, without residual.
    pub conv: ConvKernel,
    /// True if `x` holds integers from -128 to 127, false from 0 to 255.
    pub signed: bool,
    /// The integer that stands for zero.
    pub zero: i32,
}

/// The longest filter whose sums fit 32 bits.
const LONGEST: usize = i32::MAX as usize / (255 * 128);

impl IntegerConv {
    /// Returns whether the sums of a convolution fit 32 bits, and it has several pixels to share the weights.
    ///
    /// Convolutions of single pixels are dominated by reading the weights.
    pub fn applies(conv: &ConvKernel) -> bool {
        !conv.residual && conv.depth() <= LONGEST && conv.out_plane() > 1
    }
}
