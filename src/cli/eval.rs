//! `secateur eval`: accuracy, or agreement with a reference.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{Global, PrecisionArgs, positive};
use super::data_args::DataArgs;
use super::output::{Output, decibels};
use super::progress::Progress;
use crate::error::Result;
use crate::pipeline::{Agreement, Graph, Precision, evaluate};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Path of the ONNX file.
    model: PathBuf,
    /// Reference network to compare with.
    #[arg(long, value_name = "REF")]
    against: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Number of images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    #[command(flatten)]
    precision: PrecisionArgs,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let graph = Graph::from_model(&args.data.load(&args.model)?)?;
    let against =
        args.against.as_ref().map(|p| args.data.load(p).and_then(|m| Graph::from_model(&m))).transpose()?;
    let data = args.data.open(&graph)?;
    let device = args.precision.open(global, output)?;
    // The accuracy of f16 is measured against the network itself.
    let itself = Some(&graph).filter(|_| device.precision() != Precision::F32);
    let reference = against.as_ref().or(itself);
    let found = evaluate(&graph, reference, &device, &data, args.batch, &mut Progress::new(output))?;
    if found.host_outputs {
        output.line(
            "outputs have data-dependent shapes: the values that they are computed from are compared instead",
        );
    }
    let (top1, top5) = (found.accuracy.top1(), found.accuracy.top5());
    let percent = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{:.2} %", 100.0 * v));
    output.line(format!("{} images  top-1 {}  top-5 {}", found.images, percent(top1), percent(top5)));
    let a = found.agreement.as_ref();
    if let Some(a) = a {
        output.line(format!(
            "against {}: agreement {}  SNR {}  largest error {:.3e}",
            if against.is_none() { "itself in f32" } else { "the reference" },
            percent(a.agreement()),
            decibels(a.snr_db()),
            a.max_abs_err()
        ));
    }
    output.result(&json!({
        "images": found.images, "skipped": data.skipped().len(), "precision": device.precision().name(), "top1": top1, "top5": top5,
        "agreement": a.and_then(Agreement::agreement), "kl": a.and_then(Agreement::kl),
        "snr_db": a.map(Agreement::snr_db), "max_abs_err": a.map(Agreement::max_abs_err),
    }));
    Ok(Answer::Yes)
}
