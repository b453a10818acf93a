//! Lines that several verbs print about their results.

use serde_json::{Value, json};

use super::output::{Output, decibels, grouped, many};
use super::table::shortened;
use crate::pipeline::{
    Agreement, Calibration, Cost, Evaluation, JudgedOn, Latency, LayerWidth, MetricResult, Pruned, Quantiles,
};

/// Describes the images that judge, in parentheses.
pub(super) fn judged_on(calibration: &Calibration) -> String {
    let count = calibration.judge.len();
    match calibration.judged_on {
        JudgedOn::Calibration => format!("(on the {} given)", many(count, "image")),
        JudgedOn::HeldOut => format!("(on {} held out)", many(count, "image")),
        JudgedOn::Test => format!("(on {})", many(count, "test image")),
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
    match metric.error {
        Some(error) => format!(" ± {}", plain(error, &metric.unit)),
        None => String::new(),
    }
}

/// Returns a number with the digits that values of a unit have, but without the unit.
fn plain(value: f64, unit: &str) -> String {
    if matches!(unit, "%" | "dB") { format!("{value:.2}") } else { format!("{value:.4}") }
}

/// Returns a metric with its error and unit: `92.10 ± 0.21 %`.
pub(super) fn with_error(metric: &MetricResult) -> String {
    match (metric.error, metric.unit.as_str()) {
        (Some(_), unit) => {
            format!("{}{} {unit}", plain(metric.after, unit), plus_minus(metric)).trim_end().to_owned()
        }
        (None, unit) => in_unit(metric.after, unit),
    }
}

/// Returns the difference to the original with its error: `−0.40 ± 0.21 points`.
pub(super) fn change(metric: &MetricResult) -> Option<String> {
    let difference = metric.difference().filter(|_| !metric.is_relative())?;
    let sign = if difference < 0.0 { "−" } else { "+" };
    let size = plain(difference.abs(), &metric.unit);
    Some(format!("{sign}{size}{} {}", plus_minus(metric), metric.drop_unit()).trim_end().to_owned())
}

/// Returns the least difference that the images can resolve, if that of the metric is less.
fn unresolved(metric: &MetricResult) -> Option<String> {
    let least = metric.resolution().filter(|_| metric.is_unresolved() && !metric.is_relative())?;
    let least = format!("{} {}", plain(least, &metric.unit), metric.drop_unit());
    Some(format!("{} cannot resolve less than {}", many(metric.images, "image"), least.trim_end()))
}

/// Prints a row for each metric: the original's value, the network's, and the difference with its error.
///
/// A difference that the images cannot resolve is followed by what they can.
pub(super) fn print_metrics(found: &Evaluation, output: &Output) {
    for metric in &found.metrics {
        match (metric.before.filter(|_| !metric.is_relative()), change(metric)) {
            (Some(before), Some(change)) => {
                let (before, after) = (in_unit(before, &metric.unit), in_unit(metric.after, &metric.unit));
                output.line(format!("{:<12} {before:>14} {after:>14}  {change}", metric.name));
            }
            _ => output.line(format!("{:<12} {:>14} {:>14}", metric.name, "", with_error(metric))),
        }
        if let Some(text) = unresolved(metric) {
            output.line(format!("{:<12} {text}", ""));
        }
    }
    if let Some(reason) = &found.unclassified {
        output.line(format!("no top-1 or agreement: {reason}"));
    }
}

/// Returns the fields of a metric for `--json`; numbers that are not finite become `null`.
pub(super) fn metric_json(metric: Option<&MetricResult>) -> Value {
    metric.map_or(Value::Null, |metric| {
        json!({
            "name": metric.name, "unit": metric.unit, "before": metric.before, "after": metric.after,
            "error": metric.error, "difference": metric.difference(), "resolution": metric.resolution(),
            "images": metric.images, "higher_is_better": metric.higher_is_better,
        })
    })
}

/// Returns all metrics of an evaluation for `--json`.
pub(super) fn metrics_json(found: Option<&Evaluation>) -> Value {
    found.map_or(Value::Null, |found| found.metrics.iter().map(|metric| metric_json(Some(metric))).collect())
}

/// Prints MACs, parameters and bytes before and after a cut.
pub(super) fn print_costs(before: Cost, after: Cost, output: &Output) {
    output.line(format!("{:<12} {:>14} {:>14} {:>8}", "", "before", "after", "kept"));
    for (what, before, after) in [
        ("MACs", before.macs, after.macs),
        ("parameters", before.params, after.params),
        ("bytes", before.bytes, after.bytes),
    ] {
        let share = 100.0 * after as f64 / before.max(1) as f64;
        output.line(format!("{what:<12} {:>14} {:>14} {share:>6.1} %", grouped(before), grouped(after)));
    }
}

/// Returns what goes as text: `412 of 1,392 channels (206 of 696 coupled sets)`.
///
/// Both arguments count channels, then coupled sets.
pub(super) fn of_channels((some, some_sets): (usize, usize), (all, all_sets): (usize, usize)) -> String {
    let [some, all, some_sets, all_sets] =
        [some, all, some_sets, all_sets].map(|count| grouped(count as u64));
    format!("{some} of {all} channels ({some_sets} of {all_sets} coupled sets)")
}

/// Prints the layers that become narrower, and the number of the others.
pub(super) fn print_widths(widths: &[LayerWidth], output: &Output) {
    let narrower: Vec<&LayerWidth> =
        widths.iter().filter(|layer| layer.after != Some(layer.before)).collect();
    output.line(format!("\n{:<48} {:>8} {:>8} {:>8}", "layer", "channels", "after", "kept"));
    for LayerWidth { layer, before, after } in &narrower {
        let kept = after.map_or_else(
            || format!("{:>8} {:>8}", "–", "constant"),
            |after| format!("{after:>8} {:>6.1} %", 100.0 * after as f64 / (*before).max(1) as f64),
        );
        output.line(format!("{:<48} {before:>8} {kept}", shortened(layer, 48)));
    }
    match widths.len() - narrower.len() {
        0 => {}
        1 => output.line("1 other layer keeps its channels"),
        others => output.line(format!("{others} other layers keep their channels")),
    }
    output.line("");
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

/// Returns the result of pruning for `--json`, without the files.
pub(super) fn pruned_json(pruned: &Pruned, calibration: Option<&Calibration>) -> Value {
    let found = pruned.evaluation.as_ref();
    let agreement = found.and_then(|found| found.agreement.as_ref());
    let error = found.and_then(|found| Some(found.metric_named("top-1")?.error? / 100.0));
    let top1 = found.and_then(|found| Some((found.reference_accuracy.top1()?, found.accuracy.top1()?)));
    json!({
        "before": pruned.before, "after": pruned.after, "widths": pruned.widths,
        "removed_channels": pruned.removed_channels, "total_channels": pruned.total_channels,
        "coupled_cut": pruned.coupled_cut, "criterion": pruned.cut.criterion, "budget": pruned.cut.budget,
        "repair": pruned.repair, "proof": pruned.proof, "inexact": pruned.inexact,
        "top1": top1.map(|(b, a)| json!({ "before": b, "after": a, "error": error })),
        "agreement": agreement.and_then(Agreement::agreement), "kl": agreement.and_then(Agreement::kl),
        "snr_db": agreement.map(Agreement::snr_db),
        "metric": metric_json(found.and_then(|found| found.metric.as_ref())), "metrics": metrics_json(found),
        "images": calibration.map(|c| json!({ "calibration": c.fit.len(), "evaluation": c.judge.len() })),
        "latency": pruned.latency, "tried": pruned.attempts, "refits": pruned.refits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_their_error_and_what_the_images_resolve() {
        let mut metric = MetricResult {
            name: "top-1".to_owned(),
            unit: "%".to_owned(),
            higher_is_better: true,
            before: Some(92.0),
            after: 91.6,
            error: Some(1.2),
            images: 160,
        };
        assert_eq!(change(&metric).as_deref(), Some("−0.40 ± 1.20 points"));
        assert_eq!(unresolved(&metric).as_deref(), Some("160 images cannot resolve less than 2.40 points"));
        assert_eq!(with_error(&metric), "91.60 ± 1.20 %");
        metric.after = 88.0;
        assert_eq!(unresolved(&metric), None);
        metric.before = None;
        assert_eq!(change(&metric), None);
        (metric.name, metric.unit, metric.before) = ("loss".to_owned(), String::new(), Some(0.5));
        (metric.after, metric.error) = (0.625, None);
        assert_eq!((change(&metric).as_deref(), with_error(&metric)), (Some("+0.1250"), "0.6250".to_owned()));
        // Agreement and SNR compare with the original, whose own values say nothing.
        (metric.name, metric.unit, metric.before) = ("agreement".to_owned(), "%".to_owned(), Some(100.0));
        assert_eq!((change(&metric), unresolved(&metric)), (None, None));
    }
}
