//! Variation of statistics from image to image, the source of their standard errors.
//!
//! Pixels of one image are not independent, but images are. So the sample consists of images. Each image has six
//! features per channel: the means of the first four powers, of the magnitude, and of "is above zero". Their mean and
//! covariance over images are kept. A statistic is a smooth function of the mean features, and the delta method turns
//! their covariance into its variance: Var ≈ ∇ᵀ Σ ∇ / n, Σ the sample covariance of the features over n images.

use super::Moments;

/// The number of features of an image.
pub(super) const FEATURES: usize = 6;
/// The number of pairs of features, `(i, j)` with `j ≤ i`, row by row.
pub(super) const PAIRS: usize = FEATURES * (FEATURES + 1) / 2;

/// Mean and co-moments of the features over images.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct ImageVariation {
    /// Number of images merged.
    pub images: f64,
    /// Mean features: the means of x, x², x³, x⁴, |x| and x > 0.
    pub mean: [f64; FEATURES],
    /// Sums of products of deviations from the mean, for each pair of features.
    pub comoments: [f64; PAIRS],
}

impl ImageVariation {
    /// Creates the features of one image.
    pub fn of_image(moments: &Moments) -> Self {
        let [x, x2, x3, x4] = moments.raw();
        let mean = [x, x2, x3, x4, moments.mean_abs(), moments.frequency()];
        Self { images: 1.0, mean, comoments: [0.0; PAIRS] }
    }

    /// Merges other images, by Chan's formula with products in place of squares.
    pub fn merge(&mut self, other: &Self) {
        if other.images == 0.0 {
            return;
        }
        let n = self.images + other.images;
        let weight = self.images * other.images / n;
        let mut delta = [0.0; FEATURES];
        for (i, delta) in delta.iter_mut().enumerate() {
            *delta = other.mean[i] - self.mean[i];
            self.mean[i] += *delta * other.images / n;
        }
        let mut pair = 0;
        for i in 0..FEATURES {
            for j in 0..=i {
                self.comoments[pair] += other.comoments[pair] + delta[i] * delta[j] * weight;
                pair += 1;
            }
        }
        self.images = n;
    }

    /// Returns the standard error of a statistic from its gradient; NaN for fewer than two images.
    fn error(&self, gradient: [f64; FEATURES]) -> f64 {
        let mut sum = 0.0;
        let mut pair = 0;
        for i in 0..FEATURES {
            for j in 0..=i {
                let twice = if i == j { 1.0 } else { 2.0 };
                sum += twice * gradient[i] * gradient[j] * self.comoments[pair];
                pair += 1;
            }
        }
        if self.images < 2.0 {
            return f64::NAN;
        }
        // Rounding can leave a small negative sum; NaN stays NaN.
        let sum = if sum < 0.0 { 0.0 } else { sum };
        (sum / (self.images - 1.0) / self.images).sqrt()
    }

    /// Returns the standard error of the mean.
    pub fn mean_error(&self) -> f64 {
        self.error([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    }

    /// Returns the standard error of the variance, whose gradient by (x, x²) is (−2x̄, 1).
    pub fn variance_error(&self) -> f64 {
        self.error([-2.0 * self.mean[0], 1.0, 0.0, 0.0, 0.0, 0.0])
    }

    /// Returns the standard error of the mean magnitude.
    pub fn mean_abs_error(&self) -> f64 {
        self.error([0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    }

    /// Returns the standard error of the share of values above zero.
    pub fn frequency_error(&self) -> f64 {
        self.error([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    }

    /// Returns the standard error of the mean square.
    pub fn square_error(&self) -> f64 {
        self.error([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    }

    /// Returns the standard error of the skewness γ = μ₃/σ³.
    ///
    /// The influence function is (c₃ − 3σ²c₁)/σ³ − 3γc₂/2σ², c the image's central moments.
    pub fn skewness_error(&self) -> f64 {
        let (m, [_, c2, c3, _]) = (self.mean[0], self.central());
        let deviation = c2.sqrt();
        let skewness = c3 / deviation.powi(3);
        let third = 1.0 / deviation.powi(3);
        self.error_of_central(m, [-3.0 * c2 * third, -1.5 * skewness / c2, third, 0.0])
    }

    /// Returns the standard error of the kurtosis κ = μ₄/σ⁴.
    ///
    /// The influence function is (c₄ − 4μ₃c₁)/σ⁴ − 2κc₂/σ², c the image's central moments.
    pub fn kurtosis_error(&self) -> f64 {
        let (m, [_, c2, c3, c4]) = (self.mean[0], self.central());
        let kurtosis = c4 / (c2 * c2);
        let fourth = 1.0 / (c2 * c2);
        self.error_of_central(m, [-4.0 * c3 * fourth, -2.0 * kurtosis / c2, 0.0, fourth])
    }

    /// Computes the central moments of all values from the mean features.
    fn central(&self) -> [f64; 4] {
        let [m, x2, x3, x4, ..] = self.mean;
        [
            0.0,
            x2 - m * m,
            x3 - 3.0 * m * x2 + 2.0 * m.powi(3),
            x4 - 4.0 * m * x3 + 6.0 * m * m * x2 - 3.0 * m.powi(4),
        ]
    }

    /// Returns the standard error of Σ wₖ (x − m)ᵏ, k from 1 to 4.
    fn error_of_central(&self, m: f64, [w1, w2, w3, w4]: [f64; 4]) -> f64 {
        self.error([
            w1 - 2.0 * m * w2 + 3.0 * m * m * w3 - 4.0 * m.powi(3) * w4,
            w2 - 3.0 * m * w3 + 6.0 * m * m * w4,
            w3 - 4.0 * m * w4,
            w4,
            0.0,
            0.0,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(values: &[f64]) -> (Moments, ImageVariation) {
        let mut all = Moments::default();
        for &v in values {
            let one = Moments {
                count: 1.0,
                mean: v,
                sum_abs: v.abs(),
                positive: f64::from(v > 0.0),
                min: v,
                max: v,
                ..Moments::default()
            };
            all.merge(&one);
        }
        (all, ImageVariation::of_image(&all))
    }

    /// Images of four values each, with an offset of their own.
    fn images(n: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..n)
            .map(|_| {
                let offset = next();
                (0..4).map(|_| offset + next() * next() - 0.4).collect()
            })
            .collect()
    }

    fn whole(images: &[Vec<f64>]) -> (Moments, ImageVariation) {
        let (mut moments, mut spread) = (Moments::default(), ImageVariation::default());
        for values in images {
            let (m, s) = image(values);
            moments.merge(&m);
            spread.merge(&s);
        }
        (moments, spread)
    }

    #[test]
    fn the_error_of_the_mean_is_that_of_image_means() {
        let images = [vec![1.0, 3.0], vec![4.0, 4.0], vec![-1.0, 1.0]];
        let (_, spread) = whole(&images);
        // Means 2, 4, 0: sample variance 4, over three images.
        assert!((spread.mean_error() - (4.0f64 / 3.0).sqrt()).abs() < 1e-12);
        // Shares 1, 1, 1/2: sample variance 1/12.
        assert!((spread.frequency_error() - (1.0f64 / 36.0).sqrt()).abs() < 1e-12);
        assert!(image(&[1.0]).1.mean_error().is_nan(), "one image has no standard error");
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let all = images(20, 3);
        let (_, mut first) = whole(&all[..7]);
        first.merge(&whole(&all[7..]).1);
        let (_, expected) = whole(&all);
        for (a, b) in first.comoments.iter().zip(expected.comoments) {
            assert!((a - b).abs() <= 1e-12 * b.abs().max(1e-3), "{a} {b}");
        }
    }

    /// Every error against the spread of the statistic over many samples.
    #[test]
    fn errors_are_the_spread_of_repeated_samples() {
        type Both = (&'static str, fn(&Moments) -> f64, fn(&ImageVariation) -> f64);
        let statistics: [Both; 6] = [
            ("mean", |m| m.mean, ImageVariation::mean_error),
            ("variance", Moments::variance, ImageVariation::variance_error),
            ("mean_abs", Moments::mean_abs, ImageVariation::mean_abs_error),
            ("frequency", Moments::frequency, ImageVariation::frequency_error),
            ("skewness", Moments::skewness, ImageVariation::skewness_error),
            ("kurtosis", Moments::kurtosis, ImageVariation::kurtosis_error),
        ];
        let samples: Vec<(Moments, ImageVariation)> =
            (0..600).map(|s| whole(&images(200, s * 7919 + 1))).collect();
        for (name, value, error) in statistics {
            let values: Vec<f64> = samples.iter().map(|s| value(&s.0)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let spread =
                (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
            let estimated = samples.iter().map(|s| error(&s.1)).sum::<f64>() / samples.len() as f64;
            assert!(
                (estimated / spread - 1.0).abs() < 0.1,
                "{name}: estimated {estimated}, observed {spread}"
            );
        }
    }
}
