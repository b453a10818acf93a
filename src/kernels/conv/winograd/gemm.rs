//! Winograd's batched GEMM by subgroups of 8 lanes over textures, for software adapters.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::binding::InputBinding;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::lanes::{CHANNELS, LANES, STEP};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::winograd::filters::{FilterSource, product};
use crate::kernels::conv::winograd::tiling::{BLOCK, GemmLayout};
use crate::kernels::conv::winograd::transform::{PRODUCTS, spread};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// 36 matrix products: for each, `channels` sums over `depth` rows of every column.
///
/// Inputs: 36 × depth × columns in the given layout; 3×3 filters `[channels, depth, 3, 3]`, which are transformed
/// when they are packed. Output: 36 × channels × columns in the given layout.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WinogradGemm {
    /// Number of input channels.
    pub(crate) depth: usize,
    /// Number of output channels.
    pub(crate) channels: usize,
    /// Layout of the input and the output.
    pub(crate) layout: GemmLayout,
}

uniform! {
    len: u32,
    blocks: u32,
    channel_tiles: u32,
    depth: u32,
    channels: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "winograd_gemm",
    file: "conv/winograd/gemm",
    shared: ["quotient", "texels", "outer", "broadcasts"],
    doc: "Winograd's batched GEMM, by broadcasts among 8 lanes, from textures",
};

impl WinogradGemm {
    fn conv(&self) -> ConvKernel {
        product(self.depth, self.channels, BLOCK)
    }
}

impl Kernel for WinogradGemm {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.layout.len(self.depth), 9 * self.channels * self.depth]
    }

    fn output_len(&self) -> usize {
        self.layout.len(self.channels)
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let filters = spread(inputs[1]);
        let layout = self.layout;
        for (product, filters) in filters.chunks_exact(self.depth * self.channels).enumerate() {
            for (o, filter) in filters.chunks_exact(self.depth).enumerate() {
                for column in 0..layout.blocks * layout.width {
                    let x = |c| inputs[0][layout.at(self.depth, product, c, column)];
                    output[layout.at(self.channels, product, o, column)] =
                        filter.iter().enumerate().map(|(c, w)| w * x(c)).sum();
                }
            }
        }
    }

    fn dispatch(&self) -> Dispatch {
        let channel_tiles = self.channels.div_ceil(CHANNELS);
        let len = self.layout.blocks * channel_tiles * PRODUCTS;
        let params = Params {
            len: word(len),
            blocks: word(self.layout.blocks),
            channel_tiles: word(channel_tiles),
            depth: word(self.depth),
            channels: word(self.channels),
        };
        Dispatch {
            overrides: vec![],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len * LANES as usize),
        }
    }

    fn packs(&self, input: usize) -> bool {
        matches!(input, 1 | 2)
    }

    /// Packs the weights as products × channel tiles × rows × 16 channels. Rows are padded with zeros to whole steps,
    /// channels to whole tiles.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        let weights = |conv: &ConvKernel, data: &[f32]| {
            let depth = self.depth;
            let at = |o: usize, c: usize| if c < depth { data[o * depth + c] } else { 0.0 };
            conv.tiled(CHANNELS, 0..depth.next_multiple_of(STEP), at)
        };
        FilterSource::Winograd.pack(&self.conv(), input, data, CHANNELS, weights)
    }

    fn packs_by_moving(&self) -> bool {
        false
    }

    fn binding(&self, _input: usize) -> InputBinding {
        InputBinding::Texels(4)
    }

    fn subgroup(&self) -> Option<u32> {
        Some(LANES)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label, depth, channels, blocks| {
        let layout = GemmLayout::new(blocks * BLOCK, Some(BLOCK));
        noise_case(label, WinogradGemm { depth, channels, layout })
    };
    vec![
        case("one channel of one", 1, 1, 1),
        case("a tile and three channels, five rows", 5, 19, 2),
        case("whole steps, one tile", 8, 16, 3),
        case("two tiles and one channel, an odd depth", 7, 33, 2),
        case("more than a row of texels", 3, 18, 5),
    ]
}
