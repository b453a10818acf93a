//! Winograd's last part: outputs from the sums of products. [`super::winograd`] tells the whole.

use bytemuck::bytes_of;

use super::conv::{self, Conv};
use super::products_lanes::BLOCK;
use super::unfold::Images;
use super::way::View;
use super::winograd::{self, AT, Layout, PRODUCTS, SEEN, TILE, sandwich, tiles};
use super::{Case, Dispatch, Kernel, Row, grid, noise_case, shader, uniform, word, words};
use crate::compare::Tolerance;

/// `act(Aᵀ m A + bias)` of every tile of some images.
///
/// Inputs: 36 × out_channels × columns as the layout says, of which the first `images · tiles` columns count; `bias [out_channels]`
/// (constant). Output: as the convolution's, those images' part.
#[derive(Clone, Debug, PartialEq)]
pub struct WinogradOut {
    /// The convolution.
    pub conv: Conv,
    /// Whose tiles.
    pub images: Images,
    /// How the input lies.
    pub layout: Layout,
}

uniform! {
    len: u32,
    channels: u32,
    tiles: u32,
    quads: u32,
    block: u32,
    blocks: u32,
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
    shader: shader!("winograd_out", "quotient", "texels", "activation"),
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
        vec![PRODUCTS * self.conv.out_channels * self.layout.columns, self.conv.out_channels]
    }

    fn output_len(&self) -> usize {
        self.conv.output_len()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (conv, [h, w]) = (&self.conv, self.conv.windows.out_hw);
        let [down, across] = tiles(conv);
        for tile in 0..self.images.count * down * across {
            let image = self.images.first + tile / (down * across);
            let (ty, tx) = (tile / across % down, tile % across);
            for channel in 0..conv.out_channels {
                let sum = |i: usize, j: usize| {
                    inputs[0][self.layout.at(conv.out_channels, i * SEEN + j, channel, tile)]
                };
                for (i, j) in (0..TILE).flat_map(|i| (0..TILE).map(move |j| (i, j))) {
                    let (row, column) = (ty * TILE + i, tx * TILE + j);
                    if row < h && column < w {
                        let plane = image * conv.out_total + conv.out_offset + channel;
                        let y = sandwich(&AT, (i, j), sum) + inputs[1][channel];
                        output[(plane * h + row) * w + column] = conv.activation.apply_f64(y);
                    }
                }
            }
        }
    }

    fn dispatch(&self) -> Dispatch {
        let conv = &self.conv;
        let [act_a, act_b] = conv.activation.params();
        let tiles_in_all = winograd::count(conv, self.images.count);
        let quads = tiles_in_all.div_ceil(4);
        let len = conv.out_channels * quads;
        let params = Params {
            len: word(len),
            channels: word(conv.out_channels),
            tiles: word(tiles_in_all),
            quads: word(quads),
            block: word(self.layout.width / 4),
            blocks: word(self.layout.columns / self.layout.width),
            grid: words(tiles(conv)),
            out_hw: words(conv.windows.out_hw),
            first: word(self.images.first),
            out_offset: word(conv.out_offset),
            out_total: word(conv.out_total),
            act_a,
            act_b,
            unused: 0,
        };
        Dispatch {
            overrides: vec![("ACT", conv.activation.code().into())],
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
    let parts = conv::parts().into_iter().filter(|(_, conv, _)| winograd::applies(conv));
    parts
        .flat_map(|(label, conv, images)| {
            let tiles = winograd::count(&conv, images.count);
            [(None, "one block"), (Some(BLOCK), "blocks")].map(|(width, blocks)| {
                let layout = Layout::new(tiles, width);
                let made = WinogradOut { conv: conv.clone(), images, layout };
                noise_case(format!("{label}, {blocks}"), made)
            })
        })
        .collect()
}
