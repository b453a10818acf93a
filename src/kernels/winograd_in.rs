//! Winograd's first part: tiles of pixels transformed. [`super::winograd`] tells the whole.

use bytemuck::bytes_of;

use super::conv::{self, Conv};
use super::unfold::Images;
use super::way::View;
use super::winograd::{self, BT, PRODUCTS, SEEN, TILE, sandwich, tiles};
use super::{Case, Dispatch, Kernel, Row, grid, noise_case, shader, uniform, word, words};
use crate::compare::Tolerance;

/// `Bᵀ d B` of every tile of some images.
///
/// Input: `x` of the convolution, all images. Output: `[36, channels, columns]`, of which the first
/// `images · tiles` columns are written.
#[derive(Clone, Debug, PartialEq)]
pub struct WinogradIn {
    /// The convolution.
    pub conv: Conv,
    /// Whose tiles.
    pub images: Images,
    /// The output's row length.
    pub columns: usize,
}

uniform! {
    len: u32,
    channels: u32,
    tiles: u32,
    columns: u32,
    grid: [u32; 2],
    in_hw: [u32; 2],
    pad: [u32; 2],
    first: u32,
    unused: u32,
}

/// The kernel's row.
pub static ROW: Row = Row {
    name: "winograd_in",
    shader: shader!("winograd_in", "quotient", "texels"),
    doc: "Winograd's transform of an image's tiles",
    params: Params::FIELDS,
    params_size: Params::SIZE,
    cases,
};

impl Kernel for WinogradIn {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.conv.input_lens()[0]]
    }

    fn output_len(&self) -> usize {
        PRODUCTS * self.conv.in_channels * self.columns
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (channels, [h, w], pad) = (self.conv.in_channels, self.conv.windows.in_hw, self.conv.windows.pad);
        let [down, across] = tiles(&self.conv);
        for tile in 0..self.images.count * down * across {
            let image = self.images.first + tile / (down * across);
            let (ty, tx) = (tile / across % down, tile % across);
            for channel in 0..channels {
                let pixel = |i: usize, j: usize| {
                    let row = (ty * TILE + i).checked_sub(pad[0]).filter(|&row| row < h);
                    let column = (tx * TILE + j).checked_sub(pad[1]).filter(|&column| column < w);
                    let at = |(row, column)| inputs[0][((image * channels + channel) * h + row) * w + column];
                    row.zip(column).map_or(0.0, at)
                };
                for element in 0..PRODUCTS {
                    output[(element * channels + channel) * self.columns + tile] =
                        sandwich(&BT, (element / SEEN, element % SEEN), pixel);
                }
            }
        }
    }

    fn dispatch(&self) -> Dispatch {
        let grid_of_image = tiles(&self.conv);
        let tiles = self.images.count * grid_of_image.iter().product::<usize>();
        let len = self.conv.in_channels * tiles;
        let params = Params {
            len: word(len),
            channels: word(self.conv.in_channels),
            tiles: word(tiles),
            columns: word(self.columns),
            grid: words(grid_of_image),
            in_hw: words(self.conv.windows.in_hw),
            pad: words(self.conv.windows.pad),
            first: word(self.images.first),
            unused: 0,
        };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(len) }
    }

    fn view(&self, _input: usize) -> View {
        View::Texels(1)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

fn cases() -> Vec<Case> {
    let parts = conv::parts().into_iter().filter(|(_, conv, _)| winograd::applies(conv));
    parts
        .map(|(label, conv, images)| {
            let columns = winograd::columns(&conv, images.count);
            noise_case(label, WinogradIn { conv, images, columns })
        })
        .collect()
}
