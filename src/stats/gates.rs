//! Gradients of gates: how much a loss depends on a factor of each channel.
//!
//! A gate multiplies a channel of a layer's output, after the activation. The gradient of an image's loss with respect to it
//! is Σ a · ∂L/∂a over the positions a of the channel.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The number of images whose mean gradient is squared for the criterion `taylor`.
pub const GATE_BATCH: usize = 32;

/// The loss of an image whose gradients are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateLoss {
    /// Cross-entropy with the image's label.
    Labels,
    /// Cross-entropy with a class that is drawn from the network's own probabilities.
    DrawnClasses,
    /// Sum of the outputs, each times a random number of mean 0 and variance 1.
    Outputs,
}

impl std::fmt::Display for GateLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Labels => "the cross-entropy with labels",
            Self::DrawnClasses => "the cross-entropy with drawn classes",
            Self::Outputs => "the squared error of outputs",
        })
    }
}

/// The images and the loss of the gradients in a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientHeader {
    /// The loss of an image.
    pub loss: GateLoss,
    /// Number of images in the sums.
    pub images: u64,
    /// Number of batches of [`GATE_BATCH`] images.
    pub batches: u64,
    /// Number of images visited, unreadable ones included: the place where an interrupted pass continues.
    pub position: usize,
    /// True if the pass visited all images of the profile.
    pub complete: bool,
    /// The nodes through which no gradient passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stops: Vec<String>,
}

impl GradientHeader {
    /// Creates the header of a pass that begins.
    pub fn new(loss: GateLoss, stops: Vec<String>) -> Self {
        Self { loss, images: 0, batches: 0, position: 0, complete: false, stops }
    }

    /// Merges the header of other images.
    pub(super) fn merge(&mut self, other: &Self) {
        self.images += other.images;
        self.batches += other.batches;
        self.position += other.position;
        self.complete &= other.complete;
        let stops: BTreeSet<String> = self.stops.drain(..).chain(other.stops.iter().cloned()).collect();
        self.stops = stops.into_iter().collect();
    }
}

/// Sums of the gradients G of a layer's gates.
///
/// All have one number for each channel, or none if no gradient reaches the layer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GateSums {
    /// Σ G² over images.
    pub squares: Vec<f64>,
    /// Σ G⁴ over images.
    pub fourths: Vec<f64>,
    /// Σ (mean of G)² over batches.
    pub batch_squares: Vec<f64>,
    /// Σ (mean of G)⁴ over batches.
    pub batch_fourths: Vec<f64>,
}

/// Adds powers of numbers to sums.
fn add_powers(numbers: impl Iterator<Item = f64>, squares: &mut [f64], fourths: &mut [f64]) {
    for (number, (second, fourth)) in numbers.zip(squares.iter_mut().zip(fourths)) {
        let square = number * number;
        *second += square;
        *fourth += square * square;
    }
}

/// Returns mean and standard error of `n` numbers from their sum and their sum of squares.
fn mean_and_error(sum: f64, squares: f64, n: u64) -> (f64, f64) {
    let n = n as f64;
    let mean = sum / n;
    let variance = (squares / n - mean * mean).max(0.0) * n / (n - 1.0);
    (mean, (variance / n).sqrt())
}

impl GateSums {
    /// Returns the four columns with their names.
    pub(super) fn columns(&self) -> [(&'static str, &Vec<f64>); 4] {
        [
            ("squares", &self.squares),
            ("fourths", &self.fourths),
            ("batch_squares", &self.batch_squares),
            ("batch_fourths", &self.batch_fourths),
        ]
    }

    /// Adds the gradients of some images, each a row of one number a channel; `is_batch` if they are a batch.
    pub(super) fn add(&mut self, images: &[&[f32]], is_batch: bool) {
        let channels = images.first().map_or(0, |row| row.len());
        for column in [&mut self.squares, &mut self.fourths, &mut self.batch_squares, &mut self.batch_fourths]
        {
            column.resize(channels, 0.0);
        }
        let mut mean = vec![0.0; channels];
        for row in images {
            let numbers = || row.iter().map(|&g| f64::from(g));
            add_powers(numbers(), &mut self.squares, &mut self.fourths);
            mean.iter_mut().zip(numbers()).for_each(|(mean, g)| *mean += g / images.len() as f64);
        }
        if is_batch {
            add_powers(mean.into_iter(), &mut self.batch_squares, &mut self.batch_fourths);
        }
    }

    /// Merges the sums of other images.
    pub(super) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in [
            (&mut self.squares, &other.squares),
            (&mut self.fourths, &other.fourths),
            (&mut self.batch_squares, &other.batch_squares),
            (&mut self.batch_fourths, &other.batch_fourths),
        ] {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        }
    }

    /// Returns mean and standard error over `images` of ½ G², for each channel.
    pub fn fisher(&self, images: u64) -> Vec<(f64, f64)> {
        let both = self.squares.iter().zip(&self.fourths);
        both.map(|(square, fourth)| mean_and_error(square / 2.0, fourth / 4.0, images)).collect()
    }

    /// Returns mean and standard error over `batches` of the squared mean of G, for each channel.
    pub fn taylor(&self, batches: u64) -> Vec<(f64, f64)> {
        let both = self.batch_squares.iter().zip(&self.batch_fourths);
        both.map(|(&square, &fourth)| mean_and_error(square, fourth, batches)).collect()
    }
}
