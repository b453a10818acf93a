//! The quality of a network on a report page.

use super::calibration::{Calibration, JudgedOn};
use super::evaluation::Evaluation;
use super::metric::MetricResult;
use super::report_predictions::changes;
use crate::data::metrics::{Accuracy, Agreement};
use crate::error::Result;
use crate::report::{MetricRow, Page, Quality};

/// Describes the quality of a network's outputs against the original's.
pub(super) fn quality(calibration: &Calibration, found: &Evaluation) -> Quality {
    let both =
        |get: fn(&Accuracy) -> Option<f64>| Some([get(&found.reference_accuracy)?, get(&found.accuracy)?]);
    let against = found.agreement.as_ref();
    let finite = |v: f64| Some(v).filter(|v| v.is_finite());
    let count = calibration.judge.len();
    let noun = if count == 1 { "image" } else { "images" };
    Quality {
        on: match calibration.judged_on {
            JudgedOn::Calibration => format!("on the {count} {noun} given"),
            JudgedOn::HeldOut => format!("on {count} held-out {noun}"),
            JudgedOn::Test => format!("on {count} test {noun}"),
        },
        images: found.images,
        top1: both(Accuracy::top1),
        top5: both(Accuracy::top5),
        agreement: against.and_then(Agreement::agreement),
        kl: against.and_then(Agreement::kl).and_then(finite),
        snr_db: against.map(Agreement::snr_db).and_then(finite),
        max_abs_err: against.map(Agreement::max_abs_err).and_then(finite),
        metric: found.metric.as_ref().map(row),
        metrics: found.metrics.iter().map(row).collect(),
        unclassified: found.unclassified.clone().filter(|_| found.accuracy.top1().is_none()),
    }
}

/// Fills in the quality of both networks' outputs, and the predictions that changed.
pub(super) fn judge(
    page: &mut Page,
    calibration: &Calibration,
    class_names: &[String],
    found: &Evaluation,
) -> Result<()> {
    page.summary.quality = Some(quality(calibration, found));
    let judge = &calibration.judge;
    let names = match class_names {
        [] => judge.class_names().unwrap_or_default(),
        listed => listed,
    };
    let changes = found.predictions.as_ref().map(|predictions| changes(predictions, judge, names));
    page.predictions = changes.transpose()?;
    Ok(())
}

/// Returns the row of a metric.
pub(super) fn row(metric: &MetricResult) -> MetricRow {
    let finite = |v: f64| Some(v).filter(|v| v.is_finite());
    MetricRow {
        name: metric.name.clone(),
        unit: metric.unit.clone(),
        before: metric.before.and_then(finite),
        after: finite(metric.after),
        error: metric.error.and_then(finite),
        higher_is_better: metric.higher_is_better,
        unresolved: metric.is_unresolved(),
    }
}
