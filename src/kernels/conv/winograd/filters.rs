//! The filters of Winograd's 36 batched products.

use crate::kernels::activation::Activation;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::winograd::transform::{PRODUCTS, spread};
use crate::kernels::kernel::Kernel;
use crate::kernels::window::Windows;

/// The source of a product's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterSource {
    /// The filters are given directly.
    Given,
    /// The filters are computed as `G g Gᵀ` from given 3×3 filters `g`. The call has one group for each of the 36
    /// elements, and no bias, which the last transform adds.
    Winograd,
}

impl FilterSource {
    /// [`Kernel::input_lens`] of a convolution with these filters.
    pub(crate) fn input_lens(self, conv: &ConvKernel) -> Vec<usize> {
        let mut lens = conv.input_lens();
        if self == Self::Winograd {
            lens[1] = lens[1] / PRODUCTS * 9;
            lens[2] /= PRODUCTS;
        }
        lens
    }

    /// [`Kernel::reference`] of a convolution with these filters.
    pub(crate) fn reference(self, conv: &ConvKernel, inputs: &[&[f64]], output: &mut [f64]) {
        match self {
            Self::Given => conv.reference(inputs, output),
            Self::Winograd => {
                let filters = spread(inputs[1]);
                conv.reference(&[inputs[0], &filters, &vec![0.0; conv.out_channels]], output);
            }
        }
    }

    /// [`Kernel::pack`] for tiles of `tile` channels. `weights` packs filters that are given directly.
    pub(crate) fn pack(
        self,
        conv: &ConvKernel,
        input: usize,
        data: &[f32],
        tile: usize,
        weights: impl Fn(&ConvKernel, &[f32]) -> Vec<f32>,
    ) -> Option<Vec<f32>> {
        let bias = |data: &[f32]| conv.tiled(tile, 0..1, |o, _| data[o]);
        match (input, self) {
            (1, Self::Given) => Some(weights(conv, data)),
            (1, Self::Winograd) => {
                let wide: Vec<f64> = data.iter().map(|&w| w.into()).collect();
                let spread: Vec<f32> = spread(&wide).into_iter().map(|w| w as f32).collect();
                Some(weights(conv, &spread))
            }
            (2, Self::Given) => Some(bias(data)),
            (2, Self::Winograd) => Some(bias(&vec![0.0; conv.out_channels])),
            _ => None,
        }
    }
}

/// The 36 products over `columns` columns, as a grouped 1×1 convolution.
pub(crate) fn product(in_channels: usize, out_channels: usize, columns: usize) -> ConvKernel {
    ConvKernel {
        batch: 1,
        groups: PRODUCTS,
        in_channels: PRODUCTS * in_channels,
        out_channels: PRODUCTS * out_channels,
        windows: Windows::points([1, columns]),
        out_offset: 0,
        out_total: PRODUCTS * out_channels,
        residual: false,
        activation: Activation::None,
    }
}
