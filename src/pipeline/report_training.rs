//! The trainings of a network on a report page.

use super::evaluation::Evaluation;
use super::report_builder::row;
use super::trained_rounds::Round;
use super::training_record::{TrainingPoint, TrainingRecord};
use crate::report::{LossPoint, LossText, MetricRow, Num, Page, Repeat, TrainingSection};
use crate::train::Objective;

/// Adds trainings in order to a page: losses, quality, and the options that repeat them.
pub(super) fn add_trainings(page: &mut Page, rounds: &[&Round]) {
    let trained = rounds.iter().filter_map(|round| Some((*round, round.training.as_ref()?)));
    let trained: Vec<(&Round, &TrainingRecord)> = trained.collect();
    page.trainings = trained.iter().map(|(round, training)| section(round, training)).collect();
    if trained.len() < 2 {
        page.trainings.iter_mut().for_each(|section| section.budget = None);
    }
    page.repeat.extend(repeated(&trained.iter().map(|(_, training)| *training).collect::<Vec<_>>()));
}

fn section(round: &Round, training: &TrainingRecord) -> TrainingSection {
    let point = |point: &TrainingPoint| LossPoint {
        step: point.step,
        loss: Num(point.loss),
        losses: point.losses.iter().copied().map(Num).collect(),
        rate: Num(point.rate),
    };
    let judged =
        |found: &Option<Evaluation>| -> Option<MetricRow> { Some(row(found.as_ref()?.metric.as_ref()?)) };
    TrainingSection {
        budget: Some(round.budget.clone()),
        steps: training.steps,
        rate: Num(training.rate),
        losses: losses(training),
        points: training.course.iter().map(point).collect(),
        diverged: training.diverged,
        seconds: training.course.last().map_or(0.0, |point| point.seconds),
        before: judged(&round.untrained),
        after: judged(&round.evaluation),
    }
}

/// Returns the losses of a training with their weights.
fn losses(training: &TrainingRecord) -> Vec<LossText> {
    let Objective { soft, temperature: _, features, outputs, labels } = training.objective;
    let weights = [("soft", soft), ("features", features), ("outputs", outputs), ("labels", labels)];
    let used = weights.into_iter().filter(|(name, _)| training.losses.contains(name));
    used.map(|(name, weight)| LossText { name, weight }).collect()
}

/// Returns the options of trainings, which differ in their learning rates alone.
fn repeated(trainings: &[&TrainingRecord]) -> Vec<Repeat> {
    let Some(training) = trainings.last() else { return vec![] };
    let steps: Vec<String> = trainings.iter().map(|training| training.steps.to_string()).collect();
    let rates: Vec<String> = trainings.iter().map(|training| training.rate.to_string()).collect();
    let origin = if training.found_rate { "found by a range test" } else { "as given" };
    let loss = |LossText { name, weight }: LossText| match name {
        "soft" => format!("{weight} × soft at temperature {}", training.objective.temperature),
        "features" => format!("{weight} × features (layers: {})", training.features),
        name => format!("{weight} × {name}"),
    };
    let losses: Vec<String> = losses(training).into_iter().map(loss).collect();
    let rows = [
        ("Training", format!("{} steps of {} images", steps.join(", "), training.batch)),
        ("Learning rate", format!("{} ({origin}), schedule {}", rates.join(", "), training.schedule)),
        ("Optimizer", format!("{}, weight decay {}", training.optimizer, training.decay)),
        ("Losses", losses.join(" + ")),
        ("Random changes", training.augment.to_string()),
        ("Seed of the training", training.seed.to_string()),
    ];
    rows.into_iter().map(|(what, value)| Repeat { what: what.to_owned(), value }).collect()
}
