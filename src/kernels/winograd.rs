//! Winograd's F(4×4, 3×3): 4×4 outputs of a 3×3 filter by 36 products instead of 144.
//!
//! `Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A` for a tile `d` of 6×6 pixels and a filter `g`, with the polynomials' points 0, ±1,
//! ±2 and infinity (Lavin and Gray, 2016). Summed over input channels, the products are 36 matrix products, one for each
//! element of a tile: a convolution of 1×1 in 36 groups, whose filters are `G g Gᵀ` and whose pixels are the tiles.

use std::sync::Arc;

use super::Kernel;
use super::activation::Activation;
use super::conv::Conv;
use super::products_lanes::BLOCK;
use super::unfold::Images;
use super::way::{Adapters, Call, MOST_TEMP, Source, Way};
use super::window::Windows;
use super::winograd_in::WinogradIn;
use super::winograd_out::WinogradOut;

/// Outputs of a tile in each direction.
pub(super) const TILE: usize = 4;
/// Pixels that a tile sees in each direction.
pub(super) const SEEN: usize = 6;
/// Products of a tile.
pub(super) const PRODUCTS: usize = SEEN * SEEN;

/// `G`.
const G: [[f64; 3]; SEEN] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
/// `Bᵀ`.
pub(super) const BT: [[f64; SEEN]; SEEN] = [
    [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
    [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
];
/// `Aᵀ`.
pub(super) const AT: [[f64; SEEN]; TILE] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
    [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
    [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
];

/// Element (i, j) of `m d mᵀ`, for a `d` given by its elements.
pub(super) fn sandwich<const N: usize, const M: usize>(
    m: &[[f64; N]; M],
    (i, j): (usize, usize),
    d: impl Fn(usize, usize) -> f64,
) -> f64 {
    (0..N).map(|a| m[i][a] * (0..N).map(|b| d(a, b) * m[j][b]).sum::<f64>()).sum()
}

/// What the filters of a product are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    /// They are given as they are.
    Given,
    /// They are `G g Gᵀ` of 3×3 filters `g` that are given; the call has one group for each of 36 elements, and no
    /// bias, which the last part adds.
    Winograd,
}

impl Filters {
    /// As [`Kernel::input_lens`], of a convolution with such filters.
    pub(super) fn input_lens(self, conv: &Conv) -> Vec<usize> {
        let mut lens = conv.input_lens();
        if self == Self::Winograd {
            lens[1] = lens[1] / PRODUCTS * 9;
            lens[2] /= PRODUCTS;
        }
        lens
    }

    /// As [`Kernel::reference`].
    pub(super) fn reference(self, conv: &Conv, inputs: &[&[f64]], output: &mut [f64]) {
        match self {
            Self::Given => conv.reference(inputs, output),
            Self::Winograd => {
                let filters = spread(inputs[1]);
                conv.reference(&[inputs[0], &filters, &vec![0.0; conv.out_channels]], output);
            }
        }
    }

    /// As [`Kernel::pack`], for tiles of so many channels; `weights` packs filters that are given.
    pub(super) fn pack(
        self,
        conv: &Conv,
        input: usize,
        data: &[f32],
        tile: usize,
        weights: impl Fn(&Conv, &[f32]) -> Vec<f32>,
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

/// `G g Gᵀ` of every filter, by element of the result.
pub(super) fn spread(filters: &[f64]) -> Vec<f64> {
    let elements = (0..SEEN).flat_map(|i| (0..SEEN).map(move |j| (i, j)));
    elements
        .flat_map(|at| filters.chunks_exact(9).map(move |g| sandwich(&G, at, |a, b| g[a * 3 + b])))
        .collect()
}

/// Whether the method is for a convolution: its filters 3×3, side by side, in one group; a tile's parts fit.
pub(super) fn applies(conv: &Conv) -> bool {
    let most = conv.in_channels.max(conv.out_channels);
    conv.windows.kernel == [3, 3]
        && (conv.windows.stride, conv.windows.dilation, conv.groups) == ([1, 1], [1, 1], 1)
        && most * Layout::new(count(conv, 1), Some(BLOCK)).columns * PRODUCTS <= MOST_TEMP
}

/// Whether it saves enough: there are channels to share the transforms, and the tiles of one image fill whole blocks of
/// so many pixels well.
pub(super) fn pays(conv: &Conv, block: usize) -> bool {
    let filled = |n: usize| n.next_multiple_of(block) as f64;
    let tiles = count(conv, 1);
    let direct = 9.0 * filled(conv.out_plane());
    conv.in_channels.min(conv.out_channels) >= 16 && 1.2 * PRODUCTS as f64 * filled(tiles) < direct
}

/// Tiles down and across.
pub(super) fn tiles(conv: &Conv) -> [usize; 2] {
    conv.windows.out_hw.map(|n| n.div_ceil(TILE))
}

/// How products lie: for each of 36, blocks of columns (tiles), in each rows (channels), in each the block's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns: whole blocks.
    pub columns: usize,
    /// Columns of a block: whole quads.
    pub width: usize,
}

impl Layout {
    /// For so many tiles, in blocks of so many, or all in one.
    pub(super) fn new(tiles: usize, width: Option<usize>) -> Self {
        let columns = tiles.next_multiple_of(width.unwrap_or(4));
        Self { columns, width: width.unwrap_or(columns) }
    }

    /// Where an element stands, with so many rows.
    pub(super) fn at(self, rows: usize, product: usize, row: usize, column: usize) -> usize {
        let (block, inner) = (column / self.width, column % self.width);
        ((product * (self.columns / self.width) + block) * rows + row) * self.width + inner
    }
}

/// Tiles of so many images.
pub(super) fn count(conv: &Conv, images: usize) -> usize {
    images * tiles(conv).iter().product::<usize>()
}

/// The product over so many columns, as a convolution.
pub(super) fn product(in_channels: usize, out_channels: usize, columns: usize) -> Conv {
    Conv {
        batch: 1,
        groups: PRODUCTS,
        in_channels: PRODUCTS * in_channels,
        out_channels: PRODUCTS * out_channels,
        windows: Windows::points([1, columns]),
        out_offset: 0,
        out_total: PRODUCTS * out_channels,
        activation: Activation::None,
    }
}

/// The way, with `by` to make the products' kernel of depth, channels and layout, whose blocks are so wide; so many images
/// at a time that the temporaries stay small.
pub(super) fn way<K: Kernel>(
    name: &'static str,
    rule: Option<Adapters>,
    conv: &Conv,
    width: Option<usize>,
    by: impl Fn(usize, usize, Layout) -> K,
) -> Way {
    let (c, k) = (conv.in_channels, conv.out_channels);
    let layout = |images| Layout::new(count(conv, images), width);
    let fits = |&n: &usize| PRODUCTS * c.max(k) * layout(n).columns <= MOST_TEMP;
    let at_once = (1..=conv.batch).rev().find(fits).unwrap_or(1);
    let longest = layout(at_once).columns;
    let mut calls = Vec::new();
    let mut call = |kernel: Arc<dyn Kernel>, inputs: &[Source], output| {
        calls.push(Call { kernel, inputs: inputs.to_vec(), output });
    };
    for first in (0..conv.batch).step_by(at_once) {
        let images = Images { first, count: at_once.min(conv.batch - first) };
        let layout = layout(images.count);
        let product = by(c, k, layout);
        let seen = WinogradIn { conv: conv.clone(), images, layout };
        let made = WinogradOut { conv: conv.clone(), images, layout };
        call(Arc::new(seen), &[Source::Input(0)], Some(0));
        let operands = [Source::Temp(0), Source::Input(1), Source::Input(2)];
        let operands = &operands[..product.input_lens().len()];
        call(Arc::new(product), operands, Some(1));
        call(Arc::new(made), &[Source::Temp(1), Source::Input(2)], None);
    }
    Way { name, rule, temps: vec![PRODUCTS * c * longest, PRODUCTS * k * longest], calls }
}
