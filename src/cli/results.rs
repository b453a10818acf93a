//! Lines that several verbs print about their results.

use serde_json::{Value, json};

use super::output::{Output, decibels, many};
use crate::pipeline::{Calibration, JudgedOn, Latency, MetricResult, Quantiles};

/// Describes the images that judge, in parentheses.
pub(super) fn judged_on(calibration: &Calibration) -> String {
    let count = calibration.judge.len();
    match calibration.judged_on {
        JudgedOn::Calibration => format!("(on the {count} images given)"),
        JudgedOn::HeldOut => format!("(on {count} images held out)"),
        JudgedOn::Test => format!("(on {count} test images)"),
    }
}

/// Returns a value of a metric with its unit.
pub(super) fn in_unit(value: f64, unit: &str) -> String {
    match unit {
        "%" => format!("{value:.2} %"),
        "dB" if value == f64::INFINITY => decibels(value),
        "dB" => format!("{value:.2} dB"),
        "" => format!("{value:.4}"),
        unit => format!("{value:.4} {unit}"),
    }
}

/// Returns the standard error of a metric as text: ` ± 0.42`, or nothing if it is unknown.
pub(super) fn plus_minus(metric: &MetricResult) -> String {
    match (metric.error, metric.unit.as_str()) {
        (None, _) => String::new(),
        (Some(error), "%" | "dB") => format!(" ± {error:.2}"),
        (Some(error), _) => format!(" ± {error:.4}"),
    }
}

/// Returns the fields of a metric for `--json`; numbers that are not finite become `null`.
pub(super) fn metric_json(metric: Option<&MetricResult>) -> Value {
    metric.map_or(Value::Null, |metric| {
        json!({
            "name": metric.name, "unit": metric.unit, "before": metric.before, "after": metric.after,
            "error": metric.error, "higher_is_better": metric.higher_is_better,
        })
    })
}

/// Prints a measured latency.
pub(super) fn print_latency(latency: &Latency, output: &Output) {
    let Quantiles { median, p10, p90 } = latency.measured.times(100.0);
    output.line(format!(
        "latency      {median:.1} % of the original's ({p10:.1}–{p90:.1}; asked {:.1}), one image on this device",
        100.0 * latency.asked
    ));
}

/// Prints the nodes at which a cut is inexact.
pub(super) fn print_inexact(nodes: &[String], output: &Output) {
    const NAMED: usize = 5;
    if !nodes.is_empty() {
        let more = if nodes.len() > NAMED { ", …" } else { "" };
        let names = nodes.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        output.line(format!(
            "inexact: removed channels mix with others at {}: {names}{more}",
            many(nodes.len(), "node")
        ));
    }
}
