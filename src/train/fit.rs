//! The loop of a training: steps over epochs, the learning rate, and divergence.

use std::sync::mpsc::sync_channel;

use super::feed::{Feed, TrainingBatch, TrainingData};
use super::schedule::Schedule;
use super::trainer::{StepResult, Trainer};
use crate::data::augment::Augment;
use crate::error::{Error, Result};

/// The options of a training's loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// The number of steps in all.
    pub steps: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// The schedule of the learning rate.
    pub schedule: Schedule,
    /// The random changes of images.
    pub augment: Augment,
    /// The seed of order and changes.
    pub seed: u64,
}

/// The progress of a training after a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The number of finished steps.
    pub step: usize,
    /// Steps of an epoch.
    pub per_epoch: usize,
    /// The learning rate of the step.
    pub rate: f64,
    /// The weighted sum of the losses.
    pub loss: f64,
    /// The numbers of the step.
    pub result: StepResult,
}

/// The end of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitEnd {
    /// All steps were made.
    Finished,
    /// The average loss became larger than ten times the first, or a loss no number, at this step.
    Diverged(usize),
}

/// The loss, relative to that of the first steps, above which a training has diverged.
const DIVERGED: f64 = 10.0;
/// The number of steps whose mean is the first loss.
const FIRST: usize = 5;
/// The least first loss: smaller ones grow tenfold by a single image that is hard to learn.
const LEAST: f64 = 0.1;
/// The share of a step's loss in the moving average that is compared with the first loss.
const SHARE: f64 = 0.1;

/// The losses of a training so far, by which divergence shows.
#[derive(Default)]
struct Losses {
    first: Vec<f64>,
    average: Option<f64>,
}

impl Losses {
    /// Adds the loss of a step; returns whether the training has diverged.
    fn diverge(&mut self, loss: f64) -> bool {
        let average = self.average.map_or(loss, |average| average + SHARE * (loss - average));
        self.average = Some(average);
        let first = self.first.iter().sum::<f64>() / self.first.len().max(1) as f64;
        let above = !self.first.is_empty() && average > DIVERGED * first.max(LEAST);
        if self.first.len() < FIRST {
            self.first.push(loss);
        }
        above || !loss.is_finite()
    }
}

impl TrainingData<'_> {
    /// Checks that the samples fill a batch and that their labels are classes of the network.
    ///
    /// # Errors
    /// Fewer samples than a batch has, no labels for a training that uses them, and labels beyond the classes.
    pub fn check(&self, trainer: &Trainer) -> Result<()> {
        let batch = trainer.batch();
        if self.images.count < batch {
            return Err(Error::new("there are fewer samples than a batch has")
                .expected(format!("at least {batch} samples"))
                .got(self.images.count.to_string())
                .remedy(format!("give {batch} samples or more: the network computes so many at once")));
        }
        let Some((classes, _)) = classes(trainer) else { return Ok(()) };
        let labels = self.labels.ok_or_else(|| {
            Error::new("training on labels needs labels")
                .expected("a class for every image")
                .got("images without labels")
                .remedy("set `labels`, sort the images into folders of their classes, or set `teacher`")
        })?;
        if let Some(&label) = labels.iter().find(|&&label| label as usize >= classes) {
            return Err(Error::new("a label is no class of the network")
                .expected(format!("labels below {classes}"))
                .got(label.to_string())
                .remedy("give the labels of this network's classes, or set `label_offset`"));
        }
        Ok(())
    }
}

/// Returns the number of classes and of positions of a sample, if labels are used.
fn classes(trainer: &Trainer) -> Option<(usize, usize)> {
    let shape = trainer.classes()?;
    Some((shape.get(1).copied().unwrap_or(1), shape.iter().skip(2).product()))
}

/// Returns the feed of a trainer.
///
/// # Errors
/// As [`TrainingData::check`].
fn feed<'a>(trainer: &Trainer, data: TrainingData<'a>, augment: Augment, seed: u64) -> Result<Feed<'a>> {
    data.check(trainer)?;
    Ok(Feed { data, batch: trainer.batch(), augment, seed, classes: classes(trainer) })
}

/// Trains from step `first` to the end of the options' steps. `after` is called after every step, and may end the
/// training by an error.
///
/// # Errors
/// A device that fails, data that do not fit, and errors of `after`.
pub fn fit(
    trainer: &mut Trainer,
    data: TrainingData,
    options: &FitOptions,
    first: usize,
    after: &mut dyn FnMut(&mut Trainer, &Progress) -> Result<()>,
) -> Result<FitEnd> {
    let feed = feed(trainer, data, options.augment, options.seed)?;
    let per_epoch = feed.batches();
    measure_teacher(trainer, &feed)?;
    let mut losses = Losses::default();
    // Batches are prepared on other cores while the device computes.
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel::<TrainingBatch>(1);
        let feed = &feed;
        scope.spawn(move || {
            // The receiver ends early if the training fails.
            (first..options.steps).map(|step| feed.batch(step)).try_for_each(|batch| send.send(batch)).ok()
        });
        for step in first..options.steps {
            let batch = receive
                .recv()
                .map_err(|_| Error::new("the preparation of batches ended early").internal())?;
            let inputs: Vec<&[f32]> = batch.inputs.iter().map(Vec::as_slice).collect();
            let rate = options.rate * options.schedule.factor(step, options.steps);
            let result = trainer.step(&inputs, rate, average(step, options.steps))?;
            let loss = trainer.total(&result);
            if losses.diverge(loss) || !result.norm.is_finite() {
                return Ok(FitEnd::Diverged(step));
            }
            after(trainer, &Progress { step: step + 1, per_epoch, rate, loss, result })?;
        }
        Ok(FitEnd::Finished)
    })
}

/// Measures the teacher's arrays on the first batch, on which relative errors depend.
fn measure_teacher(trainer: &mut Trainer, feed: &Feed) -> Result<()> {
    if !trainer.lacks_mean_squares() {
        return Ok(());
    }
    let batch = feed.batch(0);
    trainer.measure_teacher(&batch.inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Returns the share of new values in the moving average, which so covers about a twentieth of the steps.
fn average(step: usize, steps: usize) -> f64 {
    (20.0 / steps.max(1) as f64).max(1.0 / (step + 1) as f64).min(1.0)
}

/// Returns a learning rate for the training, found by a short range test (Smith 2017).
///
/// The rate grows from step to step by a constant factor until the loss of a few batches rises; the parameters are restored
/// afterwards. `after` is called with the number of steps after every one, and may end the test by an error.
///
/// # Errors
/// A device that fails, data that do not fit, and errors of `after`.
pub fn find_rate(
    trainer: &mut Trainer,
    data: TrainingData,
    augment: Augment,
    seed: u64,
    after: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<f64> {
    const LOWEST: f64 = 1e-5;
    const STEPS: usize = RANGE_STEPS;
    let saved = trainer.save()?;
    let feed = feed(trainer, data, augment, seed)?;
    measure_teacher(trainer, &feed)?;
    let batches: Vec<TrainingBatch> = (0..4.min(feed.batches())).map(|step| feed.batch(step)).collect();
    let growth = (trainer.optimizer().highest_rate() / LOWEST).powf(1.0 / (STEPS - 1) as f64);
    let (mut rate, mut smooth, mut best) = (LOWEST, None::<f64>, (f64::INFINITY, LOWEST));
    for step in 0..STEPS {
        let batch = &batches[step % batches.len()];
        let inputs: Vec<&[f32]> = batch.inputs.iter().map(Vec::as_slice).collect();
        let result = trainer.step(&inputs, rate, 1.0)?;
        after(step + 1)?;
        let loss = trainer.total(&result);
        let now = smooth.map_or(loss, |old| 0.8 * old + 0.2 * loss);
        if !now.is_finite() || now > 2.0 * best.0 {
            break;
        }
        smooth = Some(now);
        if now < best.0 {
            best = (now, rate);
        }
        rate *= growth;
    }
    trainer.restore(&saved)?;
    Ok(best.1 / SAFETY)
}

/// The largest number of steps of a range test.
pub const RANGE_STEPS: usize = 60;

/// The rate with the smallest loss of a range test, divided by the rate to train with.
const SAFETY: f64 = 1.5;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the step at which a training with these losses diverges.
    fn diverges(losses: &[f64]) -> Option<usize> {
        let mut all = Losses::default();
        losses.iter().position(|&loss| all.diverge(loss))
    }

    #[test]
    fn large_losses_and_losses_without_a_number_are_divergence() {
        assert_eq!(diverges(&[2.0, 1.5, 1.0, 3.0, 2.0, 1.0, 4.0]), None);
        assert_eq!(diverges(&[2.0, f64::NAN]), Some(1));
        assert_eq!(diverges(&[f64::INFINITY]), Some(0));
        assert_eq!(diverges(&[2.0, 1e4, 1e4]), Some(1), "in the second step");
        assert_eq!(diverges(&[[1.0; 6].as_slice(), &[11.0; 100]].concat()), Some(6 + 21), "slowly");
        assert_eq!(
            diverges(&[[0.01; 6].as_slice(), &[3.0, 0.01, 0.9, 3.0, 0.0]].concat()),
            None,
            "hard images"
        );
    }
}
