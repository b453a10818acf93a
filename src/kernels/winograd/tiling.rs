//! The tiles of a convolution by Winograd's method, and how their products lie.

use crate::kernels::algorithm::MOST_TEMP;
use crate::kernels::conv::shape::Conv;
use crate::kernels::winograd::transform::{PRODUCTS, TILE};

/// Columns of a block of the products by lanes: what a subgroup computes.
pub(crate) const BLOCK: usize = 32;
/// Whether the method is for a convolution: its filters 3×3, side by side, in one group; a tile's parts fit.
pub(crate) fn applies(conv: &Conv) -> bool {
    let most = conv.in_channels.max(conv.out_channels);
    conv.windows.kernel == [3, 3]
        && (conv.windows.stride, conv.windows.dilation, conv.groups) == ([1, 1], [1, 1], 1)
        && GemmLayout::new(of_image(conv), Some(BLOCK)).len(most) <= MOST_TEMP
}

/// Tiles down and across.
pub(crate) fn tiles(conv: &Conv) -> [usize; 2] {
    conv.windows.out_hw.map(|n| n.div_ceil(TILE))
}

/// How products lie: blocks of columns (tiles), in each 36 products, in each rows (channels), in each the block's columns.
/// What is written for a tile so lies close together, and so does what a product reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GemmLayout {
    /// Columns of a block: whole quads.
    pub(crate) width: usize,
    /// Blocks.
    pub(crate) blocks: usize,
    /// Rows that are left free behind each product, so that the 36 places of a tile's elements do not share a few sets of
    /// a cache.
    pub(crate) gap: usize,
}

impl GemmLayout {
    /// For so many tiles, in blocks of so many, or all in one.
    pub(crate) fn new(tiles: usize, width: Option<usize>) -> Self {
        match width {
            Some(width) => Self { width, blocks: tiles.div_ceil(width), gap: 1 },
            None => Self { width: tiles.next_multiple_of(4), blocks: 1, gap: 0 },
        }
    }

    /// Elements, with so many rows.
    pub(crate) fn len(self, rows: usize) -> usize {
        self.blocks * PRODUCTS * self.step(rows)
    }

    /// Elements from a product to the next, with so many rows.
    pub(crate) fn step(self, rows: usize) -> usize {
        (rows + self.gap) * self.width
    }

    /// Where an element stands, with so many rows.
    pub(crate) fn at(self, rows: usize, product: usize, row: usize, column: usize) -> usize {
        let (block, inner) = (column / self.width, column % self.width);
        (block * PRODUCTS + product) * self.step(rows) + row * self.width + inner
    }
}

/// Some of a batch's tiles, which are numbered by image, row and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileRange {
    /// The first; where quads of tiles stand in rows, a quad's.
    pub(crate) first: usize,
    /// How many.
    pub(crate) count: usize,
}

/// Tiles of an image.
pub(crate) fn of_image(conv: &Conv) -> usize {
    tiles(conv).iter().product()
}
