//! Winograd's last part: outputs from the sums of products. [`super::winograd`] tells the whole.

use bytemuck::bytes_of;

use super::conv::{self, Conv};
use super::way::View;
use super::winograd::{self, AT, Layout, SEEN, TILE, Tiles, sandwich, tiles};
use super::{Case, Dispatch, Kernel, Row, grid, noise_case, shader, uniform, word, words};
use crate::compare::Tolerance;

/// `act(Aᵀ m A + bias)` of some tiles.
///
/// Inputs: 36 × out_channels × columns as the layout says, of which the first `count` columns count; `bias [out_channels]`
/// (constant); an addend like the convolution's, if there is one. Output: as the convolution's, those tiles' part.
#[derive(Clone, Debug, PartialEq)]
pub struct WinogradOut {
    /// The convolution.
    pub conv: Conv,
    /// Which.
    pub tiles: Tiles,
    /// How the input lies.
    pub layout: Layout,
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

/// The kernel's row.
pub static ROW: Row = Row {
    name: "winograd_out",
    shader: shader!("winograd_out", "quotient", "texels", "nan", "activation", "quads", "cell"),
    doc: "Winograd's transform back to pixels, with bias and activation",
    params: Params::FIELDS,
    params_size: Params::SIZE,
    cases,
};

impl Kernel for WinogradOut {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let addend = self.conv.addend.then(|| self.output_len());
        let sums = self.layout.len(self.conv.out_channels);
        [sums, self.conv.out_channels].into_iter().chain(addend).collect()
    }

    fn addend(&self) -> Option<usize> {
        self.conv.addend.then_some(2)
    }

    fn output_len(&self) -> usize {
        self.conv.output_len()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (conv, [h, w]) = (&self.conv, self.conv.windows.out_hw);
        let [down, across] = tiles(conv);
        for column in 0..self.tiles.count {
            let tile = self.tiles.first + column;
            let image = tile / (down * across);
            let (ty, tx) = (tile / across % down, tile % across);
            for channel in 0..conv.out_channels {
                let sum = |i: usize, j: usize| {
                    inputs[0][self.layout.at(conv.out_channels, i * SEEN + j, channel, column)]
                };
                for (i, j) in (0..TILE).flat_map(|i| (0..TILE).map(move |j| (i, j))) {
                    let (row, column) = (ty * TILE + i, tx * TILE + j);
                    if row < h && column < w {
                        let plane = image * conv.out_total + conv.out_offset + channel;
                        let at = (plane * h + row) * w + column;
                        let addend = if conv.addend { inputs[2][at] } else { 0.0 };
                        let y = sandwich(&AT, (i, j), sum) + inputs[1][channel] + addend;
                        output[at] = conv.activation.apply_f64(y);
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
            out_hw: words(conv.windows.out_hw),
            first: word(self.tiles.first),
            out_offset: word(conv.out_offset),
            out_total: word(conv.out_total),
            act_a,
            act_b,
            unused: 0,
        };
        Dispatch {
            overrides: vec![
                ("ACT", conv.activation.code().into()),
                ("QUADS", u32::from(conv.windows.out_hw[1].is_multiple_of(4)).into()),
            ],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn view(&self, input: usize) -> View {
        if input == 0 { View::Texels(4) } else { View::Buffer }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

fn cases() -> Vec<Case> {
    let applying = conv::convs().into_iter().filter(|(_, conv)| winograd::applies(conv));
    applying
        .flat_map(|(label, conv)| {
            winograd::parts(&conv).map(|(part, tiles, layout)| {
                noise_case(format!("{label}, {part}"), WinogradOut { conv: conv.clone(), tiles, layout })
            })
        })
        .collect()
}
