//! The output transform of Winograd convolution. Module [`transform`](crate::kernels::conv::winograd::transform) describes the method.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::binding::InputBinding;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::test_cases::{convs, pooled_convs};
use crate::kernels::conv::winograd::test_cases::tile_parts;
use crate::kernels::conv::winograd::tiling::{GemmLayout, TileRange, applies, tiles};
use crate::kernels::conv::winograd::transform::{AT, SEEN, TILE, sandwich};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::reduction::pool::larger;
use crate::kernels::shader::{grid, row, uniform, word, words};

/// The output transform `act(Aᵀ m A + bias)` of some tiles, or the maxima over every 2×2 of its results.
///
/// Inputs: 36 × out_channels × columns in the given layout, of which the first `count` columns count; `bias
/// [out_channels]` (constant); the convolution's residual, if it has one. Output: the tiles' part of the output of
/// the convolution, or of [`PooledConv`](crate::kernels::conv::PooledConv), which has no residual.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WinogradOut {
    /// The convolution whose output is computed.
    pub(crate) conv: ConvKernel,
    /// The tiles that are transformed.
    pub(crate) tiles: TileRange,
    /// Layout of the input.
    pub(crate) layout: GemmLayout,
    /// True to write the maxima over every 2×2 outputs.
    pub(crate) pooled: bool,
}

impl WinogradOut {
    /// Height and width of the output.
    fn out_hw(&self) -> [usize; 2] {
        self.conv.windows.out_hw.map(|n| if self.pooled { n / 2 } else { n })
    }
}

uniform! {
    len: u32,
    channels: u32,
    tiles: u32,
    quads: u32,
    block: u32,
    step: u32,
    grid: [u32; 2],
    out_hw: [u32; 2],
    first: u32,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "winograd_out",
    file: "conv/winograd/output",
    shared: ["quotient", "texels", "nan", "activation", "quads", "cell"],
    doc: "Winograd's output transform, with bias and activation",
};

impl Kernel for WinogradOut {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let residual = self.conv.residual.then(|| self.output_len());
        let sums = self.layout.len(self.conv.out_channels);
        [sums, self.conv.out_channels].into_iter().chain(residual).collect()
    }

    fn residual(&self) -> Option<usize> {
        self.conv.residual.then_some(2)
    }

    fn output_len(&self) -> usize {
        self.conv.batch * self.conv.out_total * self.out_hw().iter().product::<usize>()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (conv, [h, w], [down, across]) = (&self.conv, self.out_hw(), tiles(&self.conv));
        // Outputs of a tile along an axis, and the width of each maximum.
        let (side, span) = if self.pooled { (TILE / 2, 2) } else { (TILE, 1) };
        for column in 0..self.tiles.count {
            let tile = self.tiles.first + column;
            let image = tile / (down * across);
            let (ty, tx) = (tile / across % down, tile % across);
            for channel in 0..conv.out_channels {
                let sum = |i: usize, j: usize| {
                    inputs[0][self.layout.at(conv.out_channels, i * SEEN + j, channel, column)]
                };
                for (i, j) in (0..side).flat_map(|i| (0..side).map(move |j| (i, j))) {
                    let (row, column) = (ty * side + i, tx * side + j);
                    if row < h && column < w {
                        let plane = image * conv.out_total + conv.out_offset + channel;
                        let at = (plane * h + row) * w + column;
                        let residual = if conv.residual { inputs[2][at] } else { 0.0 };
                        let made = (0..span * span).map(|k| {
                            let of_tile = (i * span + k / span, j * span + k % span);
                            let y = sandwich(&AT, of_tile, sum) + inputs[1][channel] + residual;
                            conv.activation.apply_f64(y)
                        });
                        output[at] = made.fold(f64::NEG_INFINITY, larger);
                    }
                }
            }
        }
    }

    fn dispatch(&self) -> Dispatch {
        let conv = &self.conv;
        let [act_a, act_b] = conv.activation.params();
        let quads = self.tiles.count.div_ceil(4);
        let len = self.layout.blocks * conv.out_channels * self.layout.width / 4;
        let params = Params {
            len: word(len),
            channels: word(conv.out_channels),
            tiles: word(self.tiles.count),
            quads: word(quads),
            block: word(self.layout.width / 4),
            step: word(self.layout.step(conv.out_channels) / 4),
            grid: words(tiles(conv)),
            out_hw: words(self.out_hw()),
            first: word(self.tiles.first),
            out_offset: word(conv.out_offset),
            out_total: word(conv.out_total),
            act_a,
            act_b,
            unused: 0,
        };
        // A quad of maxima takes two tiles of a row.
        let whole = if self.pooled { 2 * TILE } else { TILE };
        Dispatch {
            overrides: vec![
                ("ACT", conv.activation.code().into()),
                ("QUADS", u32::from(conv.windows.out_hw[1].is_multiple_of(whole)).into()),
                ("POOLED", u32::from(self.pooled).into()),
            ],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn binding(&self, input: usize) -> InputBinding {
        if input == 0 { InputBinding::Texels(4) } else { InputBinding::Buffer }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let part = |(label, conv, pooled): (String, ConvKernel, bool)| {
        tile_parts(&conv).map(|(part, tiles, layout)| {
            let kernel = WinogradOut { conv: conv.clone(), tiles, layout, pooled };
            noise_case(format!("{label}, {part}"), kernel)
        })
    };
    let whole = convs().into_iter().map(|(label, conv)| (label, conv, false));
    let maxima = pooled_convs().into_iter().map(|(label, conv)| (format!("{label}, maxima"), conv, true));
    whole.chain(maxima).filter(|(_, conv, _)| applies(conv)).flat_map(part).collect()
}
