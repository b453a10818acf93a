//! Metrics of a network's outputs, built in or given by callers.
//!
//! A [`Metric`] starts a [`Meter`] for each network, which receives the outputs image by image.

mod box_columns;
#[cfg(test)]
mod box_tests;
mod boxes;
mod builtin;
mod choice;
mod function;
mod output_kind;

use std::fmt::Debug;
use std::sync::Arc;

pub use crate::data::metrics::estimate::Measured;
use crate::data::{DataSources, ImagePlace, LabelImages, Preprocessing};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

pub use box_columns::BoxColumns;
pub(super) use builtin::floats;
pub(super) use choice::{Choice, Judged, choose};
pub use function::FunctionMetric;

/// An output of a network for one image: the name of the value, and its elements with the batch axis.
pub type NamedTensor = (String, Tensor);

/// An image with the outputs of a network for it.
#[derive(Debug)]
pub struct JudgedImage<'a> {
    /// The place of the image in its data set.
    pub place: &'a ImagePlace,
    /// The class index of the image, if it is known.
    pub label: Option<u32>,
    /// The preprocessing of the image.
    pub recipe: &'a Preprocessing,
    /// The outputs of the network that is judged.
    pub outputs: &'a [NamedTensor],
    /// The outputs of the reference network, if there is one.
    pub reference: Option<&'a [NamedTensor]>,
}

/// A measure of the outputs of a network over images.
pub trait Metric: Debug + Send + Sync {
    /// Returns the name, such as `top-1`.
    fn name(&self) -> String;

    /// Returns the unit of values: `%`, `dB`, or nothing.
    fn unit(&self) -> &str;

    /// Returns whether larger values are better.
    fn higher_is_better(&self) -> bool {
        true
    }

    /// Starts a measurement over images.
    ///
    /// # Errors
    /// A measurement that cannot be prepared.
    fn meter(&self) -> Result<Box<dyn Meter>>;
}

/// A measurement over images that is under way.
pub trait Meter {
    /// Adds an image with its outputs.
    ///
    /// # Errors
    /// Outputs or labels that the metric cannot measure.
    fn add(&mut self, image: &JudgedImage) -> Result<()>;

    /// Returns the value over all images.
    ///
    /// # Errors
    /// A measurement that fails.
    fn finish(self: Box<Self>) -> Result<Measured>;
}

/// The name of a metric.
#[derive(Clone, Debug)]
pub enum MetricKind {
    /// The share of images whose label has the largest score.
    Top1,
    /// The share of images whose label is among the five largest scores.
    Top5,
    /// The share of images with the class of the original.
    Agreement,
    /// The signal-to-noise ratio to the outputs of the original.
    Snr,
    /// The peak signal-to-noise ratio to label images, or to the outputs of the original.
    Psnr,
    /// The structural similarity to label images, or to the outputs of the original.
    Ssim,
    /// The mean intersection over union with masks, or with the classes of the original.
    Miou,
    /// The F1 score of boxes, with those of the original.
    Boxes,
    /// A metric of the caller.
    Custom(Arc<dyn Metric>),
}

impl MetricKind {
    /// The names of the built-in metrics.
    pub const NAMES: [&str; 8] = ["top1", "top5", "agreement", "snr", "psnr", "ssim", "miou", "boxes"];
}

impl std::str::FromStr for MetricKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "top1" | "top-1" => Self::Top1,
            "top5" | "top-5" => Self::Top5,
            "agreement" => Self::Agreement,
            "snr" => Self::Snr,
            "psnr" => Self::Psnr,
            "ssim" => Self::Ssim,
            "miou" => Self::Miou,
            "boxes" => Self::Boxes,
            _ => {
                let error = Error::new("an unknown metric").expected(Self::NAMES.join(", "));
                return Err(error.got(format!("\"{text}\"")).meant(
                    text,
                    Self::NAMES,
                    "choose one of these, or give a command",
                ));
            }
        })
    }
}

/// How the outputs of networks are measured.
#[derive(Clone, Debug, Default)]
pub struct MetricOptions {
    /// The metric; `None` chooses one by outputs and labels.
    pub metric: Option<MetricKind>,
    /// Label images of the images that judge.
    pub labels: Option<Arc<LabelImages>>,
    /// The largest value of pictures for PSNR and SSIM.
    ///
    /// `None` takes the recipe's scale for label images, else the range of the original's outputs.
    pub peak: Option<f64>,
    /// The columns of a row that describes a box; `None` for those that the original's values allow.
    pub boxes: Option<BoxColumns>,
    /// The least score of a box that counts; by default 0.25.
    pub min_score: Option<f64>,
    /// True to go on although the original is not better than chance.
    pub force: bool,
}

impl MetricOptions {
    /// Checks the range of the options' numbers, and that they belong to the metric.
    ///
    /// # Errors
    /// A peak that is not above 0, a score that is no number, and options for boxes beside another metric.
    pub fn check(&self) -> Result<()> {
        let has_other = self.metric.as_ref().is_some_and(|metric| !matches!(metric, MetricKind::Boxes));
        if has_other && (self.boxes.is_some() || self.min_score.is_some()) {
            return Err(Error::new("`boxes` and `min_score` are for the metric boxes")
                .expected("`metric` boxes, or none")
                .remedy("leave them out, or set `metric` to boxes"));
        }
        if let Some(score) = self.min_score.filter(|score| !score.is_finite()) {
            return Err(Error::new("`min_score` does not fit")
                .expected("the least score of a box, a number")
                .got(score.to_string())
                .remedy("for example 0.25"));
        }
        match self.peak {
            Some(peak) if !(peak > 0.0 && peak.is_finite()) => Err(Error::new("`peak` does not fit")
                .expected("the largest value of the pictures, above 0")
                .got(peak.to_string())
                .remedy("for example 1 or 255")),
            _ => Ok(()),
        }
    }

    /// Adds the label images that a `.npz` file of images holds, unless others are given.
    ///
    /// # Errors
    /// A file that cannot be read, and label images in one of several sources.
    pub fn with_labels_within(mut self, data: &DataSources) -> Result<Self> {
        if self.labels.is_none() {
            self.labels = LabelImages::within(data)?.map(Arc::new);
        }
        Ok(self)
    }
}

/// A metric's value for two networks, in its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricResult {
    /// The name of the metric.
    pub name: String,
    /// The unit of its values: `%`, `dB`, or nothing.
    pub unit: String,
    /// True if larger values are better.
    pub higher_is_better: bool,
    /// The value of the reference network; infinite for a ratio to its own outputs.
    pub before: Option<f64>,
    /// The value of the network that is judged.
    pub after: f64,
    /// The standard error of the difference; without a reference network, that of the value.
    pub error: Option<f64>,
    /// The number of images.
    pub images: usize,
}

impl MetricResult {
    /// Returns the loss against the reference network: positive if the network is worse.
    pub fn drop(&self) -> Option<f64> {
        let before = self.before?;
        Some(if self.higher_is_better { before - self.after } else { self.after - before })
    }

    /// Returns the value minus that of the reference network; `None` unless both are finite.
    pub fn difference(&self) -> Option<f64> {
        self.before.map(|before| self.after - before).filter(|difference| difference.is_finite())
    }

    /// Returns the least difference that the images can resolve: two standard errors.
    pub fn resolution(&self) -> Option<f64> {
        self.error.filter(|_| self.difference().is_some()).map(|error| 2.0 * error)
    }

    /// Returns whether the difference to the reference network is less than the images can resolve.
    pub fn is_unresolved(&self) -> bool {
        self.difference().zip(self.resolution()).is_some_and(|(difference, least)| difference.abs() < least)
    }

    /// Returns whether values compare with the reference network, so that its own value says nothing.
    pub fn is_relative(&self) -> bool {
        matches!(self.name.as_str(), "agreement" | "SNR") || self.before == Some(f64::INFINITY)
    }

    /// Returns the unit of a loss: `points` for percentages.
    pub fn drop_unit(&self) -> &str {
        if self.unit == "%" { "points" } else { &self.unit }
    }
}
