//! `secateur eval`: accuracy, or agreement with a reference.

use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use super::args::{DataArgs, Global, PrecisionArgs, positive, tell_skipped};
use super::output::{Output, decibels};
use crate::data::Dataset;
use crate::data::metrics::{Accuracy, Agreement, classes};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::tensor::Precision;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The ONNX file.
    model: PathBuf,
    /// A network to compare with.
    #[arg(long, value_name = "REF")]
    against: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Images at once.
    #[arg(long, value_name = "B", value_parser = positive)]
    batch: Option<usize>,
    #[command(flatten)]
    precision: PrecisionArgs,
}

/// What an evaluation found.
#[derive(Debug)]
pub(super) struct Evaluation {
    pub(super) images: usize,
    pub(super) accuracy: Accuracy,
    pub(super) agreement: Option<Agreement>,
}

/// Runs a network, and a reference if there is one, over a data set. The reference is always computed in `f32`.
pub(super) fn evaluate(
    graph: &Graph,
    against: Option<&Graph>,
    device: &Device,
    data: &Dataset,
    batch: Option<usize>,
    output: &Output,
) -> Result<Evaluation> {
    let exact = device.clone().at(Precision::F32)?;
    let open = |graph: &Graph, device: &Device, image: &[usize]| {
        Session::for_images(graph, device, image, (batch, data.len()))
    };
    let image = data.image()?;
    let mut session = open(graph, device, &image)?;
    let mut reference = against.map(|graph| open(graph, &exact, &image)).transpose()?;
    let mut found = Evaluation {
        images: 0,
        accuracy: Accuracy::default(),
        agreement: against.map(|_| Agreement::default()),
    };
    // Of a network with a tail, what the tail reads is compared: no classes.
    let tail = session.host_nodes() > 0;
    let port = session.plan.outputs.first().filter(|_| !tail);
    let classes = port.and_then(|p| classes(&p.shape));
    let bar = output.progress("evaluating", data.len());
    for images in data.batches(session.batch) {
        let images = images?;
        if session.image() != images.image() {
            session = open(graph, device, images.image())?;
            reference = against.map(|graph| open(graph, &exact, images.image())).transpose()?;
        }
        let got = session.predict(&images.data)?;
        if let (Some(labels), Some(classes)) = (&images.labels, classes) {
            found.accuracy.add(&got, classes, labels);
        }
        if let (Some(reference), Some(agreement)) = (&mut reference, &mut found.agreement) {
            agreement.add(&reference.predict(&images.data)?, &got, classes);
        }
        found.images += images.count;
        bar.inc(images.count as u64);
    }
    bar.finish_and_clear();
    if tail {
        output.line(
            "outputs have shapes that are known only at run time: compared is what they are computed from",
        );
    }
    tell_skipped(data, output);
    Ok(found)
}

/// A smaller network against the original, and the original's own accuracy where there are labels.
pub(super) fn evaluate_both(
    [whole, small]: [&Graph; 2],
    device: &Device,
    data: &Dataset,
    batch: Option<usize>,
    output: &Output,
) -> Result<(Accuracy, Evaluation)> {
    let after = evaluate(small, Some(whole), device, data, batch, output)?;
    let before = match data.labels() {
        Some(_) => evaluate(whole, None, device, data, batch, output)?.accuracy,
        None => Accuracy::default(),
    };
    Ok((before, after))
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let graph = Graph::from_model(&Model::load(&args.model)?)?;
    let against =
        args.against.as_ref().map(|p| Model::load(p).and_then(|m| Graph::from_model(&m))).transpose()?;
    let data = args.data.open(&graph)?;
    let device = args.precision.open(global, output)?;
    // What halves cost is seen against the network itself.
    let itself = Some(&graph).filter(|_| device.precision() != Precision::F32);
    let found = evaluate(&graph, against.as_ref().or(itself), &device, &data, args.batch, output)?;
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
