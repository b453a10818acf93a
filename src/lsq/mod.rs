//! Least squares from second moments: refits of a layer's weights, and losses without some of its inputs.
//!
//! All matrices are dense `f64`, computed from the device's sums `Σ p pᵀ` and `Σ y pᵀ` with a constant 1 behind the
//! elements of `p`. The constant is eliminated first (moments about the means), so that a bias is never penalised.

mod eliminate;
mod fit;

pub use eliminate::{EliminationProblem, Loss, compensate, eliminate};
pub use fit::{Fit, System};

use faer::linalg::solvers::Llt;
use faer::{Mat, Side};

/// Second moments about the means, summed over positions.
#[derive(Clone, Debug)]
pub struct SecondMoments {
    /// Number of positions summed.
    pub count: f64,
    /// Means of the elements of `p`.
    pub mean: Vec<f64>,
    /// Scatter matrix Σ (p − mean)(p − mean)ᵀ.
    pub scatter: Mat<f64>,
}

impl SecondMoments {
    /// Computes the moments from the lower triangle of Σ p pᵀ, row by row, with the constant last.
    pub fn of(packed: &[f64], rows: usize) -> Self {
        let at = |i: usize, j: usize| {
            let (i, j) = (i.max(j), i.min(j));
            packed[i * (i + 1) / 2 + j]
        };
        let count = at(rows, rows);
        let mean: Vec<f64> = (0..rows).map(|i| at(rows, i) / count.max(1.0)).collect();
        let scatter = Mat::from_fn(rows, rows, |i, j| at(i, j) - count * mean[i] * mean[j]);
        Self { count, mean, scatter }
    }

    /// Computes moments about zero instead of the means, for layers without a bias.
    pub fn about_zero(packed: &[f64], rows: usize) -> Self {
        let of = Self::of(packed, rows);
        let scatter =
            Mat::from_fn(rows, rows, |i, j| of.scatter[(i, j)] + of.count * of.mean[i] * of.mean[j]);
        Self { mean: vec![0.0; rows], scatter, ..of }
    }

    /// Returns the moments of the elements `rows`.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            count: self.count,
            mean: rows.iter().map(|&r| self.mean[r]).collect(),
            scatter: select(&self.scatter, rows, rows),
        }
    }

    /// Returns the ridge for the number of positions: `share` times elements / positions, at least `least`.
    ///
    /// A share of 1 is about the best predictor of unseen images if the inputs do not explain the outputs. With less,
    /// 400 images would suggest for a classifier behind a global pool that any 880 of its 1,280 input channels can be
    /// compensated by the others.
    pub fn ridge(&self, least: f64, share: f64) -> f64 {
        least.max(share * self.mean.len() as f64 / self.count.max(1.0))
    }

    /// Returns the mean of the diagonal, the unit of a ridge.
    pub fn scale(&self) -> f64 {
        let n = self.mean.len();
        (0..n).map(|i| self.scatter[(i, i)].max(0.0)).sum::<f64>() / n.max(1) as f64
    }
}

/// Returns the submatrix of some rows and columns.
pub fn select(matrix: &Mat<f64>, rows: &[usize], columns: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), columns.len(), |i, j| matrix[(rows[i], columns[j])])
}

/// The Cholesky factor of a scatter matrix plus a ridge.
///
/// The ridge makes the matrix positive definite: sums in `f32` leave small negative eigenvalues, and there may be more
/// elements than positions.
#[derive(Debug)]
pub struct Factor {
    /// Cholesky factor of the sum.
    pub llt: Llt<f64>,
    /// Ridge that was added, as a share of the mean diagonal.
    pub ridge: f64,
    /// Lower bound of the condition number: the squared ratio of the largest to the least diagonal element.
    pub condition: f64,
}

/// Factors the scatter matrix with the least working ridge: `least`, or a power of ten times it.
///
/// Returns `None` for a zero matrix and for NaN.
pub fn factor(moments: &SecondMoments, least: f64) -> Option<Factor> {
    let scale = moments.scale();
    if !(scale > 0.0 && scale.is_finite()) {
        return None;
    }
    let n = moments.mean.len();
    (0..8).map(|k| least * 10f64.powi(k)).find_map(|ridge| {
        let added =
            Mat::from_fn(n, n, |i, j| moments.scatter[(i, j)] + if i == j { ridge * scale } else { 0.0 });
        let llt = added.llt(Side::Lower).ok()?;
        let diagonal = (0..n).map(|i| llt.L()[(i, i)]);
        let (low, high) = diagonal.fold((f64::INFINITY, 0.0f64), |(l, h), d| (l.min(d), h.max(d)));
        let condition = (high / low).powi(2);
        condition.is_finite().then_some(Factor { llt, ridge, condition })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic::splitmix64;

    /// The packed sums Σ p pᵀ of rows.
    pub(super) fn packed(rows: &[Vec<f64>]) -> Vec<f64> {
        let n = rows[0].len();
        let mut sums = vec![0.0; (n + 1) * (n + 2) / 2];
        for row in rows {
            let p: Vec<f64> = row.iter().copied().chain([1.0]).collect();
            let pairs = (0..=n).flat_map(|i| (0..=i).map(move |j| (i, j)));
            sums.iter_mut().zip(pairs).for_each(|(sum, (i, j))| *sum += p[i] * p[j]);
        }
        sums
    }

    /// A generator of uniform noise in [-1, 1).
    pub(super) fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut words = splitmix64(seed);
        move || words.next().expect("it has no end") as f64 / 2f64.powi(63) - 1.0
    }

    #[test]
    fn the_constant_is_eliminated() {
        let moments = SecondMoments::of(&packed(&[vec![1.0, 4.0], vec![3.0, 8.0]]), 2);
        assert_eq!((moments.count, moments.mean), (2.0, vec![2.0, 6.0]));
        assert_eq!(moments.scatter, Mat::from_fn(2, 2, |i, j| [[2.0, 4.0], [4.0, 8.0]][i][j]));
    }

    #[test]
    fn a_ridge_makes_a_singular_matrix_solvable_but_not_nan() {
        let equal = SecondMoments::of(&packed(&[vec![1.0, 1.0], vec![-1.0, -1.0]]), 2);
        let factor = factor(&equal, 1e-6).expect("a factor");
        assert!(factor.ridge <= 1e-5 && factor.condition > 1e5, "{factor:?}");
        assert!(super::factor(&SecondMoments::of(&packed(&[vec![f64::NAN, 1.0]]), 2), 1e-6).is_none());
        assert!(super::factor(&SecondMoments::of(&packed(&[vec![0.0, 0.0]]), 2), 1e-6).is_none());
    }
}
