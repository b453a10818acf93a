//! The tiles of a convolution by Winograd's method, and the layout of their products.

use crate::kernels::algorithm::MOST_TEMP;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::winograd::transform::{PRODUCTS, TILE};

/// Columns of a layout's block, which one subgroup computes.
pub(crate) const BLOCK: usize = 32;

/// Returns whether the method applies: 3×3 filters with stride 1, no dilation and one group, and temporaries that
/// fit.
pub(crate) fn applies(conv: &ConvKernel) -> bool {
    let most = conv.in_channels.max(conv.out_channels);
    conv.windows.kernel == [3, 3]
        && (conv.windows.stride, conv.windows.dilation, conv.groups) == ([1, 1], [1, 1], 1)
        && GemmLayout::new(image_tiles(conv), Some(BLOCK)).len(most) <= MOST_TEMP
}

/// Number of tiles down and across.
pub(crate) fn tiles(conv: &ConvKernel) -> [usize; 2] {
    conv.windows.out_hw.map(|n| n.div_ceil(TILE))
}

/// The layout of products: blocks of columns (tiles); in each 36 products; in each rows (channels); in each the
/// block's columns.
///
/// Elements that are written for one tile, or read for one product, are close together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GemmLayout {
    /// Columns of a block, a multiple of four.
    pub(crate) width: usize,
    /// The number of blocks of tiles.
    pub(crate) blocks: usize,
    /// Unused rows after each product, which spread the 36 elements of a tile over many cache sets.
    pub(crate) gap: usize,
}

impl GemmLayout {
    /// Layout for `tiles` tiles, in blocks of `width` columns or in a single block.
    pub(crate) fn new(tiles: usize, width: Option<usize>) -> Self {
        match width {
            Some(width) => Self { width, blocks: tiles.div_ceil(width), gap: 1 },
            None => Self { width: tiles.next_multiple_of(4), blocks: 1, gap: 0 },
        }
    }

    /// Number of elements with `rows` rows.
    pub(crate) fn len(self, rows: usize) -> usize {
        self.blocks * PRODUCTS * self.step(rows)
    }

    /// Distance between adjacent products with `rows` rows.
    pub(crate) fn step(self, rows: usize) -> usize {
        (rows + self.gap) * self.width
    }

    /// Position of an element with `rows` rows.
    pub(crate) fn at(self, rows: usize, product: usize, row: usize, column: usize) -> usize {
        let (block, inner) = (column / self.width, column % self.width);
        (block * PRODUCTS + product) * self.step(rows) + row * self.width + inner
    }
}

/// A range of a batch's tiles, which are numbered by image, row and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileRange {
    /// First tile; for quads of tiles in a row, the first of a quad.
    pub(crate) first: usize,
    /// Number of tiles in the range.
    pub(crate) count: usize,
}

/// Number of tiles of an image.
pub(crate) fn image_tiles(conv: &ConvKernel) -> usize {
    tiles(conv).iter().product()
}
