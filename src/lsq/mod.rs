//! Least squares from second moments: what a layer's weights should be, and what it loses without some of its inputs.
//!
//! Everything here is dense `f64` over the sums that the device gathered: `Σ p pᵀ` and `Σ y pᵀ` with a constant 1
//! behind the elements of `p`. The constant is taken out first (moments about the means), so that a bias costs nothing
//! and is never penalised.

mod eliminate;
mod fit;

pub use eliminate::{EliminationProblem, Loss, compensate, eliminate};
pub use fit::{Fit, System};

use faer::linalg::solvers::Llt;
use faer::{Mat, Side};

/// Sums over positions with the constant taken out.
#[derive(Clone, Debug)]
pub struct SecondMoments {
    /// Positions.
    pub count: f64,
    /// Means of the elements of `p`.
    pub mean: Vec<f64>,
    /// Σ (p − mean)(p − mean)ᵀ.
    pub scatter: Mat<f64>,
}

impl SecondMoments {
    /// From Σ p pᵀ, whose last row and column are those of the constant: the lower triangle, row by row.
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

    /// The same about zero: for what has no bias that could take the mean over.
    pub fn about_zero(packed: &[f64], rows: usize) -> Self {
        let of = Self::of(packed, rows);
        let scatter =
            Mat::from_fn(rows, rows, |i, j| of.scatter[(i, j)] + of.count * of.mean[i] * of.mean[j]);
        Self { mean: vec![0.0; rows], scatter, ..of }
    }

    /// Of some elements only.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            count: self.count,
            mean: rows.iter().map(|&r| self.mean[r]).collect(),
            scatter: select(&self.scatter, rows, rows),
        }
    }

    /// The ridge that so many positions ask for, at least `least`: a share of elements / positions, which is about what
    /// predicts unseen images best where nothing here explains the outputs. With less, 400 images would say of a
    /// classifier behind a global pool that any 880 of the 1,280 channels it reads can be made up for by the others.
    pub fn ridge(&self, least: f64, share: f64) -> f64 {
        least.max(share * self.mean.len() as f64 / self.count.max(1.0))
    }

    /// The mean of the diagonal: what a ridge is a share of.
    pub fn scale(&self) -> f64 {
        let n = self.mean.len();
        (0..n).map(|i| self.scatter[(i, i)].max(0.0)).sum::<f64>() / n.max(1) as f64
    }
}

/// Rows and columns of a matrix.
pub fn select(matrix: &Mat<f64>, rows: &[usize], columns: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), columns.len(), |i, j| matrix[(rows[i], columns[j])])
}

/// A matrix that is positive definite once a ridge is added: sums in `f32` leave small negative eigenvalues, and there
/// may be more elements than positions.
#[derive(Debug)]
pub struct Factor {
    /// Its Cholesky factor.
    pub llt: Llt<f64>,
    /// The share of the mean diagonal that was added.
    pub ridge: f64,
    /// The squared ratio of the factor's largest to its least diagonal element: the condition is no better than this.
    pub condition: f64,
}

/// The factor of the scatter with a ridge: the first share from `least` on, by tens, with which there is one; `None`
/// for zeros and for what is no number.
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

    /// Σ over these rows, packed.
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

    /// Numbers that are no pattern.
    pub(super) fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut words = splitmix64(seed);
        move || words.next().expect("it has no end") as f64 / 2f64.powi(63) - 1.0
    }

    #[test]
    fn the_constant_is_taken_out() {
        let moments = SecondMoments::of(&packed(&[vec![1.0, 4.0], vec![3.0, 8.0]]), 2);
        assert_eq!((moments.count, moments.mean), (2.0, vec![2.0, 6.0]));
        assert_eq!(moments.scatter, Mat::from_fn(2, 2, |i, j| [[2.0, 4.0], [4.0, 8.0]][i][j]));
    }

    #[test]
    fn a_ridge_makes_what_is_singular_solvable_and_nothing_makes_nan_so() {
        let twins = SecondMoments::of(&packed(&[vec![1.0, 1.0], vec![-1.0, -1.0]]), 2);
        let factor = factor(&twins, 1e-6).expect("a factor");
        assert!(factor.ridge <= 1e-5 && factor.condition > 1e5, "{factor:?}");
        assert!(super::factor(&SecondMoments::of(&packed(&[vec![f64::NAN, 1.0]]), 2), 1e-6).is_none());
        assert!(super::factor(&SecondMoments::of(&packed(&[vec![0.0, 0.0]]), 2), 1e-6).is_none());
    }
}
