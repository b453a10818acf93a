//! The trainings of a network, as data of a page.

use serde::Serialize;

use super::number::Num;
use super::parts::MetricRow;

/// A training of the pruned network, in one of several rounds or after the only cut.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TrainingSection {
    /// Budget of the round in words; `None` if there are no rounds.
    pub budget: Option<String>,
    /// Number of steps of the training.
    pub steps: usize,
    /// Highest learning rate of the training.
    pub rate: Num,
    /// Losses with their weights in the sum.
    pub losses: Vec<LossText>,
    /// Means of the losses, in the order of the steps.
    pub points: Vec<LossPoint>,
    /// Step at which the training diverged, if it did.
    pub diverged: Option<usize>,
    /// Seconds that the training took.
    pub seconds: f64,
    /// Quality before the training, with the value of the teacher or the original.
    pub before: Option<MetricRow>,
    /// Quality after the training.
    pub after: Option<MetricRow>,
}

/// The name of a loss, and its weight in the sum that is minimized.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LossText {
    /// Name of the loss.
    pub name: &'static str,
    /// Weight in the sum.
    pub weight: f64,
}

/// The means of the losses over some steps.
#[derive(Clone, Debug, Serialize)]
pub struct LossPoint {
    /// Number of steps that were made at the end.
    pub step: usize,
    /// Weighted sum of the losses.
    pub loss: Num,
    /// Each loss, in the order of [`TrainingSection::losses`].
    pub losses: Vec<Num>,
    /// Learning rate at the end.
    pub rate: Num,
}
