//! `secateur prune`: decide, repair, cut, prove, write.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{Global, positive, seconds};
use super::data_args::DataArgs;
use super::integer_args::IntegerArgs;
use super::metric_args::MetricArgs;
use super::notices::{self, interrupted};
use super::output::{Output, grouped, many};
use super::output_guard::OutputGuard;
use super::plan_args::{PlanArgs, RepairArgs};
use super::progress::{ANALYZING, LOADING, OPENING_DATA, Progress};
use super::report::command;
use super::results::{
    judged_on, of_channels, print_costs, print_inexact, print_latency, print_metrics, with_error,
};
use super::streams::OutputFile;
use super::sweep::{Outputs, SweepFiles, print_sweep};
use super::training_args::{TrainingArgs, print_rounds, print_training};
use crate::error::Result;
use crate::pipeline::{
    Calibration, Cut, Evaluation, Evidence, FoldedConstants, Model, Network, NumberFormat, Outcome,
    PlanOptions, PruneOptions, Pruned, Repair, ReportOptions, Target, TrainingLength, apply, check_targets,
    prune, sweep,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    /// Pruned ONNX file to write; - for standard output.
    ///
    /// With several budgets, each replaces `{}` in the names of files. Without `{}`, it is added before the extension:
    /// small.onnx becomes small-0.8.onnx, small-0.6.onnx.
    #[arg(short, long, value_name = "OUT.onnx")]
    pub(super) output: OutputFile,
    /// Cut file that `plan` wrote.
    #[arg(long, value_name = "CUT.json", conflicts_with_all = ["profile", "keep_macs", "keep_params", "keep_latency", "remove_below", "inexact", "criterion", "scope", "normalize", "round_to", "max_cut", "protect", "min_channels", "seed", "require_confidence", "rounds"])]
    cut: Option<PathBuf>,
    /// Statistics of the network that `profile` wrote.
    ///
    /// With --data, missing statistics are measured and saved in this file, so that the same command continues after
    /// Ctrl-C.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    repair: RepairArgs,
    /// Then train for N epochs to imitate the original.
    ///
    /// The options under Training decide how; labels are not needed.
    #[arg(long, value_name = "N")]
    finetune: Option<f64>,
    #[command(flatten)]
    training: TrainingArgs,
    /// Then quantize to 8-bit integers, as the verb quantize does.
    #[arg(long)]
    quantize: bool,
    #[command(flatten)]
    integers: IntegerArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Keep at most this share of the file's bytes.
    ///
    /// Channels and the number format are chosen together: floats, 8-bit integers, or a palette of 4 bits, each with the
    /// channels that it leaves room for. The format stays whose outputs are nearest to the original's. With --quantize,
    /// it is 8-bit integers. Several shares, such as 0.5,0.25, write a network each.
    #[arg(long, value_name = "R", value_delimiter = ',', conflicts_with_all = ["cut", "keep_macs", "keep_params", "keep_latency", "remove_below", "max_drop", "min_quality", "rounds"])]
    keep_bytes: Vec<f64>,
    /// Find the smallest network that loses at most PP points.
    ///
    /// PP is in the unit of the metric: by default percentage points of top-1, or without labels, of the agreement with
    /// the original. Smallest means fewest MACs, or with --normalize params, fewest parameters. Several limits, such as
    /// 0.5,1,2, write a network each.
    #[arg(long, value_name = "PP", value_delimiter = ',', conflicts_with_all = ["cut", "keep_macs", "keep_params", "keep_latency", "remove_below", "rounds"])]
    max_drop: Vec<f64>,
    /// Find the smallest network whose metric is at least V.
    ///
    /// If lower values are better, the metric is at most V. Example: --metric snr --min-quality 30.
    #[arg(long, value_name = "V", allow_hyphen_values = true, conflicts_with_all = ["max_drop", "cut", "keep_macs", "keep_params", "keep_latency", "remove_below", "rounds"])]
    min_quality: Option<f64>,
    /// Continue although a check fails.
    ///
    /// The checks find an original that is no better than chance or gives one class for all images, a preprocessing
    /// that is certainly wrong, and a pruned network that has collapsed.
    #[arg(long)]
    force: bool,
    /// Also write the masked reference, with which `report` can repeat the proof.
    ///
    /// It is the repaired original, in which the weights for removed channels are zero. The proof compares the pruned
    /// network with it.
    #[arg(long, value_name = "FILE.onnx")]
    masked: Option<PathBuf>,
    /// Also write the decision as a cut file, for `report` and `prune --cut`.
    #[arg(long, value_name = "CUT.json", conflicts_with = "cut")]
    write_cut: Option<PathBuf>,
    /// Record the origin of the pruned file in its metadata.
    ///
    /// This stamp has the version, criterion, budget, and the hashes of the original and of the cut. `inspect` and
    /// `report` show it, and `report` refuses files that do not belong together.
    #[arg(long)]
    stamp: bool,
    /// Also write an HTML report.
    ///
    /// The report shows the removed channels, accuracy, the proof, and times on this device.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Seconds for which the report times both networks; 0 leaves times out.
    #[arg(long, value_name = "S", default_value_t = 3.0, requires = "report", value_parser = seconds)]
    report_seconds: f64,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

impl Args {
    /// Checks files and options before anything is computed; returns the targets.
    fn check(&self, model: &Model) -> Result<Vec<Target>> {
        self.output.check_single(model)?;
        let targets = match (self.max_drop.is_empty(), self.min_quality, &self.cut) {
            _ if !self.keep_bytes.is_empty() => self.keep_bytes.iter().copied().map(Target::Bytes).collect(),
            (false, ..) => self.max_drop.iter().copied().map(Target::MaxDrop).collect(),
            (true, Some(least), _) => vec![Target::MinQuality(least)],
            (true, None, Some(_)) => vec![Target::default()],
            (true, None, None) => self.plan.required_targets()?,
        };
        check_targets(&targets, self.repair.rounds)?;
        let criterion = self.plan.criterion()?;
        let guard = OutputGuard::default().model(model).read(&self.cut).read(&self.profile).data(&self.data);
        let guard = guard.read(criterion.as_ref().and_then(|c| c.file()));
        SweepFiles::of(self.outputs(), &targets)?
            .iter()
            .try_fold(guard, |guard, files| files.guarded(guard, model))?;
        Ok(targets)
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs {
            network: &self.output,
            masked: self.masked.as_deref(),
            cut: self.write_cut.as_deref(),
            report: self.report.as_deref(),
        }
    }

    fn options(&self, target: Target, network: &Network) -> Result<PruneOptions> {
        let metric = self.metric.options(&self.data, self.repair.judge.test(), self.force)?;
        let integers = self.integers.options(Repair::Full);
        let mut plan =
            PlanOptions { rounds: self.repair.rounds, metric, ..self.plan.options(target, network)? };
        // A byte budget chooses among the formats; the options of integers apply to theirs.
        plan.formats.retain(|format| !self.quantize || matches!(format, NumberFormat::Integers(_)));
        for format in &mut plan.formats {
            if let NumberFormat::Integers(options) = format {
                *options = integers.clone();
            }
        }
        let class_names = self.data.class_names()?;
        let report = || ReportOptions {
            seconds: self.report_seconds,
            command: Some(command()),
            class_names,
            ..ReportOptions::default()
        };
        Ok(PruneOptions {
            plan,
            repair: self.repair.repair,
            output: Some(self.output.path().to_path_buf()),
            masked: self.masked.clone(),
            report: self.report.as_ref().map(|_| report()),
            finetune: self
                .finetune
                .map(|epochs| self.training.options(TrainingLength::Epochs(epochs), self.plan.seed))
                .transpose()?,
            quantize: self.quantize.then_some(integers),
            stamp: self.stamp,
        })
    }
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let model = output.busy(LOADING, || args.data.load(&args.model))?;
    let targets = args.check(&model)?;
    let cut = args.cut.as_deref().map(Cut::load).transpose()?;
    // An inexact cut is one of other coupled channels.
    let inexact = cut.as_ref().map_or(args.plan.inexact, |cut| cut.inexact.is_some());
    let network = output.busy(ANALYZING, || Network::from_file(model, inexact))?;
    let open = || args.repair.judge.open(&args.data, &network.graph, args.repair.repair);
    let calibration = output.busy(OPENING_DATA, open)?;
    let calibration = calibration.as_ref();
    let mut options = args.options(targets[0], &network)?;
    if let Some(report) = &mut options.report {
        report.settings = global.settings();
    }
    let device = global.open(output)?;
    let evidence = Evidence::open(&network, args.profile.as_deref(), calibration, args.batch)?;
    let mut progress = match (&args.profile, calibration) {
        (Some(_), Some(_)) => Progress::interruptible(output)?,
        _ => Progress::new(output),
    };
    if targets.len() > 1 {
        let files = SweepFiles::of(args.outputs(), &targets)?;
        let budgets: Vec<_> = files.iter().map(SweepFiles::budget).collect();
        let swept = sweep(&network, &device, evidence, &budgets, &options, &mut progress)?;
        return print_sweep(swept, &files, calibration, args.profile.as_deref(), output);
    }
    let outcome = match cut {
        Some(cut) => apply(network, &device, cut, evidence, &options, &mut progress)?,
        None => prune(network, &device, evidence, &options, &mut progress)?,
    };
    match outcome {
        Outcome::Done(mut pruned) => {
            print(&pruned, calibration, output);
            let files = SweepFiles::single(args.outputs(), targets[0]);
            files.write(&mut pruned)?;
            files.print(output);
            output.result(&files.json(&pruned, calibration)?);
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

fn print(pruned: &Pruned, calibration: Option<&Calibration>, output: &Output) {
    print_costs(pruned.before, pruned.after, output);
    if let Some(found) = &pruned.evaluation {
        print_metrics(found, output);
        output.line(format!("{:<12} {}", "", calibration.map(judged_on).unwrap_or_default()));
    }
    print_rounds(&pruned.rounds, output);
    let earlier = |found: &Option<Evaluation>, what: &str| {
        if let Some(metric) = found.as_ref().and_then(|found| found.metric.as_ref()) {
            output.line(format!(
                "{:<12} {:>14} {:>14}  before the {what}",
                metric.name,
                "",
                with_error(metric)
            ));
        }
    };
    earlier(&pruned.unquantized, "quantization");
    earlier(&pruned.untrained, "training");
    if let Some(training) = &pruned.training {
        print_training(training, output);
    }
    if pruned.quantized_layers > 0 {
        output.line(format!("quantized    {} layers", pruned.quantized_layers));
    }
    for tried in &pruned.formats {
        let snr = -10.0 * tried.noise.log10();
        let kept = format!("{:.3} of the parameters", tried.keep_params);
        output.line(format!("{:<16} {kept}, {} bytes, SNR {snr:.1} dB", tried.format, grouped(tried.bytes)));
    }
    if let Some(collapse) = &pruned.collapse {
        output.note(collapse.to_string());
    } else if pruned.loses_most() {
        output.note(
            "fewer than half of the answers of the original are left: keep more, search with --max-drop, or fine-tune \
             the network before it is used",
        );
    }
    if let Some(latency) = &pruned.latency {
        print_latency(latency, output);
    }
    print_inexact(&pruned.inexact, output);
    output.line(format!(
        "{} removed ({}, {})",
        of_channels(
            (pruned.removed_channels, pruned.coupled_cut),
            (pruned.total_channels, pruned.cut.coupled.len())
        ),
        pruned.cut.criterion,
        pruned.cut.budget,
    ));
    output.line(format!(
        "proved on {}{}, largest error {:.1e}",
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
