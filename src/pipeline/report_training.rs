//! The trainings of a network on a report page.

use super::calibration::Calibration;
use super::evaluation::Evaluation;
use super::finetuning::Finetuned;
use super::report_options::ReportOptions;
use super::report_quality::row;
use super::report_rows::{self, repeat};
use super::training_record::{Round, TrainingPoint, TrainingRecord};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::onnx::Model;
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

/// Builds the report page of a training: losses, quality, and the data that repeat it.
///
/// # Errors
/// A preprocessing that cannot be described.
pub fn training_page(
    trained: &Finetuned,
    (network, teacher): (&Model, Option<&Model>),
    calibration: &Calibration,
    device: &Device,
    options: &ReportOptions,
) -> Result<Page> {
    let mut page = Page { model: report_rows::title(network), ..Page::default() };
    let mut rows = report_rows::program(options);
    rows.push(report_rows::file("Model", network));
    rows.extend(teacher.map(|teacher| report_rows::file("Teacher", teacher)));
    rows.push(repeat("Trained model", format!("SHA-256 {}", trained.model.sha256)));
    rows.extend(report_rows::images(calibration)?);
    rows.push(report_rows::device(device));
    (page.repeat, page.preprocessing) = (rows, Some(calibration.fit.describe()?));
    let only = Round {
        budget: String::new(),
        untrained: Some(trained.before.clone()),
        training: Some(trained.training.clone()),
        evaluation: Some(trained.after.clone()),
    };
    add_trainings(&mut page, &[&only]);
    Ok(page)
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

/// Returns the losses of a training with their weights, in the order of the record's numbers.
fn losses(training: &TrainingRecord) -> Vec<LossText> {
    let Objective { soft, temperature: _, features, outputs, labels } = training.objective;
    let weights = [("soft", soft), ("features", features), ("outputs", outputs), ("labels", labels)];
    let weight = |name: &str| weights.iter().find(|(own, _)| *own == name).map_or(0.0, |(_, weight)| *weight);
    training.losses.iter().map(|&name| LossText { name, weight: weight(name) }).collect()
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
    let mut rows = vec![
        ("Training", format!("{} steps of {} images", steps.join(", "), training.batch)),
        ("Learning rate", format!("{} ({origin}), schedule {}", rates.join(", "), training.schedule)),
        ("Optimizer", format!("{}, weight decay {}", training.optimizer, training.decay)),
        ("Losses", losses.join(" + ")),
        ("Random changes", training.augment.to_string()),
        ("Seed of the training", training.seed.to_string()),
    ];
    rows.extend(training.penalty.map(|rule| ("Penalty", rule.to_string())));
    rows.extend(training.train_bn.then(|| ("BatchNormalization", "statistics of each batch".to_owned())));
    rows.into_iter().map(|(what, value)| repeat(what, value)).collect()
}
