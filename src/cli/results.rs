//! Lines that several verbs print about their results.

use super::output::{Output, many};
use crate::pipeline::{Calibration, JudgedOn, Latency, Quantiles};

/// Describes the images that judge, in parentheses.
pub(super) fn judged_on(calibration: &Calibration) -> String {
    let count = calibration.judge.len();
    match calibration.judged_on {
        JudgedOn::Calibration => format!("(on the {count} images given)"),
        JudgedOn::HeldOut => format!("(on {count} images held out)"),
        JudgedOn::Test => format!("(on {count} test images)"),
    }
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
