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
    /// The loss became larger than ten times the first, or no number, at this step.
    Diverged(usize),
}

/// The loss, relative to the first steps', above which a training has diverged.
const DIVERGED: f64 = 10.0;
/// The steps whose mean is the first loss.
const FIRST: usize = 5;

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
    let mut start: Vec<f64> = Vec::new();
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
            if start.len() < FIRST {
                start.push(loss);
            }
            let begun = start.iter().sum::<f64>() / start.len() as f64;
            if !loss.is_finite() || !result.norm.is_finite() || loss > DIVERGED * begun {
                return Ok(FitEnd::Diverged(step));
            }
            after(trainer, &Progress { step: step + 1, per_epoch, rate, loss, result })?;
        }
        Ok(FitEnd::Finished)
    })
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
