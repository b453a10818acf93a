//! Rounding of weights that keeps a layer's outputs, by the second moments of its input.
//!
//! The weights are rounded one after the other, and the weights behind take up the error as the inverse of the moments
//! demands (GPTQ, Frantar 2023, [arXiv 2210.17323](https://arxiv.org/abs/2210.17323); Optimal Brain Quantization).

use faer::Side;
use faer::linalg::solvers::DenseSolveCore;

use crate::lsq::factor;
use crate::repair::FilterSystem;
use crate::stats::Filters;

/// The ridge of moments, as a share of their mean diagonal.
pub(super) const RIDGE: f64 = 1e-6;

/// Rounds the filters of a system, so that later weights take up the errors of earlier ones.
///
/// `nearest` returns the value nearest to a weight among those that are allowed in a filter.
pub(super) fn round(system: &FilterSystem, filters: &mut Filters, nearest: impl Fn(usize, f64) -> f64) {
    let n = system.elements.len();
    // The factor U of H⁻¹ = Uᵀ U: its row i has what the weights behind i take up.
    let inverse = factor(system.moments, system.ridge.max(RIDGE)).map(|f| f.llt.inverse());
    let upper = inverse.and_then(|inverse| inverse.llt(Side::Lower).ok()).map(|llt| llt.L().to_owned());
    for &filter in system.filters {
        let row = &mut filters.rows[filter];
        let mut left: Vec<f64> = system.elements.iter().map(|&element| row[element]).collect();
        for i in 0..n {
            let rounded = nearest(filter, left[i]);
            if let Some(lower) = &upper {
                let error = (left[i] - rounded) / lower[(i, i)];
                (i + 1..n).for_each(|j| left[j] -= error * lower[(j, i)]);
            }
            left[i] = rounded;
        }
        system.elements.iter().zip(left).for_each(|(&element, w)| row[element] = w);
    }
}
