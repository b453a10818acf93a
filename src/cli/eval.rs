//! `secateur eval`: accuracy, another metric, or agreement with a reference.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{Global, PrecisionArgs, positive};
use super::data_args::DataArgs;
use super::metric_args::MetricArgs;
use super::output::{Output, decibels};
use super::presets::print_trial;
use super::progress::Progress;
use super::results::{in_unit, metric_json, plus_minus};
use super::terms::translate;
use crate::error::Result;
use crate::pipeline::{Agreement, Evaluation, Graph, Misfit, Precision, evaluate_by};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    /// Reference network to compare with.
    #[arg(long, value_name = "REF")]
    against: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Rank likely recipes of preprocessing on 64 images (or --images N) instead: presets, scales, means, and orders of
    /// channels. --resize, --crop, --letterbox and --layout stay as given.
    #[arg(long, requires = "data", conflicts_with_all = ["against", "metric", "precision"])]
    try_presets: bool,
    #[command(flatten)]
    metric: MetricArgs,
    /// Number of images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    #[command(flatten)]
    precision: PrecisionArgs,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let graph = Graph::from_model(&args.data.load(&args.model)?)?;
    if args.try_presets {
        let device = args.precision.open(global, output)?;
        let trial = args.data.try_presets(&graph, &device, args.batch, &mut Progress::new(output))?;
        print_trial(&trial, output);
        return Ok(Answer::Yes);
    }
    let against =
        args.against.as_ref().map(|p| args.data.load(p).and_then(|m| Graph::from_model(&m))).transpose()?;
    let data = args.data.open(&graph)?;
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
        "metric": metric_json(found.metric.as_ref()), "classified": found.classified,
        "unclassified": found.unclassified, "preprocessing": data.describe()?,
    }));
    Ok(Answer::Yes)
}

fn print(found: &Evaluation, against: bool, output: &Output) {
    if found.host_outputs {
        output.line(
            "outputs have data-dependent shapes: the values that they are computed from are compared instead",
        );
    }
    let metric = found.metric.as_ref();
    let percent = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{:.2} %", 100.0 * v));
    let accuracy = &found.accuracy;
    match &found.unclassified {
        Some(reason) => output.line(format!("{} images; no top-1 or agreement: {reason}", found.images)),
        None => {
            let top1 = metric.filter(|metric| metric.name == "top-1");
            let error = top1.map_or_else(String::new, plus_minus);
            let before = top1.and_then(|top1| Some(format!("{} → ", in_unit(top1.before?, "%"))));
            output.line(format!(
                "{} images  top-1 {}{}{error}  top-5 {}",
                found.images,
                before.unwrap_or_default(),
                percent(accuracy.top1()),
                percent(accuracy.top5())
            ));
        }
    }
    if let Some(metric) =
        metric.filter(|metric| !matches!(metric.name.as_str(), "top-1" | "agreement" | "SNR"))
    {
        let before = metric.before.map_or_else(String::new, |v| format!("{} → ", in_unit(v, &metric.unit)));
        let after = in_unit(metric.after, &metric.unit);
        output.line(format!("{} {before}{after}{}", metric.name, plus_minus(metric)));
    }
    if let Some(a) = &found.agreement {
        let error =
            |name: &str| metric.filter(|metric| metric.name == name).map_or_else(String::new, plus_minus);
        output.line(format!(
            "against {}: agreement {}{}  SNR {}{}  largest error {:.3e}",
            if against { "the reference" } else { "itself in f32" },
            percent(a.agreement()),
            error("agreement"),
            decibels(a.snr_db()),
            error("SNR"),
            a.max_abs_err()
        ));
    }
}
