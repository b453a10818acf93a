//! `secateur prune`: decide, repair, cut, prove, write.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::args::{Global, positive, seconds};
use super::data_args::DataArgs;
use super::metric_args::MetricArgs;
use super::notices::{self, interrupted};
use super::output::{Output, decibels, grouped, many, short};
use super::output_guard::OutputGuard;
use super::plan_args::{PlanArgs, RepairArgs};
use super::progress::Progress;
use super::report::{WRITE_PAGE, command, write_page};
use super::results::{in_unit, judged_on, metric_json, plus_minus, print_inexact, print_latency};
use super::streams::OutputFile;
use crate::error::Result;
use crate::pipeline::{
    Agreement, Calibration, Cut, Evidence, FoldedConstants, Model, Network, Outcome, PlanOptions,
    PruneOptions, Pruned, ReportOptions, Target, apply, prune,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    /// Pruned ONNX file to write; - for standard output.
    #[arg(short, long, value_name = "OUT.onnx")]
    pub(super) output: OutputFile,
    /// Cut file that `plan` wrote.
    #[arg(long, value_name = "CUT.json", conflicts_with_all = ["profile", "keep_macs", "keep_params", "keep_latency", "remove_below", "inexact", "criterion", "scope", "normalize", "round_to", "max_cut", "protect", "min_channels", "seed", "require_confidence", "rounds"])]
    cut: Option<PathBuf>,
    /// Profile of the model. With --data, missing statistics are gathered and saved there, so that the same command
    /// continues after Ctrl-C.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    repair: RepairArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Search for the smallest network that loses at most so much of the metric on the images that judge: percentage
    /// points of top-1, or of agreement with the original without labels. It counts MACs, or parameters with
    /// --normalize params.
    #[arg(long, value_name = "PP", conflicts_with_all = ["cut", "keep_macs", "keep_params", "keep_latency", "remove_below", "rounds"])]
    max_drop: Option<f64>,
    /// Search for the smallest network whose metric is at least this, for example --metric snr --min-quality 30; at
    /// most, if less is better.
    #[arg(long, value_name = "V", allow_hyphen_values = true, conflicts_with_all = ["max_drop", "cut", "keep_macs", "keep_params", "keep_latency", "remove_below", "rounds"])]
    min_quality: Option<f64>,
    /// Go on although the original is no better than chance, or one class is all that it gives.
    #[arg(long)]
    force: bool,
    /// Masked reference to write, too: the repaired original with zero weights for removed channels, with which the
    /// proof compares.
    #[arg(long, value_name = "FILE.onnx")]
    masked: Option<PathBuf>,
    /// HTML report to write, too: removed channels, their cost, and times on this device.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Seconds for which both networks are timed for the report, in all; 0 leaves times out.
    #[arg(long, value_name = "S", default_value_t = 3.0, requires = "report", value_parser = seconds)]
    report_seconds: f64,
    /// Number of images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

impl Args {
    /// Checks files and options before anything is computed; returns the target.
    fn check(&self, model: &Model) -> Result<Target> {
        self.output.check_single(model)?;
        let criterion = self.plan.criterion()?;
        let guard = OutputGuard::default().model(model).read(&self.cut).read(&self.profile).data(&self.data);
        let guard = guard.read(criterion.as_ref().and_then(|c| c.file()));
        let guard = guard.write_model(model, self.output.path())?;
        let guard = self.masked.iter().try_fold(guard, |guard, path| guard.write_model(model, path))?;
        guard.write(&self.report, WRITE_PAGE)?;
        let search = self.max_drop.map(Target::MaxDrop).or(self.min_quality.map(Target::MinQuality));
        match (search, &self.cut) {
            (Some(target), _) => {
                target.check()?;
                Ok(target)
            }
            (None, Some(_)) => Ok(Target::default()),
            (None, None) => self.plan.required_target(),
        }
    }

    fn options(&self, target: Target, network: &Network) -> Result<PruneOptions> {
        let metric = self.metric.options(&self.data, self.repair.judge.test(), self.force)?;
        let plan = PlanOptions { rounds: self.repair.rounds, metric, ..self.plan.options(target, network)? };
        let report = || ReportOptions {
            seconds: self.report_seconds,
            command: Some(command()),
            ..ReportOptions::default()
        };
        Ok(PruneOptions {
            plan,
            repair: self.repair.repair,
            output: Some(self.output.path().to_path_buf()),
            masked: self.masked.clone(),
            report: self.report.as_ref().map(|_| report()),
        })
    }
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let model = args.data.load(&args.model)?;
    let target = args.check(&model)?;
    let cut = args.cut.as_deref().map(Cut::load).transpose()?;
    // An inexact cut is one of other coupled channels.
    let inexact = cut.as_ref().map_or(args.plan.inexact, |cut| cut.inexact.is_some());
    let network = Network::from_file(model, inexact)?;
    let calibration = args.repair.judge.open(&args.data, &network.graph, args.repair.repair)?;
    let calibration = calibration.as_ref();
    let options = args.options(target, &network)?;
    let device = global.open(output)?;
    let evidence = Evidence::open(&network, args.profile.as_deref(), calibration, args.batch)?;
    let mut progress = match (&args.profile, calibration) {
        (Some(_), Some(_)) => Progress::interruptible(output)?,
        _ => Progress::new(output),
    };
    let outcome = match cut {
        Some(cut) => apply(network, &device, cut, evidence, &options, &mut progress)?,
        None => prune(network, &device, evidence, &options, &mut progress)?,
    };
    match outcome {
        Outcome::Done(mut pruned) => {
            print(&pruned, calibration, output);
            output.line(format!("→ {}", args.output));
            if let Some(path) = &args.report {
                write_page(pruned.page.as_mut(), path)?;
                output.line(format!("→ {}", path.display()));
            }
            output.result(&json(&pruned, calibration, args));
            Ok(Answer::Yes)
        }
        Outcome::Refused(refusal) => {
            output.note(notices::refusal(&refusal));
            output.result(&json!({ "out": null, "tried": refusal.attempts }));
            Ok(Answer::No)
        }
        Outcome::Interrupted => {
            output.note(interrupted(args.profile.as_deref()));
            output.result(&json!({ "out": null }));
            Ok(Answer::No)
        }
    }
}

fn top1(pruned: &Pruned) -> Option<(f64, f64)> {
    let found = pruned.evaluation.as_ref()?;
    Some((found.reference_accuracy.top1()?, found.accuracy.top1()?))
}

fn agreement(pruned: &Pruned) -> Option<&Agreement> {
    pruned.evaluation.as_ref()?.agreement.as_ref()
}

fn print(pruned: &Pruned, calibration: Option<&Calibration>, output: &Output) {
    let (before, after) = (&pruned.before, &pruned.after);
    output.line(format!("{:<12} {:>14} {:>14} {:>8}", "", "before", "after", "kept"));
    for (what, before, after) in [
        ("MACs", before.macs, after.macs),
        ("parameters", before.params, after.params),
        ("bytes", before.bytes, after.bytes),
    ] {
        let share = 100.0 * after as f64 / before.max(1) as f64;
        output.line(format!("{what:<12} {:>14} {:>14} {share:>6.1} %", grouped(before), grouped(after)));
    }
    let on = calibration.map(judged_on).unwrap_or_default();
    let metric = pruned.evaluation.as_ref().and_then(|found| found.metric.as_ref());
    let error = |name: &str| metric.filter(|metric| metric.name == name).map_or_else(String::new, plus_minus);
    if let Some((before, after)) = top1(pruned) {
        let (before, after) = (100.0 * before, 100.0 * after);
        output.line(format!("{:<12} {before:>12.2} % {after:>12.2} %{}   {on}", "top-1", error("top-1")));
    }
    if let Some(metric) =
        metric.filter(|metric| !matches!(metric.name.as_str(), "top-1" | "agreement" | "SNR"))
    {
        let before = metric.before.map_or_else(String::new, |before| in_unit(before, &metric.unit));
        let after = in_unit(metric.after, &metric.unit);
        output.line(format!("{:<12} {before:>14} {after:>14}{}   {on}", metric.name, plus_minus(metric)));
    }
    if let Some(found) = agreement(pruned) {
        let share = found
            .agreement()
            .map_or(String::new(), |a| format!("agreement {:.2} %{}, ", 100.0 * a, error("agreement")));
        let ratio = decibels(found.snr_db());
        output.line(format!("{:<12} {share}SNR {ratio}{} {on}", "original", error("SNR")));
    }
    if let Some(reason) = pruned.evaluation.as_ref().and_then(|found| found.unclassified.as_ref()) {
        output.line(format!("{:<12} no top-1 or agreement: {reason}", ""));
    }
    if let Some(collapse) = &pruned.collapse {
        output.note(notices::collapse(collapse));
    }
    if let Some(latency) = &pruned.latency {
        print_latency(latency, output);
    }
    print_inexact(&pruned.inexact, output);
    output.line(format!(
        "{} of {} channels removed ({}, {}, {}); proved on {}{}, largest error {:.1e}",
        short(pruned.removed_channels as u64),
        short(pruned.total_channels as u64),
        many(pruned.coupled_cut, "coupled set"),
        pruned.cut.criterion,
        pruned.cut.budget,
        many(pruned.proof.inputs, "input"),
        if pruned.proof.exact { "" } else { " up to these nodes" },
        pruned.proof.max_rel_err
    ));
    if let Some(difference) = pruned.proof.difference {
        output.line(format!(
            "after them the outputs differ by up to {difference:.1e} of their largest magnitude"
        ));
    }
    if let Some(constants) = &pruned.proof.constants {
        output.line(folded(constants));
    }
}

/// Describes the removed constant channels, and the effect of their removal at padded borders.
fn folded(constants: &FoldedConstants) -> String {
    let moved = format!(
        "{} added to the biases of {}",
        many(constants.channels, "constant channel"),
        many(constants.layers, "layer")
    );
    let Some(difference) = constants.difference else { return moved };
    let shown = constants.borders.iter().take(5).cloned();
    let more = constants.borders.len().saturating_sub(5);
    let nodes = shown.chain((more > 0).then(|| format!("{more} more"))).collect::<Vec<_>>().join(", ");
    format!(
        "{moved}, exactly except at padded borders and between the strides of ConvTranspose ({nodes}): outputs differ \
         by up to {difference:.1e} of their largest magnitude"
    )
}

fn json(pruned: &Pruned, calibration: Option<&Calibration>, args: &Args) -> Value {
    let agreement = agreement(pruned);
    let report: Option<&Path> = args.report.as_deref();
    json!({
        "before": pruned.before, "after": pruned.after,
        "removed_channels": pruned.removed_channels, "total_channels": pruned.total_channels,
        "coupled_cut": pruned.coupled_cut, "criterion": pruned.cut.criterion, "budget": pruned.cut.budget,
        "repair": pruned.repair, "proof": pruned.proof, "inexact": pruned.inexact,
        "top1": top1(pruned).map(|(b, a)| json!({ "before": b, "after": a })),
        "agreement": agreement.and_then(Agreement::agreement), "kl": agreement.and_then(Agreement::kl),
        "snr_db": agreement.map(Agreement::snr_db),
        "metric": metric_json(pruned.evaluation.as_ref().and_then(|found| found.metric.as_ref())),
        "images": calibration.map(|c| json!({ "calibration": c.fit.len(), "evaluation": c.judge.len() })),
        "latency": pruned.latency, "tried": pruned.attempts, "refits": pruned.refits, "out": args.output,
        "report": report,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_channels_are_described_with_their_borders() {
        let mut constants = FoldedConstants::default();
        (constants.channels, constants.layers) = (3, 1);
        assert_eq!(folded(&constants), "3 constant channels added to the biases of 1 layer");
        constants.borders = (1..=7).map(|i| format!("conv{i}")).collect();
        constants.difference = Some(0.0123);
        let text = folded(&constants);
        assert!(
            text.contains("(conv1, conv2, conv3, conv4, conv5, 2 more): outputs differ by up to 1.2e-2"),
            "{text}"
        );
    }
}
