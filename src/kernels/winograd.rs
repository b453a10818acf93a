//! Winograd's F(4×4, 3×3): 4×4 outputs of a 3×3 filter by 36 products instead of 144.
//!
//! `Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A` for a tile `d` of 6×6 pixels and a filter `g`, with the polynomials' points 0, ±1,
//! ±2 and infinity (Lavin and Gray, 2016). Summed over input channels, the products are 36 matrix products, one for each
//! element of a tile: a convolution of 1×1 in 36 groups, whose filters are `G g Gᵀ` and whose pixels are the tiles.

use super::Kernel;
use super::activation::Activation;
use super::conv::Conv;
use super::way::MOST_TEMP;
use super::window::Windows;

/// Outputs of a tile in each direction.
pub(super) const TILE: usize = 4;
/// Pixels that a tile sees in each direction.
pub(super) const SEEN: usize = 6;
/// Columns of a block of the products by lanes: what a subgroup computes.
pub(super) const BLOCK: usize = 32;
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
        && Layout::new(of_image(conv), Some(BLOCK)).len(most) <= MOST_TEMP
}

/// Tiles down and across.
pub(super) fn tiles(conv: &Conv) -> [usize; 2] {
    conv.windows.out_hw.map(|n| n.div_ceil(TILE))
}

/// How products lie: blocks of columns (tiles), in each 36 products, in each rows (channels), in each the block's columns.
/// What is written for a tile so lies close together, and so does what a product reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns of a block: whole quads.
    pub width: usize,
    /// Blocks.
    pub blocks: usize,
    /// Rows that are left free behind each product, so that the 36 places of a tile's elements do not share a few sets of
    /// a cache.
    pub gap: usize,
}

impl Layout {
    /// For so many tiles, in blocks of so many, or all in one.
    pub(super) fn new(tiles: usize, width: Option<usize>) -> Self {
        match width {
            Some(width) => Self { width, blocks: tiles.div_ceil(width), gap: 1 },
            None => Self { width: tiles.next_multiple_of(4), blocks: 1, gap: 0 },
        }
    }

    /// Elements, with so many rows.
    pub(super) fn len(self, rows: usize) -> usize {
        self.blocks * PRODUCTS * self.step(rows)
    }

    /// Elements from a product to the next, with so many rows.
    pub(super) fn step(self, rows: usize) -> usize {
        (rows + self.gap) * self.width
    }

    /// Where an element stands, with so many rows.
    pub(super) fn at(self, rows: usize, product: usize, row: usize, column: usize) -> usize {
        let (block, inner) = (column / self.width, column % self.width);
        (block * PRODUCTS + product) * self.step(rows) + row * self.width + inner
    }
}

/// Some of a batch's tiles, which are numbered by image, row and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// The first; where quads of tiles stand in rows, a quad's.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// Tiles of an image.
pub(super) fn of_image(conv: &Conv) -> usize {
    tiles(conv).iter().product()
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
        addend: false,
        activation: Activation::None,
    }
}

/// For cases: parts of a call's tiles, and how their products may lie.
pub(super) fn parts(conv: &Conv) -> [(&'static str, Tiles, Layout); 3] {
    let all = conv.batch * of_image(conv);
    let whole = Tiles { first: 0, count: all };
    let first = (all / 2).next_multiple_of(4).min((all - 1) / 4 * 4);
    let later = Tiles { first, count: all - first };
    [
        ("in one", whole, Layout::new(whole.count, None)),
        ("in blocks", whole, Layout::new(whole.count, Some(BLOCK))),
        ("later ones in blocks", later, Layout::new(later.count, Some(BLOCK))),
    ]
}
