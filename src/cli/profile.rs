//! `secateur profile` and `secateur show`.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::Answer;
use super::args::{DataArgs, Global, recipe, tell_skipped};
use super::output::Output;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::file::write_whole;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::stats::profile::VERSION;
use crate::stats::{Header, Moments, Profile, gather};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The ONNX file.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Images at once.
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// The profile to write.
    #[arg(short, long, value_name = "FILE.profile")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The profile.
    profile: PathBuf,
    /// Writes every channel as a row of a CSV file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// The statistics pass with its progress bar.
pub(super) fn profiled(
    (model, graph): (&Model, &Graph),
    device: &Device,
    (data, spec): (&Dataset, String),
    batch: Option<usize>,
    output: &Output,
) -> Result<Profile> {
    let bar = output.progress("profiling", data.len());
    let gathered = gather(graph, device, data, batch, &mut |n| bar.inc(n as u64));
    bar.finish_and_clear();
    let (layers, images) = gathered?;
    let header = Header {
        version: VERSION,
        model_sha256: model.sha256.clone(),
        model: model.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        images,
        data: spec,
        preprocessing: recipe(data),
        device: device.describe().name,
        layers: layers.iter().map(|l| (l.node.clone(), l.op.clone())).collect(),
    };
    tell_skipped(data, output);
    Ok(Profile { header, layers })
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let model = Model::load(&args.model)?;
    let graph = Graph::of(&model)?;
    let data = args.data.open_real(&graph)?;
    let device = global.open(output)?;
    let start = Instant::now();
    let profile = profiled((&model, &graph), &device, (&data, args.data.spec()), args.batch, output)?;
    let seconds = start.elapsed().as_secs_f64();
    profile.save(&args.output)?;
    let channels: usize = profile.layers.iter().map(|l| l.weight.l1.len()).sum();
    let (images, layers) = (profile.header.images, profile.layers.len());
    let rate = images as f64 / seconds;
    output.line(format!(
        "{images} images, {layers} layers, {channels} channels in {seconds:.1} s ({rate:.0} images/s) → {}",
        args.output.display()
    ));
    output.result(&json!({
        "images": images, "seconds": seconds, "images_per_s": rate, "forward_only_images_per_s": null,
        "layers": layers, "channels": channels, "confidence": null, "out": args.output,
    }));
    Ok(Answer::Yes)
}

#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// The profiles, in the order of their images.
    #[arg(required = true, num_args = 2..)]
    profiles: Vec<PathBuf>,
    /// The profile to write.
    #[arg(short, long, value_name = "FILE.profile")]
    output: PathBuf,
}

pub(super) fn merge(args: &MergeArgs, output: &Output) -> Result<Answer> {
    let mut all = args.profiles.iter();
    let first = all.next().ok_or_else(|| Error::new("no profiles were given"))?;
    let mut whole = Profile::load(first)?;
    for path in all {
        whole.merge(&Profile::load(path)?).map_err(|e| e.file(path))?;
    }
    whole.save(&args.output)?;
    let (count, images) = (args.profiles.len(), whole.header.images);
    output.line(format!("{count} profiles, {images} images → {}", args.output.display()));
    output.result(&json!({ "profiles": count, "images": images, "out": args.output }));
    Ok(Answer::Yes)
}

pub(super) fn show(args: &ShowArgs, output: &Output) -> Result<Answer> {
    let profile = Profile::load(&args.profile)?;
    if let Some(path) = &args.csv {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let fail = |e: csv::Error| Error::new("cannot write the table").file(path).got(e.to_string());
        let head = [
            "node",
            "channel",
            "weight_mean",
            "weight_variance",
            "weight_l1",
            "weight_l2",
            "pre_mean",
            "pre_variance",
            "post_mean",
            "post_variance",
            "post_mean_abs",
            "post_frequency",
            "post_min",
            "post_max",
        ];
        writer.write_record(head).map_err(fail)?;
        for layer in &profile.layers {
            for c in 0..layer.weight.l1.len() {
                let (w, pre, post) = (&layer.weight, layer.pre.get(c), layer.post.get(c));
                let of = |m: Option<&Moments>, get: fn(&Moments) -> f64| m.map_or(f64::NAN, get);
                let numbers = [
                    w.mean[c],
                    w.variance[c],
                    w.l1[c],
                    w.l2[c],
                    of(pre, |m| m.mean),
                    of(pre, Moments::variance),
                    of(post, |m| m.mean),
                    of(post, Moments::variance),
                    of(post, Moments::mean_abs),
                    of(post, Moments::frequency),
                    of(post, |m| m.min),
                    of(post, |m| m.max),
                ];
                let mut row = vec![layer.node.clone(), c.to_string()];
                row.extend(numbers.iter().map(ToString::to_string));
                writer.write_record(row).map_err(fail)?;
            }
        }
        let bytes =
            writer.into_inner().map_err(|e| Error::new("cannot write the table").got(e.to_string()))?;
        write_whole(path, "write the table", &bytes)?;
    }
    output.line(format!(
        "{} images of {} through {}",
        profile.header.images, profile.header.data, profile.header.model
    ));
    output.line(format!("{:<34} {:>8} {:>10} {:>10} {:>10}", "layer", "channels", "L1", "mean |x|", "x > 0"));
    for layer in &profile.layers {
        let n = layer.weight.l1.len().max(1) as f64;
        let mean = |get: fn(&Moments) -> f64| layer.post.iter().map(get).sum::<f64>() / n;
        output.line(format!(
            "{:<34} {:>8} {:>10.4} {:>10.4} {:>9.1}%",
            layer.node,
            layer.weight.l1.len(),
            layer.weight.l1.iter().sum::<f64>() / n,
            mean(Moments::mean_abs),
            100.0 * mean(Moments::frequency)
        ));
    }
    output.result(&json!({ "header": profile.header, "columns": profile.columns().iter().map(|c| &c.0).collect::<Vec<_>>() }));
    Ok(Answer::Yes)
}
