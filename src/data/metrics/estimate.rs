//! Measured values with their standard errors over images.

use serde::Serialize;

/// A measured value with the contribution of each image, in the unit of the metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// The value over all images.
    pub value: f64,
    /// The values of the images, whose mean is `value`; empty if they are unknown.
    ///
    /// For a value that is no mean, these are the pseudo-values of the jackknife ([`pseudo_values`]).
    pub images: Vec<f64>,
    /// The value of an image that counts in full, such as 100 percent; `None` if images count in parts.
    pub whole: Option<f64>,
}

impl Measured {
    /// Creates a value without the contributions of images, so without a standard error.
    pub fn of_set(value: f64) -> Self {
        Self { value, images: vec![], whole: None }
    }

    /// Creates the mean over images; NaN without images.
    pub fn mean(images: Vec<f64>) -> Self {
        let value = images.iter().sum::<f64>() / images.len() as f64;
        Self { value, images, whole: None }
    }

    /// Creates the share of images that count, in percent.
    pub fn share(counts: &[bool]) -> Self {
        let images = counts.iter().map(|&counts| if counts { 100.0 } else { 0.0 }).collect();
        Self { whole: Some(100.0), ..Self::mean(images) }
    }

    /// Returns the standard error of the value; `None` if it is unknown.
    ///
    /// For a share, this is half of Wilson's interval at one standard error, which is above 0 even for a share of 0.
    pub fn error(&self) -> Option<f64> {
        match self.whole {
            Some(whole) if !self.images.is_empty() => {
                let (low, high) = wilson(self.value / whole, self.images.len(), 1.0);
                Some(0.5 * (high - low) * whole)
            }
            _ => standard_error(&self.images),
        }
    }

    /// Returns the standard error of the difference to another value on the same images; `None` if it is unknown.
    ///
    /// Images are compared one by one, because two networks usually err on the same images. For shares, half an image
    /// is added to each of the four cells of the table of both (Agresti & Min 2005), so that few images without a
    /// difference are not certain.
    pub fn difference_error(&self, other: &Self) -> Option<f64> {
        let (ours, others) = (&self.images, &other.images);
        if ours.len() != others.len() {
            return None;
        }
        let pairs = || ours.iter().zip(others);
        match (self.whole, other.whole) {
            (Some(whole), Some(_)) if !ours.is_empty() => {
                let images = ours.len() as f64 + 2.0;
                let better = pairs().filter(|(a, b)| a > b).count() as f64 + 0.5;
                let worse = pairs().filter(|(a, b)| a < b).count() as f64 + 0.5;
                let variance = better + worse - (better - worse).powi(2) / images;
                Some(whole * variance.sqrt() / images)
            }
            _ => standard_error(&pairs().map(|(a, b)| a - b).collect::<Vec<_>>()),
        }
    }
}

/// Returns the standard error of a mean; `None` for fewer than two values, and for values that are not finite.
fn standard_error(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    if count < 2.0 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    Some((squares / (count - 1.0) / count).sqrt())
}

/// Returns the interval for a share of `count` trials at `z` standard errors (Wilson 1927), within 0 to 1.
pub fn wilson(share: f64, count: usize, z: f64) -> (f64, f64) {
    let n = count as f64;
    let z2 = z * z;
    let center = share + z2 / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((center - half) / scale).max(0.0), ((center + half) / scale).min(1.0))
}

/// Returns the jackknife's pseudo-values of a value: `count`·value − (`count` − 1)·(value without image i).
///
/// Their mean estimates the value, and their spread its standard error (Efron & Tibshirani 1993, chapter 11).
pub fn pseudo_values(value: f64, count: usize, without: impl Fn(usize) -> f64) -> Vec<f64> {
    let n = count as f64;
    (0..count).map(|i| n * value - (n - 1.0) * without(i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_the_error_of_wilsons_interval() {
        // 3 of 4: centre (0.75 + 1/8)/1.25 = 0.7, half √(0.1875/4 + 1/64)/1.25 = 0.25/1.25.
        let found = Measured::share(&[true, true, false, true]);
        assert_eq!(found.value, 75.0);
        assert!((found.error().unwrap() - 20.0).abs() < 1e-12);
        let (low, high) = wilson(0.75, 4, 1.0);
        assert!((low - 0.5).abs() < 1e-12 && (high - 0.9).abs() < 1e-12);
        assert!(Measured::share(&[false; 9]).error().unwrap() > 4.0, "no hits are not certain");
        assert_eq!(Measured::share(&[]).error(), None);
    }

    #[test]
    fn the_error_of_a_mean_is_that_of_its_images() {
        let found = Measured::mean(vec![1.0, 2.0, 3.0, 4.0]);
        // Variance 5/3 over 4 images.
        assert!(found.value == 2.5 && (found.error().unwrap() - (5.0f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!(Measured::mean(vec![1.0]).error(), None);
        assert_eq!(Measured::mean(vec![1.0, f64::INFINITY]).error(), None);
        assert_eq!(Measured::of_set(7.0).error(), None);
    }

    #[test]
    fn differences_are_paired() {
        let (before, after) = (vec![1.0, 5.0, 9.0], vec![0.5, 4.5, 8.5]);
        let error = Measured::mean(before).difference_error(&Measured::mean(after));
        assert_eq!(error, Some(0.0), "every image loses as much");
        // b = 1.5, c = 0.5 of 4 + 2: √(2 − 1/6)/6.
        let before = Measured::share(&[true, true, false, true]);
        let after = Measured::share(&[true, false, false, true]);
        let expected = 100.0 * (2.0f64 - 1.0 / 6.0).sqrt() / 6.0;
        assert!((before.difference_error(&after).unwrap() - expected).abs() < 1e-12);
        assert!(before.difference_error(&before).unwrap() > 10.0, "few images are not certain");
        assert_eq!(before.difference_error(&Measured::share(&[true])), None);
    }

    #[test]
    fn pseudo_values_of_a_mean_are_its_values() {
        let values = [2.0, 4.0, 9.0];
        let found = pseudo_values(5.0, 3, |i| (15.0 - values[i]) / 2.0);
        assert_eq!(found, values);
    }
}
