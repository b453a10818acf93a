//! The transforms of Winograd's F(4×4, 3×3), which computes 4×4 outputs of a 3×3 filter by 36 products instead of
//! 144.
//!
//! `Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A` for a tile `d` of 6×6 pixels and a filter `g`, with the polynomial points 0,
//! ±1, ±2 and infinity (Lavin and Gray, 2016). Summed over input channels, the products are 36 matrix products, one
//! for each element of a tile: a 1×1 convolution in 36 groups with the filters `G g Gᵀ` and the tiles as pixels.

/// Outputs of a tile along each axis.
pub(crate) const TILE: usize = 4;
/// Pixels that a tile reads along each axis.
pub(crate) const SEEN: usize = 6;
/// Products of a tile.
pub(crate) const PRODUCTS: usize = SEEN * SEEN;

/// The filter transform `G`.
const G: [[f64; 3]; SEEN] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
/// The transposed input transform `Bᵀ`.
pub(crate) const BT: [[f64; SEEN]; SEEN] = [
    [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
    [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
];
/// The transposed output transform `Aᵀ`.
pub(crate) const AT: [[f64; SEEN]; TILE] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
    [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
    [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
];

/// Element (i, j) of `m d mᵀ`, for a matrix `d` given by its elements.
pub(crate) fn sandwich<const N: usize, const M: usize>(
    m: &[[f64; N]; M],
    (i, j): (usize, usize),
    d: impl Fn(usize, usize) -> f64,
) -> f64 {
    (0..N).map(|a| m[i][a] * (0..N).map(|b| d(a, b) * m[j][b]).sum::<f64>()).sum()
}

/// Computes `G g Gᵀ` of every filter, ordered by element of the result.
pub(crate) fn spread(filters: &[f64]) -> Vec<f64> {
    let elements = (0..SEEN).flat_map(|i| (0..SEEN).map(move |j| (i, j)));
    elements
        .flat_map(|at| filters.chunks_exact(9).map(move |g| sandwich(&G, at, |a, b| g[a * 3 + b])))
        .collect()
}
