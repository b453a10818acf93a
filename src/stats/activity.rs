//! Statistics of a channel's outputs over a calibration set.

use super::{Histogram, ImageVariation, Moments};

/// Statistics of one channel's outputs.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Activity {
    /// Moments of all values.
    pub moments: Moments,
    /// Variation of the values from image to image.
    pub spread: ImageVariation,
    /// Histogram of the images' spatial means.
    pub means: Histogram,
}

/// A statistic computed from an [`Activity`]: the name of its column and its function.
pub type DerivedStatistic = (&'static str, fn(&Activity) -> f64);

/// The derived statistics of a profile, with their standard errors (`_se`).
pub const DERIVED: [DerivedStatistic; 14] = [
    ("variance", |a| a.moments.variance()),
    ("skewness", |a| a.moments.skewness()),
    ("kurtosis", |a| a.moments.kurtosis()),
    ("mean_abs", |a| a.moments.mean_abs()),
    ("frequency", |a| a.moments.frequency()),
    ("apoz", |a| 1.0 - a.moments.frequency()),
    ("entropy", |a| a.means.entropy().0),
    ("mean_se", |a| a.spread.mean_error()),
    ("variance_se", |a| a.spread.variance_error()),
    ("skewness_se", |a| a.spread.skewness_error()),
    ("kurtosis_se", |a| a.spread.kurtosis_error()),
    ("mean_abs_se", |a| a.spread.mean_abs_error()),
    ("frequency_se", |a| a.spread.frequency_error()),
    ("entropy_se", |a| a.means.entropy().1),
];

impl Activity {
    /// Adds one image's values.
    pub fn add_image(&mut self, image: &Moments) {
        self.moments.merge(image);
        self.spread.merge(&ImageVariation::of_image(image));
        self.means.add(image.mean);
    }

    /// Merges the statistics of other images.
    pub fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.spread.merge(&other.spread);
        self.means.merge(&other.means);
    }
}
