//! `secateur eval`: accuracy, another metric, or agreement with a reference.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{Global, PrecisionArgs, positive};
use super::data_args::DataArgs;
use super::metric_args::MetricArgs;
use super::output::{Output, many};
use super::presets::print_trial;
use super::progress::{LOADING, OPENING_DATA, Progress};
use super::results::{metric_json, metrics_json, print_metrics};
use super::terms::translate;
use crate::error::Result;
use crate::pipeline::{Agreement, Evaluation, Graph, Misfit, Precision, evaluate_by};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    /// Reference network, usually the original.
    #[arg(long, value_name = "REF")]
    against: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Try likely presets, scales, means and channel orders, and rank them.
    ///
    /// This uses 64 images, or --images N, and measures nothing else. --resize, --crop, --letterbox and --layout stay
    /// as given.
    #[arg(long, requires = "data", conflicts_with_all = ["against", "metric", "precision"])]
    try_presets: bool,
    #[command(flatten)]
    metric: MetricArgs,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    #[command(flatten)]
    precision: PrecisionArgs,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let graph = output.busy(LOADING, || Graph::from_model(&args.data.load(&args.model)?))?;
    if args.try_presets {
        let device = args.precision.open(global, output)?;
        let trial = args.data.try_presets(&graph, &device, args.batch, &mut Progress::new(output))?;
        print_trial(&trial, output);
        return Ok(Answer::Yes);
    }
    let against =
        args.against.as_ref().map(|p| args.data.load(p).and_then(|m| Graph::from_model(&m))).transpose()?;
    let data = output.busy(OPENING_DATA, || args.data.open(&graph))?;
    let options = args.metric.options(&args.data, None, false)?;
    let device = args.precision.open(global, output)?;
    // The accuracy of f16 is measured against the network itself.
    let itself = Some(&graph).filter(|_| device.precision() != Precision::F32);
    let reference = against.as_ref().or(itself);
    let by = (args.batch, &options);
    let found = evaluate_by(&graph, reference, &device, &data, by, &mut Progress::new(output))?;
    let misfit = found.label_fit.as_ref().and_then(|fit| fit.misfit(&data));
    if let Some(Misfit { top1, chance, advice }) = misfit {
        let advice = advice.map_or_else(String::new, |advice| format!("; {}", translate(&advice)));
        output.note(format!(
            "top-1 is {top1:.1} % (chance {chance:.1} %): preprocessing or labels do not fit{advice}; --try-presets ranks \
             recipes"
        ));
    }
    print(&found, against.is_some(), output);
    let (a, accuracy) = (found.agreement.as_ref(), &found.accuracy);
    output.result(&json!({
        "images": found.images, "skipped": data.skipped().len(), "precision": device.precision().name(),
        "top1": accuracy.top1(), "top5": accuracy.top5(),
        "agreement": a.and_then(Agreement::agreement), "kl": a.and_then(Agreement::kl),
        "snr_db": a.map(Agreement::snr_db), "max_abs_err": a.map(Agreement::max_abs_err),
        "metric": metric_json(found.metric.as_ref()), "metrics": metrics_json(Some(&found)),
        "classified": found.classified, "unclassified": found.unclassified, "preprocessing": data.describe()?,
    }));
    Ok(Answer::Yes)
}

fn print(found: &Evaluation, against: bool, output: &Output) {
    if found.host_outputs {
        output.line(
            "outputs have data-dependent shapes: the values that they are computed from are compared instead",
        );
    }
    let images = many(found.images, "image");
    match (against, &found.agreement) {
        (_, None) => output.line(images),
        (true, Some(_)) => {
            output.line(format!("{:<12} {:>14} {:>14}", images, "reference", "network"));
        }
        (false, Some(_)) => output.line(format!("{:<12} {:>14} {:>14}", images, "in f32", "in f16")),
    }
    print_metrics(found, output);
    if found.metrics.is_empty() {
        output.line(
            "nothing was measured: give --against with another network, or --labels with pictures or masks",
        );
    }
    if let Some(a) = &found.agreement {
        if let Some(kl) = a.kl() {
            output.line(format!("{:<12} {:>14} {kl:>9.2e} nats", "KL", ""));
        }
        output.line(format!("{:<12} {:>14} {:>14.3e}", "largest", "", a.max_abs_err()));
    }
}
