//! Ridge regression of a layer's weights: `min ‖P W − Y‖² + λτ‖W − W₀‖²`, τ the mean diagonal of the moments.

use faer::Mat;
use faer::linalg::solvers::Solve;

use super::{Factor, SecondMoments, factor};

/// A factored least-squares system, for any number of right-hand sides.
#[derive(Debug)]
pub struct System {
    moments: SecondMoments,
    factor: Option<Factor>,
}

/// The solution of a least-squares system.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Weights, elements of a patch × outputs.
    pub weights: Mat<f64>,
    /// Bias of each output.
    pub bias: Vec<f64>,
}

impl System {
    /// Factors the moments with a ridge of at least `lambda`, which pulls towards the old weights.
    pub fn of(moments: SecondMoments, lambda: f64) -> Self {
        Self { factor: factor(&moments, lambda), moments }
    }

    /// Returns the second moments of the inputs.
    pub fn moments(&self) -> &SecondMoments {
        &self.moments
    }

    /// Returns the ridge used, as a share of the mean diagonal; 0 for constant inputs.
    pub fn ridge(&self) -> f64 {
        self.factor.as_ref().map_or(0.0, |f| f.ridge)
    }

    /// Returns a lower bound of the condition number; 1 for constant inputs.
    pub fn condition(&self) -> f64 {
        self.factor.as_ref().map_or(1.0, |f| f.condition)
    }

    /// Solves for weights and bias.
    ///
    /// `cross_moment` is Σ y pᵀ (outputs × elements and the constant), `old` is elements × outputs. For constant inputs
    /// the weights stay `old`.
    pub fn fit(&self, cross_moment: &Mat<f64>, old: &Mat<f64>) -> Fit {
        let moments = &self.moments;
        let (n, outputs) = (moments.mean.len(), cross_moment.nrows());
        let count = moments.count.max(1.0);
        let targets: Vec<f64> = (0..outputs).map(|o| cross_moment[(o, n)] / count).collect();
        let mut weights = old.clone();
        if let Some(factor) = &self.factor {
            let pull = factor.ridge * moments.scale();
            let right = Mat::from_fn(n, outputs, |i, o| {
                cross_moment[(o, i)] - count * targets[o] * moments.mean[i] + pull * old[(i, o)]
            });
            weights = factor.llt.solve(&right);
        }
        let bias = (0..outputs)
            .map(|o| targets[o] - (0..n).map(|i| weights[(i, o)] * moments.mean[i]).sum::<f64>())
            .collect();
        Fit { weights, bias }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{noise, packed};
    use super::*;

    fn cross(rows: &[Vec<f64>], wanted: &[Vec<f64>]) -> Mat<f64> {
        let n = rows[0].len();
        Mat::from_fn(wanted[0].len(), n + 1, |o, i| {
            rows.iter().zip(wanted).map(|(p, y)| y[o] * if i == n { 1.0 } else { p[i] }).sum()
        })
    }

    #[test]
    fn a_linear_layer_is_recovered() {
        let mut next = noise(3);
        let rows: Vec<Vec<f64>> = (0..40).map(|_| (0..4).map(|_| next() + 2.0).collect()).collect();
        let layer = |p: &Vec<f64>| vec![p[0] - 2.0 * p[3] + 5.0, 0.5 * p[1] + p[2] - 1.0];
        let wanted: Vec<Vec<f64>> = rows.iter().map(layer).collect();
        let moments = SecondMoments::of(&packed(&rows), 4);
        let sums = cross(&rows, &wanted);
        let found = System::of(moments.clone(), 1e-9).fit(&sums, &Mat::zeros(4, 2));
        let truth = [[1.0, 0.0], [0.0, 0.5], [0.0, 1.0], [-2.0, 0.0]];
        for (i, o) in (0..4).flat_map(|i| [(i, 0), (i, 1)]) {
            assert!((found.weights[(i, o)] - truth[i][o]).abs() < 1e-6, "{found:?}");
        }
        assert!((found.bias[0] - 5.0).abs() < 1e-6 && (found.bias[1] + 1.0).abs() < 1e-6, "{found:?}");
        // The bias is not penalised.
        let strong = System::of(moments, 1.0).fit(&sums, &found.weights);
        assert!((strong.bias[0] - 5.0).abs() < 1e-6, "{strong:?}");
    }

    #[test]
    fn constant_elements_keep_their_old_weights() {
        let rows = vec![vec![1.0, 0.0], vec![2.0, 0.0], vec![4.0, 0.0]];
        let wanted: Vec<Vec<f64>> = rows.iter().map(|p| vec![3.0 * p[0]]).collect();
        let old = Mat::from_fn(2, 1, |i, _| [1.0, 7.0][i]);
        let found = System::of(SecondMoments::of(&packed(&rows), 2), 1e-9).fit(&cross(&rows, &wanted), &old);
        assert!((found.weights[(0, 0)] - 3.0).abs() < 1e-6 && (found.weights[(1, 0)] - 7.0).abs() < 1e-9);
        // All elements are constant: the bias alone is the mean.
        let still = vec![vec![1.0], vec![1.0]];
        let found = System::of(SecondMoments::of(&packed(&still), 1), 1e-9)
            .fit(&cross(&still, &[vec![2.0], vec![4.0]]), &Mat::zeros(1, 1));
        assert!(found.weights[(0, 0)] == 0.0 && (found.bias[0] - 3.0).abs() < 1e-12, "{found:?}");
    }
}
