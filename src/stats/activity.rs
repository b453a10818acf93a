//! What a channel does over a calibration set.

use super::{Histogram, ImageVariation, Moments};

/// Statistics of one channel's outputs.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Activity {
    /// Of all values.
    pub moments: Moments,
    /// How they vary from image to image.
    pub spread: ImageVariation,
    /// Of the images' spatial means.
    pub means: Histogram,
}

/// A column of a profile: its name and how it is computed.
pub type Column = (&'static str, fn(&Activity) -> f64);

/// What follows from the statistics, with its standard error where it has one: what people look at.
pub const DERIVED: [Column; 14] = [
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
    /// Takes in one image's values.
    pub fn add_image(&mut self, image: &Moments) {
        self.moments.merge(image);
        self.spread.merge(&ImageVariation::of_image(image));
        self.means.add(image.mean);
    }

    /// Takes in other images.
    pub fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.spread.merge(&other.spread);
        self.means.merge(&other.means);
    }
}
