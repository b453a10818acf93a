//! The loss that a limit of quality bounds: of which metric, and how it is measured.

use std::path::Path;

use super::calibration::Calibration;
use super::evaluation::{Evaluation, LEAST_TO_VARY, chosen};
use super::label_fit::LabelFit;
use super::metric::{Choice, MetricOptions};
use super::network::Network;
use super::quality_limit::QualityLimit;
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::observer::{Notice, Observer};

/// Chooses the metric, and checks before anything is computed that a loss of it is a number.
pub(super) fn limited_metric(
    limit: QualityLimit,
    network: &Network,
    device: &Device,
    calibration: &Calibration,
    (batch, options): (Option<usize>, &MetricOptions),
) -> Result<Choice> {
    let judge = &calibration.judge;
    let session = Session::for_samples(&network.graph, device, &judge.sample()?, (batch, judge.len()))?;
    let choice = chosen(&network.graph, &session, judge, options, true)?;
    match limit {
        QualityLimit::Drop(_) if choice.is_relative => {
            let metric = choice.metric.as_ref().map_or_else(|| "SNR".to_owned(), |metric| metric.name());
            Err(no_drop(&metric, choice.unclassified.as_deref()).file(&network.model.path))
        }
        _ => Ok(choice),
    }
}

/// Reports a limit that one image exceeds.
pub(super) fn notice_coarse(
    limit: QualityLimit,
    choice: &Choice,
    calibration: &Calibration,
    observer: &mut dyn Observer,
) {
    let images = calibration.judge.len();
    let weight = 100.0 / images.max(1) as f64;
    if let (QualityLimit::Drop(max_drop), true) = (limit, choice.counts_images)
        && max_drop > 0.0
        && max_drop < weight
    {
        observer.notice(Notice::CoarseLimit { images, weight, max_drop });
    }
}

/// Returns the loss of a network against the original in the file `path`, with its standard error.
pub(super) fn loss(
    limit: QualityLimit,
    found: &Evaluation,
    path: &Path,
    force: bool,
) -> Result<(f64, Option<f64>)> {
    let unclassified = found.unclassified.as_deref();
    let metric = found.metric.as_ref().ok_or_else(|| no_drop("nothing", unclassified).file(path))?;
    let mut drop = (metric.drop().unwrap_or(f64::NAN), metric.error);
    if let QualityLimit::Quality(_) = limit {
        return Ok(drop);
    }
    if !metric.before.is_some_and(f64::is_finite) {
        return Err(no_drop(&metric.name, unclassified).file(path));
    }
    let agreement = found.agreement.as_ref();
    let class = agreement.and_then(|agreement| agreement.only_class(LEAST_TO_VARY));
    if let (Some(class), "agreement", false) = (class, metric.name.as_str(), force) {
        return Err(Error::new("agreement says nothing: the original gives one class for all images")
            .file(path)
            .expected("images of several classes")
            .got(format!("class {class} for {} images", found.images))
            .remedy("give other images, or set `force` to go on"));
    }
    let share = agreement.and_then(Agreement::agreement).map(|share| 100.0 * share);
    if let (Some(share), Some(before), "top-1") = (share, metric.before, metric.name.as_str()) {
        let error = found.metric_named("agreement").and_then(|agreement| agreement.error);
        // Labels that do not fit bound nothing.
        let is_chance = found.label_fit.as_ref().is_some_and(LabelFit::is_chance);
        let lead = if is_chance { 100.0 - share } else { before - share };
        if lead > drop.0 {
            drop = (lead, error);
        }
    }
    Ok(drop)
}

/// Returns the error for a metric of which a loss is no number.
fn no_drop(metric: &str, unclassified: Option<&str>) -> Error {
    let why = unclassified.map_or_else(String::new, |why| format!(" ({why})"));
    Error::new("`max_drop` needs a metric that the original has a value of")
        .expected("top-1, agreement or mIoU, PSNR or SSIM with label images, or a command")
        .got(format!("{metric}, which compares with the original{why}"))
        .remedy(format!("set `min_quality` to the least {metric}, or `metric` to another one"))
}
