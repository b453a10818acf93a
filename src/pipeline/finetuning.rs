//! Fine-tuning: trains a network to imitate another one, or on labels, and judges it before and after.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::evaluation::{Evaluation, evaluate_by};
use super::metric::MetricOptions;
use super::network::Network;
use crate::data::augment::Augment;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::graph::facts::takes_batches;
use crate::observer::{Notice, Observer, Stage, advance, staged};
use crate::onnx::Model;
use crate::prune::with_constants;
use crate::train::{
    FitEnd, FitOptions, Objective, Optimizer, Progress, RANGE_STEPS, Schedule, Trainer, TrainerOptions,
    TrainingData, find_rate, fit, load_checkpoint, save_checkpoint,
};

/// The length of a training.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainingLength {
    /// Passes over the images.
    Epochs(f64),
    /// Steps, each on one batch.
    Steps(usize),
}

/// How a network is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingOptions {
    /// The length of the training.
    pub length: TrainingLength,
    /// Images of a step; `None` for 64, or the number of images if there are fewer.
    pub batch: Option<usize>,
    /// The highest learning rate; `None` finds one by a short range test.
    pub rate: Option<f64>,
    /// The schedule of the learning rate.
    pub schedule: Schedule,
    /// The rule of updates.
    pub optimizer: Optimizer,
    /// Weight decay of layers' weights.
    pub decay: f64,
    /// The losses; `None` chooses them by the network's outputs.
    pub objective: Option<Objective>,
    /// The weight of the labels' cross-entropy beside a teacher; without a teacher, labels are always used.
    pub label_weight: f64,
    /// The random changes of images; `None` mirrors and shifts them with a teacher, and only shifts them without one.
    pub augment: Option<Augment>,
    /// The seed of the order of images and of their changes.
    pub seed: u64,
    /// The file that is written after every epoch, from which an interrupted training continues.
    pub checkpoint: Option<PathBuf>,
    /// True to continue from the checkpoint.
    pub resume: bool,
}

impl TrainingOptions {
    /// Returns the default options for a length.
    pub fn new(length: TrainingLength) -> Self {
        Self {
            length,
            batch: None,
            rate: None,
            schedule: Schedule::default(),
            optimizer: Optimizer::ADAMW,
            decay: 1e-4,
            objective: None,
            label_weight: 0.0,
            augment: None,
            seed: 0,
            checkpoint: None,
            resume: false,
        }
    }
}

/// A point of a training's curve: the mean over the steps of an epoch.
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
    /// The losses that are minimized, with their weights.
    pub objective: Objective,
    /// The random changes of images.
    pub augment: Augment,
    /// The seed of order and changes.
    pub seed: u64,
    /// The names of the losses.
    pub losses: Vec<&'static str>,
    /// The number of trained numbers.
    pub parameters: usize,
    /// Nodes through which no gradient passes.
    pub stops: Vec<String>,
    /// The curve, a point for each epoch.
    pub curve: Vec<TrainingPoint>,
    /// The step at which the training diverged, if it did; the parameters are those of the epoch before.
    pub diverged: Option<usize>,
}

/// A network after fine-tuning.
#[derive(Clone, Debug)]
pub struct Finetuned {
    /// The model with its new parameters.
    pub model: Model,
    /// The course of the training.
    pub training: TrainingRecord,
    /// The quality before the training, against the teacher if there is one.
    pub before: Evaluation,
    /// The quality after the training.
    pub after: Evaluation,
}

/// Trains a network on calibration images, to imitate `teacher` or on labels, and judges it before and after.
///
/// # Errors
/// A network whose losses depend on no weight that can be trained, a teacher with other inputs or outputs, labels that do
/// not fit, images that cannot be read, a device that fails, or an observer that ends the training
/// ([`ErrorKind::Interrupted`]); the last checkpoint stays.
pub fn finetune(
    network: &Network,
    teacher: Option<&Graph>,
    (device, batch): (&Device, Option<usize>),
    calibration: &Calibration,
    (options, metric): (&TrainingOptions, &MetricOptions),
    observer: &mut dyn Observer,
) -> Result<Finetuned> {
    check_calibration(&network.graph, Some(calibration), metric.force, observer)?;
    let judge = |graph: &Graph, observer: &mut dyn Observer| {
        evaluate_by(graph, teacher, device, &calibration.judge, (batch, metric), observer)
    };
    let before = judge(&network.graph, observer)?;
    let classified = before.classified.is_some();
    let (model, training) =
        train(&network.model, teacher, device, calibration, (options, classified), observer)?;
    let after = judge(&Graph::from_model(&model)?, observer)?;
    Ok(Finetuned { model, training, before, after })
}

/// Trains a model; `classified` is true if its first output is judged as a classification.
pub(super) fn train(
    model: &Model,
    teacher: Option<&Graph>,
    device: &Device,
    calibration: &Calibration,
    (options, classified): (&TrainingOptions, bool),
    observer: &mut dyn Observer,
) -> Result<(Model, TrainingRecord)> {
    let graph = Graph::from_model(model)?;
    let images = calibration.images(observer)?;
    let labels = calibration.labels();
    let objective = options.objective.unwrap_or_else(|| objective(teacher.is_some(), classified, options));
    let fallback = if teacher.is_some() { Augment::USUAL } else { Augment::SHIFT };
    let augment = options.augment.unwrap_or(fallback);
    let batch = takes_batches(&graph).then(|| options.batch.unwrap_or(64).min(images.count));
    let rule = TrainerOptions {
        objective,
        optimizer: options.optimizer,
        decay: options.decay,
        max_norm: MAX_NORM,
        batch,
    };
    let mut trainer = Trainer::new(&graph, teacher, &images.sample, device, &rule)?;
    let stops: Vec<String> = trainer.stops().iter().map(|(node, _)| node.clone()).collect();
    if !stops.is_empty() {
        observer.notice(Notice::GradientStops { nodes: stops.clone() });
    }
    let data = TrainingData { images, labels };
    let per_epoch = (images.count / trainer.batch().max(1)).max(1);
    let steps = match options.length {
        TrainingLength::Epochs(epochs) => (epochs * per_epoch as f64).round() as usize,
        TrainingLength::Steps(steps) => steps,
    };
    let description = description(model, options, (steps, trainer.batch()));
    let resumed = options.checkpoint.as_deref().filter(|_| options.resume);
    let first = resumed.map(|path| load_checkpoint(&mut trainer, &description, path)).transpose()?;
    let rate = match options.rate {
        Some(rate) => rate,
        None => {
            // A resumed training has the rate of its first start: the test begins from the parameters of the file.
            let saved = trainer.save()?;
            trainer.reset()?;
            let rate = staged(observer, Stage::FindingRate, RANGE_STEPS, |observer| {
                find_rate(&mut trainer, data, augment, options.seed, &mut |step| advance(observer, step))
            })?;
            trainer.restore(&saved)?;
            rate
        }
    };
    observer.notice(Notice::Training {
        rate,
        found: options.rate.is_none(),
        steps,
        batch: trainer.batch(),
        losses: trainer.losses().to_vec(),
    });
    let mut record = TrainingRecord {
        steps,
        made: first.unwrap_or(0),
        batch: trainer.batch(),
        rate,
        found_rate: options.rate.is_none(),
        schedule: options.schedule,
        optimizer: options.optimizer,
        objective,
        augment,
        seed: options.seed,
        losses: trainer.losses().to_vec(),
        parameters: trainer.parameters().iter().map(|p| p.initial.len()).sum(),
        stops,
        curve: vec![],
        diverged: None,
    };
    let loop_options = FitOptions { steps, rate, schedule: options.schedule, augment, seed: options.seed };
    let mut course = Course { begin: Instant::now(), steps, sums: vec![], count: 0, good: trainer.save()? };
    let checkpoint = options.checkpoint.as_deref().map(|path| (path, description.as_str()));
    let end = staged(observer, Stage::Training, steps, |observer| {
        fit(&mut trainer, data, &loop_options, record.made, &mut |trainer, progress| {
            course.after(trainer, progress, (&mut record, checkpoint), observer)
        })
    })?;
    if let FitEnd::Diverged(step) = end {
        record.diverged = Some(step);
        observer.notice(Notice::Diverged { step, rate });
        trainer.restore(&course.good)?;
    }
    let weights = trainer.weights(true)?;
    Ok((with_constants(model, weights.iter().map(|(name, tensor)| (name, tensor)))?, record))
}

/// The largest norm of a step's gradients.
const MAX_NORM: f64 = 5.0;

/// Returns the losses for a kind of network.
fn objective(has_teacher: bool, classified: bool, options: &TrainingOptions) -> Objective {
    match (has_teacher, classified) {
        (true, true) => Objective { labels: options.label_weight, ..Objective::CLASSIFIER },
        (true, false) => Objective::OUTPUTS,
        (false, _) => Objective::LABELS,
    }
}

/// Describes all that decides the course of a training, so that a checkpoint continues none but its own.
fn description(model: &Model, options: &TrainingOptions, (steps, batch): (usize, usize)) -> String {
    let TrainingOptions { rate, schedule, optimizer, decay, objective, label_weight, augment, seed, .. } =
        options;
    format!(
        "{} {steps} steps of {batch}, {rate:?} {schedule} {optimizer:?} {decay} {objective:?} {label_weight} \
         {augment:?} {seed}",
        model.sha256
    )
}

/// The course of a training: sums over the current epoch, and the last good state.
struct Course {
    begin: Instant,
    steps: usize,
    /// Sums of the weighted loss and of each loss.
    sums: Vec<f64>,
    count: usize,
    good: (u32, Vec<Vec<f32>>),
}

impl Course {
    /// Records a step in the curve. At the end of an epoch, keeps the state and writes the checkpoint.
    fn after(
        &mut self,
        trainer: &mut Trainer,
        progress: &Progress,
        (record, checkpoint): (&mut TrainingRecord, Option<(&Path, &str)>),
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let numbers = std::iter::once(progress.loss).chain(progress.result.losses.iter().map(|&x| x.into()));
        self.sums.resize(1 + progress.result.losses.len(), 0.0);
        self.sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
        self.count += 1;
        record.made = progress.step;
        if progress.step.is_multiple_of(progress.per_epoch) || progress.step == self.steps {
            let mean: Vec<f64> = self.sums.drain(..).map(|sum| sum / self.count as f64).collect();
            let point = TrainingPoint {
                step: progress.step,
                loss: mean[0],
                losses: mean[1..].to_vec(),
                rate: progress.rate,
                seconds: self.begin.elapsed().as_secs_f64(),
            };
            let (epoch, of) =
                (progress.step.div_ceil(progress.per_epoch), self.steps.div_ceil(progress.per_epoch));
            observer.notice(Notice::Epoch { epoch, of, loss: point.loss });
            record.curve.push(point);
            self.count = 0;
            self.good = trainer.save()?;
            if let Some((path, training)) = checkpoint {
                save_checkpoint(trainer, training, path)?;
            }
        }
        let stopped = advance(observer, progress.step);
        if let (Err(error), Some((path, training))) = (&stopped, checkpoint)
            && error.kind() == ErrorKind::Interrupted
        {
            save_checkpoint(trainer, training, path)?;
        }
        stopped
    }
}

/// Checks the length and the rate of a training.
///
/// # Errors
/// Numbers that are not positive.
pub fn check_training(options: &TrainingOptions) -> Result<()> {
    let wrong = |what: &str, got: String| {
        Err(Error::new(format!("the training cannot have this {what}")).expected("more than 0").got(got))
    };
    match (options.length, options.rate) {
        (TrainingLength::Epochs(epochs), _) if !(epochs > 0.0 && epochs.is_finite()) => {
            wrong("number of epochs", epochs.to_string())
        }
        (TrainingLength::Steps(0), _) => wrong("number of steps", "0".to_owned()),
        (_, Some(rate)) if !(rate > 0.0 && rate.is_finite()) => wrong("learning rate", rate.to_string()),
        _ => Ok(()),
    }
}
