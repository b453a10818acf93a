//! Ranges of a call's tiles, for tests.

use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::winograd::tiling::{BLOCK, GemmLayout, TileRange, image_tiles};

/// Ranges of a call's tiles, with layouts of their products.
pub(crate) fn tile_parts(conv: &ConvKernel) -> [(&'static str, TileRange, GemmLayout); 3] {
    let all = conv.batch * image_tiles(conv);
    let whole = TileRange { first: 0, count: all };
    let first = (all / 2).next_multiple_of(4).min((all - 1) / 4 * 4);
    let later = TileRange { first, count: all - first };
    [
        ("in one", whole, GemmLayout::new(whole.count, None)),
        ("in blocks", whole, GemmLayout::new(whole.count, Some(BLOCK))),
        ("later ones in blocks", later, GemmLayout::new(later.count, Some(BLOCK))),
    ]
}
