//! New weights of a layer: `min ‖P W − Y‖² + λτ‖W − W₀‖²`, τ the mean diagonal of the moments.

use faer::Mat;
use faer::linalg::solvers::Solve;

use super::{Factor, SecondMoments, factor};

/// The least squares of one set of moments, for as many targets as one likes.
#[derive(Debug)]
pub struct System {
    moments: SecondMoments,
    factor: Option<Factor>,
}

/// What least squares found.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Elements of a patch × outputs.
    pub weights: Mat<f64>,
    /// One an output.
    pub bias: Vec<f64>,
}

impl System {
    /// Pulled towards the old weights as far as `lambda` says.
    pub fn of(moments: SecondMoments, lambda: f64) -> Self {
        Self { factor: factor(&moments, lambda), moments }
    }

    /// The ridge that was needed, as a share of the mean diagonal; 0 where nothing varies.
    pub fn ridge(&self) -> f64 {
        self.factor.as_ref().map_or(0.0, |f| f.ridge)
    }

    /// The condition is no better than this.
    pub fn condition(&self) -> f64 {
        self.factor.as_ref().map_or(1.0, |f| f.condition)
    }

    /// The weights that give what is wanted: `cross` = Σ y pᵀ (outputs × elements and the constant), `old` elements ×
    /// outputs. Where nothing varies they stay `old`.
    pub fn fit(&self, cross: &Mat<f64>, old: &Mat<f64>) -> Fit {
        let moments = &self.moments;
        let (n, outputs) = (moments.mean.len(), cross.nrows());
        let count = moments.count.max(1.0);
        let wanted: Vec<f64> = (0..outputs).map(|o| cross[(o, n)] / count).collect();
        let mut weights = old.clone();
        if let Some(factor) = &self.factor {
            let pull = factor.ridge * moments.scale();
            let right = Mat::from_fn(n, outputs, |i, o| {
                cross[(o, i)] - count * wanted[o] * moments.mean[i] + pull * old[(i, o)]
            });
            weights = factor.llt.solve(&right);
        }
        let bias = (0..outputs)
            .map(|o| wanted[o] - (0..n).map(|i| weights[(i, o)] * moments.mean[i]).sum::<f64>())
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
    fn a_linear_layer_is_found_again() {
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
        // A bias far away costs nothing: it is not pulled to 0.
        let strong = System::of(moments, 1.0).fit(&sums, &found.weights);
        assert!((strong.bias[0] - 5.0).abs() < 1e-6, "{strong:?}");
    }

    #[test]
    fn what_never_varies_keeps_its_old_weights() {
        let rows = vec![vec![1.0, 0.0], vec![2.0, 0.0], vec![4.0, 0.0]];
        let wanted: Vec<Vec<f64>> = rows.iter().map(|p| vec![3.0 * p[0]]).collect();
        let old = Mat::from_fn(2, 1, |i, _| [1.0, 7.0][i]);
        let found = System::of(SecondMoments::of(&packed(&rows), 2), 1e-9).fit(&cross(&rows, &wanted), &old);
        assert!((found.weights[(0, 0)] - 3.0).abs() < 1e-6 && (found.weights[(1, 0)] - 7.0).abs() < 1e-9);
        // Nothing at all varies: the bias alone gives the mean.
        let still = vec![vec![1.0], vec![1.0]];
        let found = System::of(SecondMoments::of(&packed(&still), 1), 1e-9)
            .fit(&cross(&still, &[vec![2.0], vec![4.0]]), &Mat::zeros(1, 1));
        assert!(found.weights[(0, 0)] == 0.0 && (found.bias[0] - 3.0).abs() < 1e-12, "{found:?}");
    }
}
