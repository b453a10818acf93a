//! Winograd's F(4×4, 3×3): 4×4 outputs of a 3×3 filter by 36 products instead of 144.
//!
//! `Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A` for a tile `d` of 6×6 pixels and a filter `g`, with the polynomials' points 0, ±1,
//! ±2 and infinity (Lavin and Gray, 2016). Summed over input channels, the products are 36 matrix products, one for each
//! element of a tile: a convolution of 1×1 in 36 groups, whose filters are `G g Gᵀ` and whose pixels are the tiles.

use std::sync::Arc;

use super::Kernel;
use super::activation::Activation;
use super::conv::Conv;
use super::conv_tiled::Tiled;
use super::products_lanes::{BLOCK, Products};
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

/// Elements of a temporary that stays in a processor's caches, beside its view and its product's.
const CACHED: usize = 1 << 19;

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

/// Whether it saves enough: there are channels to share the transforms, and the tiles of one image fill whole blocks of
/// so many pixels well.
fn pays(conv: &Conv, block: usize) -> bool {
    let filled = |n: usize| n.next_multiple_of(block) as f64;
    let tiles = of_image(conv);
    let direct = 9.0 * filled(conv.out_plane());
    conv.in_channels.min(conv.out_channels) >= 16 && 1.2 * PRODUCTS as f64 * filled(tiles) < direct
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

/// The ways of a convolution by this method, or of the largest of every 2×2 of its outputs.
pub(super) fn ways(conv: &Conv, pooled: bool) -> Vec<Way> {
    if !applies(conv) {
        return vec![];
    }
    let rule = |adapters, yes: bool| yes.then_some(adapters);
    let (few, many) = (pays(conv, 32), conv.out_channels >= 32 && pays(conv, 4));
    let lanes = |depth, channels, layout| Products { depth, channels, layout };
    let tiled = |depth, channels, layout: Layout| Tiled {
        conv: product(depth, channels, layout.width),
        filters: Filters::Winograd,
    };
    let of = (conv, pooled);
    vec![
        way("winograd, lanes", rule(Adapters::Software, few), of, Some(BLOCK), lanes),
        way("winograd, tiled", rule(Adapters::Real, many), of, None, tiled),
    ]
}

/// The way, with `by` to make the products' kernel of depth, channels and layout, whose blocks are so wide; so many tiles
/// at a time that the temporaries stay small: whole images, or blocks that a processor's caches hold, unless the filters,
/// which are read each time, are more.
fn way<K: Kernel>(
    name: &'static str,
    rule: Option<Adapters>,
    (conv, pooled): (&Conv, bool),
    width: Option<usize>,
    by: impl Fn(usize, usize, Layout) -> K,
) -> Way {
    let (c, k) = (conv.in_channels, conv.out_channels);
    let (unit, most) = match width {
        Some(width) => (width, MOST_TEMP.min(CACHED.max(PRODUCTS * c * k))),
        None => (of_image(conv), MOST_TEMP),
    };
    let all = conv.batch * of_image(conv);
    let fits = |&n: &usize| Layout::new(n * unit, width).len(c.max(k)) <= most;
    let at_once = (1..=all.div_ceil(unit)).take_while(fits).last().unwrap_or(1) * unit;
    let longest = Layout::new(at_once.min(all), width);
    let mut calls = Vec::new();
    let mut call = |kernel: Arc<dyn Kernel>, inputs: &[Source], output| {
        calls.push(Call { kernel, inputs: inputs.to_vec(), output });
    };
    for first in (0..all).step_by(at_once) {
        let tiles = Tiles { first, count: at_once.min(all - first) };
        let layout = Layout::new(tiles.count, width);
        let product = by(c, k, layout);
        let seen = WinogradIn { conv: conv.clone(), tiles, layout };
        let made = WinogradOut { conv: conv.clone(), tiles, layout, pooled };
        call(Arc::new(seen), &[Source::Input(0)], Some(0));
        let operands = [Source::Temp(0), Source::Input(1), Source::Input(2)];
        let operands = &operands[..product.input_lens().len()];
        call(Arc::new(product), operands, Some(1));
        let rest = [Source::Temp(1), Source::Input(2), Source::Input(3)];
        call(Arc::new(made), &rest[..2 + usize::from(conv.addend)], None);
    }
    Way { name, rule, temps: vec![longest.len(c), longest.len(k)], calls }
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
