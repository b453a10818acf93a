//! The input transform of Winograd convolution. Module [`transform`](crate::kernels::conv::winograd::transform) describes the method.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::binding::InputBinding;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::test_cases::plain_convs;
use crate::kernels::conv::winograd::test_cases::tile_parts;
use crate::kernels::conv::winograd::tiling::{GemmLayout, TileRange, applies, tiles};
use crate::kernels::conv::winograd::transform::{BT, PRODUCTS, SEEN, TILE, sandwich};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word, words};
use crate::kernels::window::Windows;

/// The input transform `Bᵀ d B` of some tiles.
///
/// Input: `x` of the convolution, all images. Output: 36 × channels × columns in the given layout. The first `count`
/// columns are written, and zeros to the rest of the last quad.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WinogradIn {
    /// The convolution whose input is transformed.
    pub(crate) conv: ConvKernel,
    /// The tiles that are transformed.
    pub(crate) tiles: TileRange,
    /// Layout of the output.
    pub(crate) layout: GemmLayout,
}

uniform! {
    len: u32,
    channels: u32,
    tiles: u32,
    quads: u32,
    block: u32,
    step: u32,
    grid: [u32; 2],
    in_hw: [u32; 2],
    pad: [u32; 2],
    first: u32,
    unused: u32,
}

/// Row for inputs with one pixel a texel.
pub(crate) static ROW: KernelRow = row! {
    name: "winograd_in",
    file: "conv/winograd/input",
    shared: ["quotient", "texels", "pixels", "cell", "winograd_in"],
    doc: "Winograd's input transform, from a texture of pixels",
};

/// Row for inputs with four adjacent pixels a texel.
pub(crate) static ROW_QUADS: KernelRow = row! {
    name: "winograd_in_quads",
    file: "conv/winograd/input_quads",
    shared: ["quotient", "texels", "cell", "winograd_in"],
    doc: "Winograd's input transform, from a texture of quads of pixels",
};

impl WinogradIn {
    /// Returns whether each quad of tiles lies in one row of whole texels, after one column of padding.
    fn quads(&self) -> bool {
        let windows = self.conv.windows;
        windows.pad[1] == 1 && windows.in_hw[1].is_multiple_of(4) && tiles(&self.conv)[1].is_multiple_of(4)
    }
}

impl Kernel for WinogradIn {
    fn row(&self) -> &'static KernelRow {
        if self.quads() { &ROW_QUADS } else { &ROW }
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.conv.input_lens()[0]]
    }

    fn output_len(&self) -> usize {
        self.layout.len(self.conv.in_channels)
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (channels, [h, w], pad) = (self.conv.in_channels, self.conv.windows.in_hw, self.conv.windows.pad);
        let [down, across] = tiles(&self.conv);
        for column in 0..self.tiles.count.next_multiple_of(4) {
            let tile = self.tiles.first + column;
            let image = tile / (down * across);
            let (ty, tx) = (tile / across % down, tile % across);
            for channel in 0..channels {
                let pixel = |i: usize, j: usize| {
                    let row = (ty * TILE + i).checked_sub(pad[0]).filter(|&row| row < h);
                    let across = (tx * TILE + j).checked_sub(pad[1]).filter(|&across| across < w);
                    let at = |(row, column)| inputs[0][((image * channels + channel) * h + row) * w + column];
                    row.zip(across).filter(|_| column < self.tiles.count).map_or(0.0, at)
                };
                for element in 0..PRODUCTS {
                    output[self.layout.at(channels, element, channel, column)] =
                        sandwich(&BT, (element / SEEN, element % SEEN), pixel);
                }
            }
        }
    }

    fn dispatch(&self) -> Dispatch {
        let grid_of_image = tiles(&self.conv);
        let quads = self.tiles.count.div_ceil(4);
        let len = self.layout.blocks * self.conv.in_channels * self.layout.width / 4;
        let params = Params {
            len: word(len),
            channels: word(self.conv.in_channels),
            tiles: word(self.tiles.count),
            quads: word(quads),
            block: word(self.layout.width / 4),
            step: word(self.layout.step(self.conv.in_channels) / 4),
            grid: words(grid_of_image),
            in_hw: words(self.conv.windows.in_hw),
            pad: words(self.conv.windows.pad),
            first: word(self.tiles.first),
            unused: 0,
        };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(len) }
    }

    fn binding(&self, _input: usize) -> InputBinding {
        InputBinding::Texels(if self.quads() { 4 } else { 1 })
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases(row: &'static KernelRow) -> Vec<Case> {
    let wide = |pad, in_hw: [usize; 2], out_hw| ConvKernel {
        batch: 2,
        groups: 1,
        in_channels: 3,
        out_channels: 2,
        windows: Windows { kernel: [3, 3], pad, in_hw, ..Windows::points(out_hw) },
        out_offset: 0,
        out_total: 2,
        residual: false,
        activation: Activation::None,
    };
    let quads = [
        ("four tiles in a row", wide([1, 1], [16, 16], [16, 16])),
        ("eight in a row, rows beyond the last", wide([1, 1], [5, 32], [5, 32])),
        ("no zeros above", wide([0, 1], [9, 16], [7, 16])),
        ("zeros behind, more than the window needs", wide([1, 1], [16, 12], [18, 16])),
    ];
    let applying = plain_convs().into_iter().filter(|(_, conv)| applies(conv));
    applying
        .chain(quads)
        .flat_map(|(label, conv)| {
            tile_parts(&conv).map(|(part, tiles, layout)| {
                noise_case(format!("{label}, {part}"), WinogradIn { conv: conv.clone(), tiles, layout })
            })
        })
        .filter(|case| case.kernel.row().name == row.name)
        .collect()
}
