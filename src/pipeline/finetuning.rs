//! Fine-tuning: trains a network to imitate another one, or on labels, and judges it before and after.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::evaluation::{Evaluation, evaluate_against};
use super::kept_outputs::Reference;
use super::metric::MetricOptions;
use super::network::Network;
use super::penalties::{penalty, zero_groups};
use super::training::{add_gradients, profile_checkpoints};
use super::training_record::{LossSums, TrainingRecord};
use crate::data::augment::Augment;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::devices::Device;
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::{Graph, Sizes};
use crate::observer::{Notice, Observer, Stage, advance, staged};
use crate::onnx::Model;
use crate::prune::{reread, with_constants};
use crate::stats::Profile;
use crate::tensor::SampleShape;
use crate::train::{
    FeatureLayers, FilterSteps, FitEnd, FitOptions, KeptValues, Loss, Objective, Optimizer, PenaltyRule,
    Progress, RANGE_STEPS, Schedule, TrainedWeights, Trainer, TrainerOptions, TrainingData, check_teacher,
    find_rate, fit, load_checkpoint, save_checkpoint,
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

impl TrainingLength {
    /// Returns the number of steps, if an epoch has so many.
    pub(super) fn steps(self, per_epoch: usize) -> usize {
        match self {
            Self::Epochs(epochs) => ((epochs * per_epoch.max(1) as f64).round() as usize).max(1),
            Self::Steps(steps) => steps,
        }
    }
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
    /// The layers whose features are compared with the teacher's.
    pub features: FeatureLayers,
    /// The weight of the labels' cross-entropy beside a teacher; without a teacher, labels are always used.
    pub label_weight: f64,
    /// The random changes of images; `None` mirrors, shifts and mixes them with a teacher, and only shifts them without one.
    pub augment: Option<Augment>,
    /// The seed of the order of images and of their changes.
    pub seed: u64,
    /// The file that is written after every epoch, from which an interrupted training continues.
    pub checkpoint: Option<PathBuf>,
    /// True to continue from the checkpoint.
    pub resume: bool,
    /// True to keep statistics of filters and their gradients at every epoch.
    pub trajectories: bool,
    /// The penalty that shrinks groups of weights to zero.
    pub penalty: Option<PenaltyRule>,
    /// True to train BatchNormalization by the statistics of each batch; else it keeps the stored ones.
    pub train_bn: bool,
}

impl TrainingOptions {
    /// The images of a step, unless others are set.
    pub const BATCH: usize = 64;

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
            features: FeatureLayers::default(),
            label_weight: 0.0,
            augment: None,
            seed: 0,
            checkpoint: None,
            resume: false,
            trajectories: false,
            penalty: None,
            train_bn: false,
        }
    }
}

/// A network after fine-tuning.
#[derive(Clone, Debug)]
pub struct Finetuned {
    /// The model with its new parameters.
    pub model: Model,
    /// The course of the training.
    pub training: TrainingRecord,
    /// Statistics of all filters with their trajectories through the epochs, if they were asked for.
    pub profile: Option<Profile>,
    /// The quality before the training, against the teacher if there is one.
    pub before: Evaluation,
    /// The quality after the training.
    pub after: Evaluation,
}

/// Trains a network on calibration images, to imitate `teacher` or on labels, and judges it before and after.
///
/// `kept` has the indices of the teacher's values that a cut kept ([`Cut::kept_values`](crate::prune::Cut)); it is empty
/// if the network was not cut from the teacher, or the cut is unknown.
///
/// # Errors
/// A network whose losses depend on no weight that can be trained, a teacher with other inputs or outputs, labels that do
/// not fit, images that cannot be read, a device that fails, or an observer that ends the training
/// ([`ErrorKind::Interrupted`]); the last checkpoint stays.
pub fn finetune(
    network: &Network,
    (teacher, kept): (Option<&Graph>, &KeptValues),
    (device, batch): (&Device, Option<usize>),
    calibration: &Calibration,
    (options, metric): (&TrainingOptions, &MetricOptions),
    observer: &mut dyn Observer,
) -> Result<Finetuned> {
    check_training(options)?;
    teacher.map_or(Ok(()), |teacher| check_teacher(&network.graph, teacher))?;
    check_calibration(&network.graph, Some(calibration), metric.force, observer)?;
    let judge = |graph: &Graph, observer: &mut dyn Observer| {
        let reference = teacher.map(Reference::from);
        evaluate_against(graph, reference, device, &calibration.judge, (batch, metric), observer)
    };
    let before = judge(&network.graph, observer)?;
    let Trained { model, record: training, epochs, gradients } =
        train(&network.model, (teacher, kept), (device, batch), calibration, options, observer)?;
    let path = model.path.clone();
    let model = reread(model, &path)?;
    let profile = options.trajectories.then(|| {
        let through = std::iter::once(&network.model).chain(&epochs).chain([&model]).cloned();
        let mut profile = profile_checkpoints(&through.collect::<Vec<_>>())?;
        add_gradients(&mut profile, &gradients);
        Ok(profile)
    });
    let profile = profile.transpose()?;
    let after = judge(&Graph::from_model(&model)?, observer)?;
    Ok(Finetuned { model, training, profile, before, after })
}

/// A trained model, whose bytes were not encoded yet.
pub(super) struct Trained {
    pub(super) model: Model,
    pub(super) record: TrainingRecord,
    /// The models at the ends of the epochs but the last, if trajectories are wanted.
    epochs: Vec<Model>,
    /// The number of steps of each epoch, with the sums over filters, if trajectories are wanted.
    gradients: Vec<(usize, Vec<FilterSteps>)>,
}

/// Trains a model; `kept` has the teacher's indices that a cut kept.
pub(super) fn train(
    model: &Model,
    (teacher, kept): (Option<&Graph>, &KeptValues),
    (device, at_once): (&Device, Option<usize>),
    calibration: &Calibration,
    options: &TrainingOptions,
    observer: &mut dyn Observer,
) -> Result<Trained> {
    let graph = Graph::from_model(model)?;
    let images = calibration.images(observer)?;
    let labels = calibration.labels();
    let objective = objective(teacher.is_some(), options);
    if teacher.is_none() && objective.labels == 0.0 {
        return Err(Error::new("these losses need a teacher")
            .expected("`teacher`, or the loss labels")
            .remedy("set `teacher` to the network that is imitated"));
    }
    let augment = options.augment.unwrap_or_else(|| default_augment(teacher.is_some(), &images.sample));
    let wanted = options.batch.unwrap_or(TrainingOptions::BATCH).min(images.count);
    let batch = takes_batches(&graph).then_some(wanted);
    let rule = TrainerOptions {
        objective,
        optimizer: options.optimizer,
        decay: options.decay,
        max_norm: MAX_NORM,
        features: options.features.clone(),
        batch,
        runs: runs(&graph, &images.sample, wanted, at_once)?,
        batch_statistics: options.train_bn,
        penalty: options.penalty.map(|rule| penalty(&graph, rule)).transpose()?,
        observes: options.trajectories,
    };
    let mut trainer = Trainer::fitting(&graph, (teacher, kept), &images.sample, device, &rule)?;
    let stops: Vec<String> = trainer.stops().iter().map(|(node, _)| node.clone()).collect();
    if !stops.is_empty() {
        observer.notice(Notice::GradientStops { nodes: stops.clone() });
    }
    let data = TrainingData { images, labels };
    data.check(&trainer).map_err(|e| calibration.fit.blame(e))?;
    let steps = options.length.steps(images.count / trainer.batch().max(1));
    let description =
        description((model, teacher), (calibration, images.count), options, (&rule, augment, steps));
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
        losses: names(trainer.losses()),
    });
    let mut record = TrainingRecord {
        steps,
        made: first.unwrap_or(0),
        batch: trainer.batch(),
        rate,
        found_rate: options.rate.is_none(),
        schedule: options.schedule,
        optimizer: options.optimizer,
        decay: options.decay,
        objective,
        features: options.features.clone(),
        augment,
        seed: options.seed,
        penalty: options.penalty,
        train_bn: options.train_bn,
        zero_groups: None,
        losses: names(trainer.losses()),
        parameters: trainer.parameters().iter().map(|p| p.initial.len()).sum(),
        stops,
        curve: vec![],
        course: vec![],
        diverged: None,
    };
    let loop_options = FitOptions { steps, rate, schedule: options.schedule, augment, seed: options.seed };
    let mut course = Course {
        begin: Instant::now(),
        steps,
        epoch: LossSums::default(),
        part: LossSums::default(),
        good: trainer.save()?,
        epochs: vec![],
        gradients: vec![],
        keeps_epochs: options.trajectories,
    };
    let checkpoint = options.checkpoint.as_deref().map(|path| (path, description.as_slice()));
    let end = staged(observer, Stage::Training, steps, |observer| {
        fit(&mut trainer, data, &loop_options, record.made, &mut |trainer, progress| {
            course.after(trainer, progress, (&mut record, checkpoint), observer)
        })
    })?;
    if let FitEnd::Diverged(step) = end {
        record.diverged = Some(step);
        record.course.extend(course.part.point(course.begin.elapsed().as_secs_f64()));
        observer.notice(Notice::Diverged { step, rate });
        trainer.restore(&course.good)?;
    }
    let weights = trainer.weights(true)?;
    let with = |weights: &TrainedWeights| {
        let constants = weights.constants.iter().map(|(name, tensor)| (name, tensor));
        with_constants(model, constants, weights.statistics.iter().map(|(place, tensor)| (*place, tensor)))
    };
    let epochs = course.epochs.iter().map(with).collect::<Result<_>>()?;
    let model = with(&weights)?;
    record.zero_groups = rule.penalty.as_ref().map(|penalty| zero_groups(penalty, &model)).transpose()?;
    Ok(Trained { model, record, epochs, gradients: course.gradients })
}

/// Returns the least number of runs of a step, if `at_once` samples at most are computed at once.
///
/// A step of a network with a batch size of its own has as many samples as that of others.
fn runs(graph: &Graph, sample: &SampleShape, wanted: usize, at_once: Option<usize>) -> Result<usize> {
    if !takes_batches(graph) {
        let sizes = Sizes::Sample(sample.clone());
        let own = Facts::infer(graph, &graph.input_shapes(None, &sizes)?)?.samples;
        return Ok((wanted / own.max(1)).max(1));
    }
    let most = at_once.unwrap_or(wanted).max(1);
    Ok((1..=wanted).find(|runs| wanted.is_multiple_of(*runs) && wanted / runs <= most).unwrap_or(1))
}

fn names(losses: &[Loss]) -> Vec<&'static str> {
    losses.iter().map(|loss| loss.name).collect()
}

/// The largest norm of a step's gradients.
const MAX_NORM: f64 = 5.0;

/// Returns the random changes of samples by default.
fn default_augment(has_teacher: bool, sample: &SampleShape) -> Augment {
    let are_pictures = sample.0.iter().all(|shape| shape.len() == 3);
    match (has_teacher, are_pictures) {
        (true, true) => Augment::IMITATION,
        (true, false) => Augment::USUAL,
        (false, _) => Augment::SHIFT,
    }
}

/// Returns the losses that the options ask for, or the default ones.
fn objective(has_teacher: bool, options: &TrainingOptions) -> Objective {
    match (options.objective, has_teacher) {
        (Some(objective), _) => Objective { labels: objective.labels.max(options.label_weight), ..objective },
        (None, true) => Objective { labels: options.label_weight, ..Objective::IMITATION },
        (None, false) => Objective::LABELS,
    }
}

/// Describes all that decides the course of a training, so that a checkpoint continues none but its own.
fn description(
    (model, teacher): (&Model, Option<&Graph>),
    (calibration, samples): (&Calibration, usize),
    options: &TrainingOptions,
    (rule, augment, steps): (&TrainerOptions, Augment, usize),
) -> Vec<String> {
    let Objective { soft, temperature, features, outputs, labels } = rule.objective;
    let teacher = teacher.map_or("none".into(), |teacher| {
        teacher.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    });
    vec![
        format!("a network of SHA-256 {}", model.sha256),
        format!("the teacher {teacher}"),
        format!("{samples} samples of {}", calibration.origin.data),
        format!(
            "{steps} steps of {}",
            options.batch.map_or("any number of samples".into(), |n| n.to_string())
        ),
        format!("a learning rate of {}", options.rate.map_or("a range test".into(), |rate| rate.to_string())),
        format!("the schedule {}", options.schedule),
        rule.optimizer.to_string(),
        format!("a weight decay of {}", rule.decay),
        format!(
            "the losses soft {soft} at temperature {temperature}, features {features}, outputs {outputs}, labels {labels}"
        ),
        format!("features of the layers {}", rule.features),
        format!("the penalty {}", options.penalty.map_or_else(|| "none".to_owned(), |rule| rule.to_string())),
        format!("statistics of {}", if options.train_bn { "batches" } else { "the file" }),
        format!("the random changes {augment}"),
        format!("the seed {}", options.seed),
    ]
}

/// The course of a training: sums since the last points of both curves, and the last good state.
struct Course {
    begin: Instant,
    steps: usize,
    /// The losses since the end of the last epoch.
    epoch: LossSums,
    /// The losses since the last point by steps.
    part: LossSums,
    good: (u32, Vec<Vec<f32>>),
    /// The weights at the ends of the epochs but the last.
    epochs: Vec<TrainedWeights>,
    /// The number of steps of each epoch, with the sums over filters.
    gradients: Vec<(usize, Vec<FilterSteps>)>,
    keeps_epochs: bool,
}

impl Course {
    /// Records a step in the curve. At the end of an epoch, keeps the state and writes the checkpoint.
    fn after(
        &mut self,
        trainer: &mut Trainer,
        progress: &Progress,
        (record, checkpoint): (&mut TrainingRecord, Option<(&Path, &[String])>),
        observer: &mut dyn Observer,
    ) -> Result<()> {
        self.epoch.add(progress);
        self.part.add(progress);
        record.made = progress.step;
        let (is_last, seconds) = (progress.step == self.steps, self.begin.elapsed().as_secs_f64());
        if progress.step.is_multiple_of(record.point_steps()) || is_last {
            record.course.extend(self.part.point(seconds));
        }
        if progress.step.is_multiple_of(progress.per_epoch) || is_last {
            let (epoch, of) =
                (progress.step.div_ceil(progress.per_epoch), self.steps.div_ceil(progress.per_epoch));
            let count = self.epoch.count();
            if let Some(point) = self.epoch.point(seconds) {
                observer.notice(Notice::Epoch { epoch, of, loss: point.loss });
                record.curve.push(point);
            }
            if self.keeps_epochs {
                self.gradients.push((count, trainer.take_filter_steps()?));
            }
            if self.keeps_epochs && progress.step < self.steps {
                self.epochs.push(trainer.weights(false)?);
            }
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

/// Checks the numbers of a training.
///
/// # Errors
/// A length or a rate that is not positive, a decay or weight below 0, and `resume` without `checkpoint`.
pub fn check_training(options: &TrainingOptions) -> Result<()> {
    let wrong = |what: &str, least: &str, got: f64, remedy: &str| {
        Err(Error::new(format!("the training cannot have this {what}"))
            .expected(least)
            .got(got.to_string())
            .remedy(remedy))
    };
    let TrainingOptions { length, rate, decay, label_weight, .. } = *options;
    let (above, least) = ("a number above 0", "a number from 0");
    let is_positive = |x: f64| x > 0.0 && x.is_finite();
    match length {
        TrainingLength::Epochs(epochs) if !is_positive(epochs) => {
            return wrong("number of epochs", above, epochs, "train for more than 0 epochs, such as 8");
        }
        TrainingLength::Steps(0) => {
            return wrong("number of steps", above, 0.0, "set `steps` to 1 or more");
        }
        _ => {}
    }
    if let Some(rate) = rate.filter(|&rate| !is_positive(rate)) {
        return wrong("learning rate", above, rate, "set `learning_rate` such as 0.001, or leave it out");
    }
    if options.batch == Some(0) {
        return wrong("number of images in a step", above, 0.0, "set `train_batch` to 1 or more");
    }
    if !(decay >= 0.0 && decay.is_finite()) {
        return wrong("weight decay", least, decay, "set `weight_decay` to 0 or more, such as 0.0001");
    }
    if !(label_weight >= 0.0 && label_weight.is_finite()) {
        return wrong("weight of the labels", least, label_weight, "set `label_weight` to 0 or more");
    }
    if options.resume && options.trajectories {
        return Err(Error::new("a resumed training has no statistics of the epochs before")
            .expected("statistics of filters or `resume`, not both")
            .remedy("train in one run, or leave the statistics out"));
    }
    if options.resume && options.checkpoint.is_none() {
        return Err(Error::new("a resumed training needs its checkpoint")
            .expected("`checkpoint`")
            .remedy("set `checkpoint` to the file that the first training wrote"));
    }
    Ok(())
}
