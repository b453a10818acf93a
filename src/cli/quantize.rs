//! `secateur quantize`: fewer bits for each weight.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Answer;
use super::args::{Global, positive};
use super::data_args::{DataArgs, JudgeArgs};
use super::metric_args::MetricArgs;
use super::output::{Output, grouped};
use super::output_guard::OutputGuard;
use super::progress::{ANALYZING, LOADING, OPENING_DATA, Progress};
use super::results::{judged_on, metric_json, metrics_json, print_metrics};
use super::streams::OutputFile;
use crate::error::Result;
use crate::pipeline::{Agreement, CodedSize, Network, PaletteBits, Repair, SharedNetwork, share};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    /// ONNX file to write; - for standard output.
    #[arg(short, long, value_name = "OUT.onnx")]
    pub(super) output: OutputFile,
    /// Shared weights: the bits of an index into each layer's codebook.
    ///
    /// Each layer's weights take one of 16, 64 or 256 values. The file has the values and packed indices, and runs
    /// unchanged in ONNX Runtime. With --data, weights, values and biases are refitted to the original's outputs.
    #[arg(long, value_name = "BITS")]
    palette: PaletteBits,
    /// Repair of the layers: none minimizes the error of the weights alone.
    #[arg(long, value_name = "METHOD", requires = "data")]
    repair: Option<PaletteRepair>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    metric: MetricArgs,
    /// Quantize although the preprocessing is certainly wrong.
    #[arg(long)]
    force: bool,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
}

/// The repairs of shared weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PaletteRepair {
    /// No repair of any layer.
    None,
    /// Least squares of weights, codebooks and biases.
    Full,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let model = output.busy(LOADING, || args.data.load(&args.model))?;
    args.output.check_single(&model)?;
    OutputGuard::default().model(&model).data(&args.data).write_model(&model, args.output.path())?;
    let network = output.busy(ANALYZING, || Network::from_file(model, false))?;
    let repair = match args.repair {
        Some(PaletteRepair::None) => Repair::None,
        Some(PaletteRepair::Full) | None => Repair::Full,
    };
    let open = || args.judge.open(&args.data, &network.graph, Some(repair));
    let calibration = output.busy(OPENING_DATA, open)?;
    let metric = args.metric.options(&args.data, args.judge.test(), args.force)?;
    let device = global.open(output)?;
    let mut progress = Progress::new(output);
    let with = (calibration.as_ref(), repair);
    let shared = share(&network, args.palette, (&device, args.batch), with, &metric, &mut progress)?;
    drop(progress);
    shared.model.save(args.output.path())?;
    print(&shared, output);
    if let Some(found) = &shared.evaluation {
        print_metrics(found, output);
    }
    if let Some(calibration) = &calibration {
        output.line(format!("{:<12} {}", "", judged_on(calibration)));
    }
    output.line(format!("→ {}", args.output));
    output.result(&result(args, &shared));
    Ok(Answer::Yes)
}

/// Prints the sizes before and after, and the layers that keep their weights.
fn print(shared: &SharedNetwork, output: &Output) {
    const NAMED: usize = 5;
    let [before, after] = &shared.coded;
    output.line(format!("{:<12} {:>14} {:>14} {:>8}", "", "before", "after", "kept"));
    let sizes: [(&str, fn(&CodedSize) -> u64); 3] =
        [("bytes", |size| size.file), ("coded bytes", CodedSize::bytes), ("gzip bytes", |size| size.gzip)];
    for (what, of) in sizes {
        let (before, after) = (of(before), of(after));
        let share = 100.0 * after as f64 / before.max(1) as f64;
        output.line(format!("{what:<12} {:>14} {:>14} {share:>6.1} %", grouped(before), grouped(after)));
    }
    output.line(format!(
        "shared       {} of {} layers",
        shared.layers.len(),
        shared.layers.len() + shared.kept.len()
    ));
    for (layer, reason) in shared.kept.iter().chain(&shared.unrefitted).take(NAMED) {
        output.note(format!("{layer} {reason}"));
    }
}

/// Returns the sizes of a file for `--json`.
fn sizes(size: &CodedSize) -> Value {
    json!({
        "bytes": size.file, "coded_bytes": size.bytes(), "huffman_bytes": size.huffman, "rans_bytes": size.rans,
        "gzip_bytes": size.gzip, "bits_per_weight": size.bits_per_weight(),
    })
}

fn result(args: &Args, shared: &SharedNetwork) -> Value {
    let found = shared.evaluation.as_ref();
    let agreement = found.and_then(|found| found.agreement.as_ref());
    let top1 = found.and_then(|found| {
        Some(json!({ "before": found.reference_accuracy.top1()?, "after": found.accuracy.top1()? }))
    });
    json!({
        "before": sizes(&shared.coded[0]), "after": sizes(&shared.coded[1]), "palette": args.palette.to_string(),
        "layers_quantized": shared.layers.len(), "layers_in_float": shared.kept.len(), "top1": top1,
        "agreement": agreement.and_then(Agreement::agreement),
        "snr_db": agreement.map(Agreement::snr_db),
        "metric": metric_json(found.and_then(|found| found.metric.as_ref())), "metrics": metrics_json(found),
        "out": args.output.path(),
    })
}
