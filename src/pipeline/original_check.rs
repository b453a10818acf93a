//! The check of an original before anything is removed from it.
//!
//! A wrong preset or other class numbers are the mistakes that everybody makes once. They must not end in a network that
//! was cut to nothing.

use super::calibration::{Calibration, JudgedOn};
use super::evaluation::chosen;
use super::label_fit::{LabelFit, Misfit};
use super::metric::{MetricKind, MetricOptions, floats};
use super::predictions::predict;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::{Notice, Observer, Stage, advance, staged};

/// The largest number of images on which the original is checked.
pub(super) const MOST_IMAGES: usize = 256;
/// The number of images up to which calibration images help those that judge.
const ENOUGH_IMAGES: usize = 64;

/// Checks the original on labelled images before anything is removed.
///
/// # Errors
/// Labels that are no classes of the network; top-1 at or below chance, or far better with shifted labels, unless the
/// options force to go on.
pub(super) fn check_original(
    graph: &Graph,
    device: &Device,
    calibration: &Calibration,
    (batch, options): (Option<usize>, &MetricOptions),
    observer: &mut dyn Observer,
) -> Result<()> {
    let by_labels = matches!(options.metric, None | Some(MetricKind::Top1 | MetricKind::Top5));
    let judge = &calibration.judge;
    if judge.labels().is_none() || !by_labels {
        return Ok(());
    }
    let most = judge.len().min(MOST_IMAGES);
    let fit = staged(observer, Stage::Evaluating, most, |observer| {
        let mut session = Session::for_samples(graph, device, &judge.sample()?, (batch, judge.len()))?;
        let choice = chosen(graph, &session, judge, options, true)?;
        let Some(judged) = choice.classification else { return Ok(None) };
        let Some(classes) = judged.classes.filter(|_| !options.force) else { return Ok(None) };
        let mut fit = LabelFit::new(classes);
        let mut add = |data: &Dataset, most: usize| -> Result<()> {
            for images in data.batches(session.batch) {
                let images = images?;
                let Some(labels) = images.labels.as_ref().filter(|_| fit.images() < most) else { break };
                session.adapt(&images.sample, |_| {
                    Session::for_samples(graph, device, &images.sample, (batch, data.len()))
                })?;
                for (outputs, &label) in predict(&mut session, &images.data)?.iter().zip(labels) {
                    fit.add(&floats(&outputs[judged.output].1), label);
                }
                advance(observer, fit.images())?;
            }
            Ok(())
        };
        add(judge, MOST_IMAGES)?;
        match calibration.judged_on {
            JudgedOn::Calibration => {}
            JudgedOn::HeldOut | JudgedOn::Test => add(&calibration.fit, ENOUGH_IMAGES)?,
        }
        Ok(Some(fit))
    })?;
    let Some(fit) = fit else { return Ok(()) };
    match fit.misfit(judge) {
        Some(Misfit { top1, chance, advice }) => Err(Error::new(format!(
            "top-1 of the original is {top1:.1} % (chance {chance:.1} %): preprocessing or labels do not fit"
        ))
        .file(&graph.path)
        .got(format!("{} of {} images", fit.hits(), fit.images()))
        .remedy(match advice {
            Some(advice) => format!("{advice}, or set `force` to go on"),
            None => "rank recipes with `eval()` and `try_presets`, or set `force` to go on".to_owned(),
        })),
        None => {
            notice_training_images(&fit, calibration.judged_on, observer);
            Ok(())
        }
    }
}

/// Reports an original without errors, whose images are probably those of its training.
fn notice_training_images(fit: &LabelFit, judged_on: JudgedOn, observer: &mut dyn Observer) {
    let flawless = fit.hits() == fit.images() && fit.images() >= ENOUGH_IMAGES;
    if flawless && judged_on != JudgedOn::Test {
        observer.notice(Notice::FlawlessOriginal { images: fit.images() });
    }
}
