//! Moments of one channel, merged pairwise.

/// Statistics of one channel's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// How many values.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// The sum of squared differences to the mean.
    pub m2: f64,
    /// The sum of magnitudes.
    pub sum_abs: f64,
    /// How many are above zero.
    pub positive: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0.0,
            mean: 0.0,
            m2: 0.0,
            sum_abs: 0.0,
            positive: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Moments {
    /// From a tile's six sums as the kernel `channel_stats` gives them, and its number of values.
    pub fn from_tile(tile: &[f32], count: usize) -> Self {
        let at = |i: usize| tile.get(i).map_or(f64::NAN, |&v| f64::from(v));
        let count = count as f64;
        Self {
            count,
            mean: at(0) / count,
            m2: at(1),
            sum_abs: at(2),
            positive: at(3),
            min: at(4),
            max: at(5),
        }
    }

    /// Takes in the moments of other values: Chan, Golub, LeVeque, "Updating formulae and a pairwise
    /// algorithm for computing sample variances", 1979.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        self.mean += delta * other.count / count;
        self.m2 += other.m2 + delta * delta * self.count * other.count / count;
        self.sum_abs += other.sum_abs;
        self.positive += other.positive;
        // NaN in either stays: `f64::min` would hide it.
        self.min = if other.min.is_nan() { other.min } else { self.min.min(other.min) };
        self.max = if other.max.is_nan() { other.max } else { self.max.max(other.max) };
        self.count = count;
    }

    /// The population variance.
    pub fn variance(&self) -> f64 {
        self.m2 / self.count
    }

    /// The mean magnitude.
    pub fn mean_abs(&self) -> f64 {
        self.sum_abs / self.count
    }

    /// The share of values above zero; APoZ is what is left of 1.
    pub fn frequency(&self) -> f64 {
        self.positive / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut all = Moments::default();
        for &v in values {
            let tile = [v as f32, 0.0, v.abs() as f32, f32::from(v > 0.0), v as f32, v as f32];
            all.merge(&Moments::from_tile(&tile, 1));
        }
        all
    }

    #[test]
    fn merging_gives_the_moments_of_the_whole() {
        let values = [1.0, -2.0, 4.0, 0.5, 3.0];
        let mut halves = of(&values[..2]);
        halves.merge(&of(&values[2..]));
        let mean = values.iter().sum::<f64>() / 5.0;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 5.0;
        assert!((halves.mean - mean).abs() < 1e-12);
        assert!((halves.variance() - variance).abs() < 1e-12);
        assert!((halves.mean_abs() - 2.1).abs() < 1e-12);
        assert!((halves.frequency() - 0.8).abs() < 1e-12);
        assert_eq!((halves.min, halves.max), (-2.0, 4.0));
    }

    #[test]
    fn a_nan_is_not_hidden() {
        let mut all = of(&[1.0]);
        all.merge(&of(&[f64::NAN]));
        assert!(all.mean.is_nan() && all.min.is_nan() && all.max.is_nan());
    }
}
