//! `secateur quantize`: fewer bits for each weight.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Answer;
use super::args::{Global, positive};
use super::data_args::{DataArgs, JudgeArgs};
use super::integer_args::IntegerArgs;
use super::metric_args::MetricArgs;
use super::notices;
use super::output::{Output, grouped};
use super::output_guard::OutputGuard;
use super::progress::{ANALYZING, LOADING, OPENING_DATA, Progress};
use super::report::{WRITE_PAGE, command, write_page};
use super::results::{judged_on, metric_json, metrics_json, print_metrics};
use super::streams::OutputFile;
use crate::error::Result;
use crate::pipeline::{
    Agreement, CodedSize, Network, Outcome, PaletteBits, QualityLimit, Quantized, Repair, ReportOptions,
    Sensitivity, quantization_page, quantize, quantize_within, share,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    /// ONNX file to write; - for standard output.
    #[arg(short, long, value_name = "OUT.onnx")]
    pub(super) output: OutputFile,
    #[command(flatten)]
    integers: IntegerArgs,
    /// Shared weights in place of integers: the bits of an index into each layer's codebook.
    ///
    /// Each layer's weights take one of 16, 64 or 256 values. The file has the values and packed indices, and runs
    /// unchanged in ONNX Runtime. With --data, weights, values and biases are refitted to the original's outputs.
    #[arg(long, value_name = "BITS", conflicts_with_all = ["runtime", "ranges", "float"])]
    palette: Option<PaletteBits>,
    /// Repair of the layers: none rounds each weight for itself.
    #[arg(long, value_name = "METHOD", requires = "data")]
    repair: Option<WeightRepair>,
    /// Keep nodes in float until the loss is at most PP points.
    ///
    /// PP is in the unit of the metric: by default percentage points of top-1, or without labels, of the agreement with
    /// the original. Every node is also quantized alone, and the table names those that lose most. These return to
    /// float first.
    #[arg(long, value_name = "PP", conflicts_with = "palette")]
    max_drop: Option<f64>,
    /// Keep nodes in float until the metric is at least V.
    ///
    /// If lower values are better, the metric is at most V. Example: --metric snr --min-quality 30.
    #[arg(long, value_name = "V", allow_hyphen_values = true, conflicts_with_all = ["max_drop", "palette"])]
    min_quality: Option<f64>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Also write an HTML report.
    ///
    /// The report shows the sizes and the quality before and after, the range and the histogram of each activation or
    /// the codebook of each layer, and the layers that stay in float.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Quantize although the preprocessing is certainly wrong.
    #[arg(long)]
    force: bool,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

/// The repairs of quantized weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum WeightRepair {
    /// No repair of any layer.
    None,
    /// Least squares of weights, rounding by second moments, and bias correction.
    Full,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let model = output.busy(LOADING, || args.data.load(&args.model))?;
    args.output.check_single(&model)?;
    let guard = OutputGuard::default().model(&model).data(&args.data);
    guard.write_model(&model, args.output.path())?.write(&args.report, WRITE_PAGE)?;
    let network = output.busy(ANALYZING, || Network::from_file(model, false))?;
    let repair = match args.repair {
        Some(WeightRepair::None) => Repair::None,
        Some(WeightRepair::Full) | None => Repair::Full,
    };
    let open = || args.judge.open(&args.data, &network.graph, Some(repair));
    let calibration = output.busy(OPENING_DATA, open)?;
    let metric = args.metric.options(&args.data, args.judge.test(), args.force)?;
    let device = global.open(output)?;
    let mut progress = Progress::new(output);
    let on = (&device, args.batch);
    let with = calibration.as_ref();
    let options = args.integers.options(repair);
    let found: Quantized = match (args.palette, args.limit()) {
        (Some(bits), _) => share(&network, bits, on, (with, repair), &metric, &mut progress)?.into(),
        (None, None) => quantize(&network, &options, on, with, &metric, &mut progress)?.into(),
        (None, Some(limit)) => {
            match quantize_within(&network, (&options, limit), on, with, &metric, &mut progress)? {
                Outcome::Done(found) => found.into(),
                Outcome::Refused(refusal) => {
                    drop(progress);
                    output.note(notices::refusal(&refusal));
                    output.result(&json!({ "out": null }));
                    return Ok(Answer::No);
                }
                Outcome::Interrupted => return Ok(Answer::No),
            }
        }
    };
    found.model().save(args.output.path())?;
    if let Some(path) = &args.report {
        let options = ReportOptions {
            command: Some(command()),
            class_names: args.data.class_names()?,
            settings: global.settings(),
            ..ReportOptions::default()
        };
        let mut page = quantization_page(&found, &network.model, with, &device, &options)?;
        write_page(Some(&mut page), path)?;
    }
    drop(progress);
    print(&found, output);
    if let Some(found) = found.integers() {
        print_sensitivity(&found.sensitivity, output);
    }
    if let Some(evaluation) = found.evaluation() {
        print_metrics(evaluation, output);
    }
    if let Some(calibration) = &calibration {
        output.line(format!("{:<12} {}", "", judged_on(calibration)));
    }
    output.line(format!("→ {}", args.output));
    output.result(&result(args, &found));
    Ok(Answer::Yes)
}

impl Args {
    fn limit(&self) -> Option<QualityLimit> {
        self.max_drop.map(QualityLimit::Drop).or(self.min_quality.map(QualityLimit::Quality))
    }
}

/// Prints the sizes before and after, and the layers that keep their weights.
fn print(found: &Quantized, output: &Output) {
    const NAMED: usize = 5;
    let [before, after] = found.coded();
    output.line(format!("{:<12} {:>14} {:>14} {:>8}", "", "before", "after", "kept"));
    let sizes: [(&str, fn(&CodedSize) -> u64); 3] =
        [("bytes", |size| size.file), ("coded bytes", CodedSize::bytes), ("gzip bytes", |size| size.gzip)];
    for (what, of) in sizes {
        let (before, after) = (of(before), of(after));
        let share = 100.0 * after as f64 / before.max(1) as f64;
        output.line(format!("{what:<12} {:>14} {:>14} {share:>6.1} %", grouped(before), grouped(after)));
    }
    let layers = found.layers().len();
    output.line(format!("quantized    {layers} of {} layers", layers + found.kept().len()));
    if let Some(found) = found.integers() {
        output.line(format!("ranges       {}", found.integer.ranges));
    }
    for (layer, reason) in found.reasons().take(NAMED) {
        output.note(format!("{layer} {reason}"));
    }
}

/// Prints the nodes by which the outputs lose most if each alone has integers.
fn print_sensitivity(sensitivity: &[Sensitivity], output: &Output) {
    const NAMED: usize = 10;
    if sensitivity.is_empty() {
        return;
    }
    let all: f64 = sensitivity.iter().map(|found| found.noise).sum();
    let float = sensitivity.iter().filter(|found| found.is_float).count();
    output
        .line(format!("{:<12} {:>14} {:>14}  node, if it alone has integers", "", "SNR, dB", "of the noise"));
    for found in sensitivity.iter().take(NAMED.max(float)) {
        let share = 100.0 * found.noise / all;
        let stays = if found.is_float { "stays in float" } else { "" };
        output.line(format!("{stays:<14} {:>12.1} {share:>12.1} %  {}", found.snr_db(), found.node));
    }
}

/// Returns the sizes of a file for `--json`.
fn sizes(size: &CodedSize) -> Value {
    json!({
        "bytes": size.file, "coded_bytes": size.bytes(), "huffman_bytes": size.huffman, "rans_bytes": size.rans,
        "gzip_bytes": size.gzip, "bits_per_weight": size.bits_per_weight(),
    })
}

fn result(args: &Args, found: &Quantized) -> Value {
    let evaluation = found.evaluation();
    let agreement = evaluation.and_then(|found| found.agreement.as_ref());
    let top1 = evaluation.and_then(|found| {
        Some(json!({ "before": found.reference_accuracy.top1()?, "after": found.accuracy.top1()? }))
    });
    let (integers, [before, after]) = (found.integers(), found.coded());
    json!({
        "before": sizes(before), "after": sizes(after),
        "palette": args.palette.map(|bits| bits.to_string()),
        "for": integers.map(|found| found.integer.runtime.to_string()),
        "ranges": integers.map(|found| found.integer.ranges.to_string()),
        "layers_quantized": found.layers().len(), "layers_in_float": found.kept().len(), "top1": top1,
        "agreement": agreement.and_then(Agreement::agreement),
        "snr_db": agreement.map(Agreement::snr_db),
        "metric": metric_json(evaluation.and_then(|found| found.metric.as_ref())),
        "metrics": metrics_json(evaluation),
        "sensitivity": integers.map_or(&[][..], |found| &found.sensitivity),
        "tried": integers.map_or(&[][..], |found| &found.tried), "out": args.output.path(),
    })
}
