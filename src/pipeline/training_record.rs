//! The record of a training: its options, and the losses along the way.

use super::evaluation::Evaluation;
use crate::data::augment::Augment;
use crate::train::{FeatureLayers, Objective, Optimizer, PenaltyRule, Progress, Schedule};

/// A point of a training's curve: the means over the steps since the point before.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TrainingPoint {
    /// The number of finished steps.
    pub step: usize,
    /// The weighted sum of the losses.
    pub loss: f64,
    /// Each loss, in the order of [`TrainingRecord::losses`].
    pub losses: Vec<f64>,
    /// The learning rate at the end.
    pub rate: f64,
    /// Seconds since the start of the training.
    pub seconds: f64,
}

/// The course of a training.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TrainingRecord {
    /// The number of steps in all.
    pub steps: usize,
    /// Steps that were made.
    pub made: usize,
    /// Images of a step.
    pub batch: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// True if the learning rate was found by a range test.
    pub found_rate: bool,
    /// The schedule of the learning rate.
    pub schedule: Schedule,
    /// The rule of updates.
    pub optimizer: Optimizer,
    /// Weight decay of layers' weights.
    pub decay: f64,
    /// The losses that are minimized, with their weights.
    pub objective: Objective,
    /// The layers whose features are compared with the teacher's.
    pub features: FeatureLayers,
    /// The random changes of images.
    pub augment: Augment,
    /// The seed of order and changes.
    pub seed: u64,
    /// The penalty that shrinks groups of weights.
    pub penalty: Option<PenaltyRule>,
    /// True if BatchNormalization used the statistics of each batch.
    pub train_bn: bool,
    /// The number of groups that the penalty made zero, and of all groups.
    pub zero_groups: Option<[usize; 2]>,
    /// The names of the losses.
    pub losses: Vec<&'static str>,
    /// The number of trained numbers.
    pub parameters: usize,
    /// Nodes through which no gradient passes.
    pub stops: Vec<String>,
    /// The curve by epochs, a point for each.
    pub curve: Vec<TrainingPoint>,
    /// The curve by equal numbers of steps, at most 100 points.
    pub course: Vec<TrainingPoint>,
    /// The step at which the training diverged, if it did; the parameters are those of the epoch before.
    pub diverged: Option<usize>,
}

impl TrainingRecord {
    /// The largest number of points of [`Self::course`].
    const POINTS: usize = 100;

    /// Returns the number of steps of a point of [`Self::course`].
    pub(super) fn point_steps(&self) -> usize {
        self.steps.div_ceil(Self::POINTS).max(1)
    }
}

/// A round before the last one, with the quality of its network around the training.
#[derive(Clone, Debug)]
pub struct Round {
    /// The budget of the round, in words.
    pub budget: String,
    /// The quality before the training.
    pub untrained: Option<Evaluation>,
    /// The course of the training.
    pub training: Option<TrainingRecord>,
    /// The quality after the training.
    pub evaluation: Option<Evaluation>,
}

/// Sums of the losses over some steps.
#[derive(Default)]
pub(super) struct LossSums {
    /// The sum of the weighted loss, then of each loss.
    sums: Vec<f64>,
    count: usize,
    /// The number of finished steps.
    step: usize,
    /// The learning rate of the last step.
    rate: f64,
}

impl LossSums {
    /// Adds the losses of a step.
    pub(super) fn add(&mut self, progress: &Progress) {
        let numbers = std::iter::once(progress.loss).chain(progress.result.losses.iter().copied());
        self.sums.resize(1 + progress.result.losses.len(), 0.0);
        self.sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
        self.count += 1;
        (self.step, self.rate) = (progress.step, progress.rate);
    }

    /// Returns the number of steps since the last point.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the means over the steps, and starts anew; `None` if there were no steps.
    pub(super) fn point(&mut self, seconds: f64) -> Option<TrainingPoint> {
        let count = std::mem::take(&mut self.count) as f64;
        let means: Vec<f64> = self.sums.drain(..).map(|sum| sum / count).collect();
        let (&loss, losses) = means.split_first()?;
        Some(TrainingPoint { step: self.step, loss, losses: losses.to_vec(), rate: self.rate, seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::StepResult;

    fn progress(step: usize, losses: [f64; 2]) -> Progress {
        let result = StepResult { losses: losses.to_vec(), norm: 1.0 };
        Progress { step, per_epoch: 3, rate: 0.5 / step as f64, loss: losses[0] + 2.0 * losses[1], result }
    }

    #[test]
    fn a_point_has_the_means_of_the_steps_since_the_last() {
        let mut sums = LossSums::default();
        let steps = [progress(1, [1.0, 4.0]), progress(2, [3.0, 2.0]), progress(3, [8.0, 1.0])];
        steps[..2].iter().for_each(|step| sums.add(step));
        let first = sums.point(7.0).expect("two steps");
        assert_eq!((first.step, first.loss, first.rate, first.seconds), (2, 8.0, 0.25, 7.0));
        assert_eq!(first.losses, [2.0, 3.0]);
        assert_eq!(sums.point(8.0), None);
        sums.add(&steps[2]);
        let second = sums.point(9.0).expect("one step");
        assert_eq!((second.step, second.loss, second.losses), (3, 10.0, vec![8.0, 1.0]));
    }
}
