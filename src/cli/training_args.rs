//! The options of trainings, for `finetune` and `prune --finetune`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::args::positive;
use super::output::{Output, grouped, many};
use super::results::{metric_json, with_error};
use crate::error::Result;
use crate::pipeline::{
    Augment, Evaluation, FeatureLayers, Objective, Optimizer, PenaltyRule, Round, Schedule, TrainingLength,
    TrainingOptions, TrainingRecord, check_training,
};

/// The rule by which parameters change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OptimizerName {
    /// AdamW.
    Adamw,
    /// Gradient descent with Nesterov's momentum.
    Sgd,
}

/// How a network is trained.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TrainingArgs {
    /// Highest learning rate of the training.
    ///
    /// Default: found by a short range test, in which the rate grows until the loss rises.
    #[arg(long, visible_alias = "lr", value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Schedule of the learning rate.
    #[arg(long, default_value = "cosine")]
    schedule: Schedule,
    /// Rule by which parameters change.
    #[arg(long, default_value = "adamw")]
    optimizer: OptimizerName,
    /// Weight decay of the layers' weights; biases and normalizations never decay.
    #[arg(long, value_name = "D", default_value_t = 1e-4)]
    weight_decay: f64,
    /// Images of a training step.
    #[arg(long, value_name = "B", default_value_t = 64, value_parser = positive)]
    train_batch: usize,
    /// Losses that are minimized: outputs, features, soft, labels.
    ///
    /// Weights may follow, such as soft=1,features=0.5. soft compares class probabilities at a temperature, by default
    /// temperature=4. Default: outputs,features with a teacher; labels without one.
    #[arg(long, value_name = "LIST")]
    loss: Option<Objective>,
    /// Layers whose outputs are compared with the teacher's: last, stages, or names of nodes.
    ///
    /// The input of the last layer is always compared. stages adds the last maps of each size.
    #[arg(long, value_name = "LAYERS")]
    features: Option<FeatureLayers>,
    /// Normalize by the statistics of each batch, and update the stored ones of BatchNormalization.
    ///
    /// By default BatchNormalization keeps the statistics of the file, which suits a network that was trained before.
    #[arg(long)]
    train_bn: bool,
    /// Penalty that shrinks whole channels to zero while training: group-lasso:λ or bn-l1:λ.
    ///
    /// group-lasso shrinks all weights of coupled channels together, bn-l1 the scales of BatchNormalization. A cut with
    /// --criterion l1 or bn-scale and --remove-below then removes the zeros without a loss.
    #[arg(long, value_name = "PENALTY")]
    penalty: Option<PenaltyRule>,
    /// Random changes of the training images: flip, shift, crop, color, mixup, or none.
    ///
    /// Strengths may follow: shift=0.125 of the size, crop=0.5 of the area at least, color=0.2, mixup=0.2. Default:
    /// flip,shift,mixup=1 with a teacher; shift without one, since a mirrored picture may belong to another class.
    #[arg(long, value_name = "LIST")]
    augment: Option<Augment>,
    /// Weight of the labels' cross-entropy beside the teacher's outputs.
    #[arg(long, value_name = "W", default_value_t = 0.0)]
    label_weight: f64,
    /// File from which an interrupted training continues.
    ///
    /// It is written after every epoch, and on Ctrl-C.
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoint: Option<PathBuf>,
    /// Continue from the checkpoint.
    #[arg(long, requires = "checkpoint")]
    resume: bool,
}

impl TrainingArgs {
    /// Returns the options for a length and a seed.
    pub(super) fn options(&self, length: TrainingLength, seed: u64) -> Result<TrainingOptions> {
        let options = TrainingOptions {
            batch: Some(self.train_batch),
            rate: self.learning_rate,
            schedule: self.schedule,
            optimizer: match self.optimizer {
                OptimizerName::Adamw => Optimizer::ADAMW,
                OptimizerName::Sgd => Optimizer::SGD,
            },
            decay: self.weight_decay,
            label_weight: self.label_weight,
            augment: self.augment,
            objective: self.loss,
            penalty: self.penalty,
            train_bn: self.train_bn,
            features: self.features.clone().unwrap_or_default(),
            seed,
            checkpoint: self.checkpoint.clone(),
            resume: self.resume,
            ..TrainingOptions::new(length)
        };
        check_training(&options)?;
        Ok(options)
    }
}

/// Prints the course of a training.
pub(super) fn print_training(training: &TrainingRecord, output: &Output) {
    let (first, last) = (training.curve.first(), training.curve.last());
    if let (Some(first), Some(last)) = (first, last) {
        output.line(format!(
            "trained {} in {} of {} ({:.0} s): loss {:.4} → {:.4}",
            many_numbers(training.parameters),
            many(training.made, "step"),
            many(training.batch, "image"),
            last.seconds,
            first.loss,
            last.loss,
        ));
    }
    if let (Some([zero, all]), Some(rule)) = (training.zero_groups, training.penalty) {
        output.line(format!("{zero} of {} are zero by the penalty {rule}", many(all, "group")));
    }
}

fn many_numbers(count: usize) -> String {
    format!("{} parameters", grouped(count as u64))
}

/// Prints the quality after each round but the last.
pub(super) fn print_rounds(rounds: &[Round], output: &Output) {
    for (i, round) in rounds.iter().enumerate() {
        let value = |found: &Option<Evaluation>| {
            let metric = found.as_ref().and_then(|found| found.metric.as_ref());
            metric.map_or_else(String::new, |metric| format!("{} {}", metric.name, with_error(metric)))
        };
        let (before, after) = (value(&round.untrained), value(&round.evaluation));
        output.line(format!(
            "round {}: {}, {before} before the training, {after} after",
            i + 1,
            round.budget
        ));
    }
}

/// Returns the rounds but the last for `--json`.
pub(super) fn rounds_json(rounds: &[Round]) -> Value {
    let of = |round: &Round| {
        let metric =
            |found: &Option<Evaluation>| metric_json(found.as_ref().and_then(|found| found.metric.as_ref()));
        json!({
            "budget": round.budget, "before": metric(&round.untrained), "metric": metric(&round.evaluation),
            "training": training_json(round.training.as_ref()),
        })
    };
    rounds.iter().map(of).collect()
}

/// Returns the course of a training for `--json`.
pub(super) fn training_json(training: Option<&TrainingRecord>) -> Value {
    training.map_or(Value::Null, |training| json!(training))
}
