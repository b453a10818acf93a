//! Moments of one channel's values, with an exact pairwise merge.

use crate::kernels::channel_stats::ChannelStats;

/// Count, central moments and range of one channel's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Number of values, exact up to 2⁵³ (ten million images of 224×224 pixels are 2³⁹).
    pub count: f64,
    /// Mean of the values.
    pub mean: f64,
    /// Sum of squared deviations from the mean.
    pub m2: f64,
    /// Sum of third powers of the deviations.
    pub m3: f64,
    /// Sum of fourth powers of the deviations.
    pub m4: f64,
    /// Sum of the magnitudes.
    pub sum_abs: f64,
    /// Number of values above zero.
    pub positive: f64,
    /// Smallest value; infinity without values.
    pub min: f64,
    /// Largest value; negative infinity without values.
    pub max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0.0,
            mean: 0.0,
            m2: 0.0,
            m3: 0.0,
            m4: 0.0,
            sum_abs: 0.0,
            positive: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Moments {
    /// Converts a tile's eight sums from the kernel [`ChannelStats`], and its number of values.
    pub fn from_tile(tile: &[f32; ChannelStats::FIELDS], count: usize) -> Self {
        let [sum, m2, m3, m4, sum_abs, positive, min, max] = tile.map(f64::from);
        let count = count as f64;
        Self { count, mean: sum / count, m2, m3, m4, sum_abs, positive, min, max }
    }

    /// Merges the moments of other values.
    ///
    /// Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979;
    /// higher powers from Pébay, "Formulas for robust, one-pass parallel computation of covariances and
    /// arbitrary-order statistical moments", 2008, equations 3.1.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        let (a, b) = (self.count, other.count);
        let n = a + b;
        let delta = other.mean - self.mean;
        let step = delta / n;
        let spread = delta * step * a * b;
        self.m4 += other.m4
            + spread * step * step * (a * a - a * b + b * b)
            + 6.0 * step * step * (a * a * other.m2 + b * b * self.m2)
            + 4.0 * step * (a * other.m3 - b * self.m3);
        self.m3 += other.m3 + spread * step * (a - b) + 3.0 * step * (a * other.m2 - b * self.m2);
        self.m2 += other.m2 + spread;
        self.mean += step * b;
        self.sum_abs += other.sum_abs;
        self.positive += other.positive;
        // NaN in either stays: `f64::min` would hide it.
        self.min = if other.min.is_nan() { other.min } else { self.min.min(other.min) };
        self.max = if other.max.is_nan() { other.max } else { self.max.max(other.max) };
        self.count = n;
    }

    /// Returns the population variance.
    pub fn variance(&self) -> f64 {
        self.m2 / self.count
    }

    /// Returns the third standardized moment; NaN if all values are equal.
    pub fn skewness(&self) -> f64 {
        self.m3 / self.count / self.variance().powf(1.5)
    }

    /// Returns the fourth standardized moment, 3 for a normal distribution; NaN if all values are equal.
    pub fn kurtosis(&self) -> f64 {
        self.m4 / self.count / self.variance().powi(2)
    }

    /// Returns the mean magnitude.
    pub fn mean_abs(&self) -> f64 {
        self.sum_abs / self.count
    }

    /// Returns the share of values above zero; APoZ is 1 minus this.
    pub fn frequency(&self) -> f64 {
        self.positive / self.count
    }

    /// Returns the means of the first four powers of the values.
    pub fn raw(&self) -> [f64; 4] {
        let (n, m) = (self.count, self.mean);
        let (c2, c3, c4) = (self.m2 / n, self.m3 / n, self.m4 / n);
        let square = m * m;
        [
            m,
            c2 + square,
            c3 + 3.0 * m * c2 + m * square,
            c4 + 4.0 * m * c3 + 6.0 * square * c2 + square * square,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut all = Moments::default();
        for &v in values {
            let v = v as f32;
            all.merge(&Moments::from_tile(&[v, 0.0, 0.0, 0.0, v.abs(), f32::from(v > 0.0), v, v], 1));
        }
        all
    }

    #[test]
    fn merging_gives_the_moments_of_the_whole() {
        let values = [1.0, -2.0, 4.0, 0.5, 3.0, 100.0, 7.0];
        let n = values.len() as f64;
        let mut halves = of(&values[..2]);
        halves.merge(&of(&values[2..]));
        let mean = values.iter().sum::<f64>() / n;
        let power = |k| values.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / n;
        let near = |a: f64, b: f64| assert!((a - b).abs() <= 1e-12 * b.abs(), "{a} {b}");
        near(halves.mean, mean);
        near(halves.variance(), power(2));
        near(halves.skewness(), power(3) / power(2).powf(1.5));
        near(halves.kurtosis(), power(4) / power(2).powi(2));
        near(halves.mean_abs(), 117.5 / 7.0);
        near(halves.frequency(), 6.0 / 7.0);
        let raw = halves.raw();
        (0..4).for_each(|k| near(raw[k], values.iter().map(|v| v.powi(k as i32 + 1)).sum::<f64>() / n));
        assert_eq!((halves.min, halves.max), (-2.0, 100.0));
    }

    #[test]
    fn a_nan_is_not_hidden() {
        let mut all = of(&[1.0]);
        all.merge(&of(&[f64::NAN]));
        assert!(all.mean.is_nan() && all.min.is_nan() && all.max.is_nan() && all.kurtosis().is_nan());
    }

    /// Ten million images of 224×224: partials of that size, not the images.
    #[test]
    fn counts_stay_exact() {
        let million =
            Moments { count: 1e6 * 224.0 * 224.0, positive: 1e6 * 224.0 * 224.0 - 1.0, ..Moments::default() };
        let mut all = Moments::default();
        (0..10).for_each(|_| all.merge(&million));
        all.merge(&of(&[1.0]));
        assert_eq!(all.count, 501_760_000_001.0);
        assert_eq!(all.positive, 501_759_999_991.0);
    }
}
