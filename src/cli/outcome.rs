//! What `prune` tells of what it did.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::decide::{Latency, tell_inexact};
use super::eval::Evaluation;
use super::mend::Parts;
use super::output::{Output, decibels, grouped, many, short};
use crate::data::metrics::{Accuracy, Agreement};
use crate::prune::{Cut, Proof};
use crate::repair::Repair;
use crate::report::Cost;

/// A network that was tried.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Tried {
    /// The share of the MACs, or of the parameters, that it was to keep.
    pub(super) keep: f64,
    pub(super) top1: Option<f64>,
    pub(super) agreement: Option<f64>,
    /// What it loses of the one or the other, in percentage points.
    pub(super) drop: f64,
}

/// What came of a cut.
pub(super) struct Outcome<'a> {
    pub(super) cut: &'a Cut,
    pub(super) before: Cost,
    pub(super) after: Cost,
    /// Channels that went, and all that there were.
    pub(super) gone: usize,
    pub(super) total: usize,
    pub(super) coupled: usize,
    pub(super) how: Repair,
    pub(super) refits: usize,
    pub(super) proof: &'a Proof,
    /// Nodes at which the cut is no equal one.
    pub(super) inexact: &'a [String],
    /// The images, where there were any, and the original's and the smaller network's answers to those that judge.
    pub(super) data: Option<&'a Parts>,
    pub(super) accuracy: Option<&'a (Accuracy, Evaluation)>,
    pub(super) latency: Option<&'a Latency>,
    pub(super) tried: &'a [Tried],
    pub(super) out: &'a Path,
    pub(super) report: Option<&'a Path>,
}

impl Outcome<'_> {
    fn top1(&self) -> Option<(f64, f64)> {
        let (before, with) = self.accuracy?;
        Some((before.top1()?, with.accuracy.top1()?))
    }

    fn agreement(&self) -> Option<&Agreement> {
        self.accuracy?.1.agreement.as_ref()
    }

    /// In words.
    pub(super) fn tell(&self, output: &Output) {
        let (before, after) = (&self.before, &self.after);
        output.line(format!("{:<12} {:>14} {:>14} {:>8}", "", "before", "after", "kept"));
        for (what, before, after) in [
            ("MACs", before.macs, after.macs),
            ("parameters", before.params, after.params),
            ("bytes", before.bytes, after.bytes),
        ] {
            let share = 100.0 * after as f64 / before.max(1) as f64;
            output.line(format!("{what:<12} {:>14} {:>14} {share:>6.1} %", grouped(before), grouped(after)));
        }
        let on = self.data.map(Parts::on).unwrap_or_default();
        if let Some((before, after)) = self.top1() {
            output.line(format!(
                "{:<12} {:>12.2} % {:>12.2} %   {on}",
                "top-1",
                before * 100.0,
                after * 100.0
            ));
        }
        if let Some(found) = self.agreement() {
            let share =
                found.agreement().map_or(String::new(), |a| format!("agreement {:.2} %, ", 100.0 * a));
            output.line(format!("{:<12} {share}SNR {} {on}", "original", decibels(found.snr_db())));
        }
        if let Some(latency) = self.latency {
            latency.tell(output);
        }
        tell_inexact(self.inexact, output);
        output.line(format!(
            "{} of {} channels went ({} coupled, {}, {}); proved on {}{}, largest error {:.1e}",
            short(self.gone as u64),
            short(self.total as u64),
            self.coupled,
            self.cut.criterion,
            self.cut.budget,
            many(self.proof.inputs, "input"),
            if self.proof.exact { "" } else { " up to these nodes" },
            self.proof.max_rel_err
        ));
        if let Some(difference) = self.proof.difference {
            output.line(format!(
                "behind them the answers differ by up to {difference:.1e} of their largest magnitude"
            ));
        }
        output.line(format!("→ {}", self.out.display()));
    }

    /// As fields.
    pub(super) fn json(&self) -> Value {
        let agreement = self.agreement();
        json!({
            "before": self.before, "after": self.after,
            "removed_channels": self.gone, "total_channels": self.total, "coupled_cut": self.coupled,
            "criterion": self.cut.criterion, "budget": self.cut.budget, "repair": self.how, "proof": self.proof,
            "inexact": self.inexact, "top1": self.top1().map(|(b, a)| json!({ "before": b, "after": a })),
            "agreement": agreement.and_then(Agreement::agreement), "kl": agreement.and_then(Agreement::kl),
            "snr_db": agreement.map(Agreement::snr_db),
            "images": self.data.map(|p| json!({ "calibration": p.calibration.len(), "evaluation": p.held.len() })),
            "latency": self.latency, "tried": self.tried, "refits": self.refits, "out": self.out,
            "report": self.report,
        })
    }
}
