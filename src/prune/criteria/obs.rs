//! Optimal Brain Surgeon for single channels: the loss after the other channels compensate by least squares.

use faer::linalg::solvers::DenseSolveCore;
use faer::{Mat, Side};

use super::{CriterionRow, Needs, consumer_losses, losses};
use crate::stats::GramMatrix;

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "obs",
    formula: "Σ over the consumers ½ Σw² / [H⁻¹]ⱼⱼ, H = E[z zᵀ] with a constant 1 and a ridge of 10⁻⁴ of the mean diagonal (more where it must be)",
    source: "Hassibi & Stork 1993, Optimal Brain Surgeon, on the output of the layers that read the channel",
    needs: Needs { gram: true, ..Needs::DATA },
    score: |layer| {
        losses(layer, &layer.context.obs, &|context| consumer_losses::losses(context, of_consumer))
    },
};

/// Ridges as shares of the mean diagonal; the first that makes the matrix invertible is used.
///
/// Sums in `f32` have small negative eigenvalues if there are more channels than positions.
const RIDGES: [f64; 4] = [1e-4, 1e-3, 1e-2, 1e-1];

/// Returns the loss of each channel of a consumer's input, given Σw² of the weights per channel.
///
/// `None` if the matrix has no inverse.
fn of_consumer(gram: &GramMatrix, squares: &[f64]) -> Option<Vec<f64>> {
    let (n, count) = (gram.rows, gram.count());
    let mean = (0..n).map(|c| gram.at(c, c)).sum::<f64>() / count / n as f64;
    // The matrix of an input of zeros has no inverse, and no loss.
    if mean == 0.0 {
        return Some(vec![0.0; n]);
    }
    let inverse = RIDGES.iter().find_map(|share| {
        let ridge = |i: usize, j: usize| if i == j && i < n { share * mean } else { 0.0 };
        let hessian = Mat::from_fn(n + 1, n + 1, |i, j| gram.at(i, j) / count + ridge(i, j));
        Some(hessian.llt(Side::Lower).ok()?.inverse())
    })?;
    Some(squares.iter().enumerate().map(|(c, w)| 0.5 * w / inverse[(c, c)]).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::gram;

    #[test]
    fn by_hand() {
        // The second channel is twice the first plus 1: the constant and the other channel compensate either.
        let copies = gram(&[[1.0, 3.0], [2.0, 5.0], [-1.0, -1.0], [0.0, 1.0]]);
        let losses = super::of_consumer(&copies, &[1.0, 1.0]).expect("an inverse");
        assert!(losses.iter().all(|&l| l < 1e-2), "{losses:?}");
        // Uncorrelated, means 0: E[z²] = 1 and 4, the loss is that of Optimal Brain Damage.
        let free = gram(&[[1.0, 2.0], [-1.0, 2.0], [1.0, -2.0], [-1.0, -2.0]]);
        let losses = super::of_consumer(&free, &[1.0, 1.0]).expect("an inverse");
        for (got, expected) in losses.iter().zip([0.5, 2.0]) {
            assert!((got - expected).abs() < 3e-4, "{got} {expected}");
        }
    }
}
