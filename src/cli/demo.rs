//! `secateur demo`: the whole pipeline on a built-in network and built-in images.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;
use serde_json::json;

use super::Answer;
use super::args::{Global, positive};
use super::output::{Output, grouped, many};
use super::output_guard::OutputGuard;
use super::progress::Progress;
use super::report::{WRITE_PAGE, command, write_page};
use super::results::{change, of_channels};
use super::streams::OutputFile;
use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::pipeline::{
    BenchOptions, BenchmarkOptions, Evidence, Outcome, PruneOptions, Pruned, Quantiles, ReportOptions,
    benchmark, demo, prune,
};

/// Images at once while both networks are timed.
const BATCH: usize = 8;
/// Seconds for which they are timed.
const SECONDS: f64 = 4.0;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Pruned ONNX file to write; - for standard output.
    #[arg(short, long, value_name = "OUT.onnx", default_value = "demo-small.onnx")]
    pub(super) output: OutputFile,
    /// Also write an HTML report.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Only write generated images and labels.
    #[arg(long, value_name = "FILE.npz")]
    write_images: Option<PathBuf>,
    /// Number of images to write.
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "write_images", value_parser = positive)]
    count: usize,
    /// Seed of the images to write.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "write_images")]
    seed: u64,
}

fn write_images(path: &Path, count: usize, seed: u64) -> Result<()> {
    let (images, labels) = demo::raw_images(count, seed);
    let fail = |e: String| Error::new("cannot write the images").file(path).got(e);
    let images = Array4::from_shape_vec((count, 3, 32, 32), images).map_err(|e| fail(e.to_string()))?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut archive = NpzWriter::new(&mut bytes);
    archive.add_array("images", &images).map_err(|e| fail(e.to_string()))?;
    archive.add_array("labels", &Array1::from_vec(labels)).map_err(|e| fail(e.to_string()))?;
    archive.finish().map_err(|e| fail(e.to_string()))?;
    write_whole(path, "write the images", bytes.get_ref())
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    if let Some(path) = &args.write_images {
        write_images(path, args.count, args.seed)?;
        output.line(format!("{} images → {}", args.count, path.display()));
        output.result(&json!({ "images": args.count, "out": path }));
        return Ok(Answer::Yes);
    }
    OutputGuard::default().write([args.output.path()], "write the model")?.write(&args.report, WRITE_PAGE)?;
    let start = Instant::now();
    let device = global.open(output)?;
    let who = device.describe();
    let (network, calibration) = (demo::network()?, demo::calibration()?);
    let original = network.model.clone();
    output.note(
        "pruning to half of the MACs: channels are scored on 512 images without labels, the layers behind them are \
         refitted, and the result is proved and judged on 1,000 other images",
    );
    let report = ReportOptions {
        seconds: SECONDS,
        batch: BATCH,
        command: Some(command()),
        settings: global.settings(),
        ..ReportOptions::default()
    };
    let options = PruneOptions {
        output: Some(args.output.path().to_path_buf()),
        report: args.report.as_ref().map(|_| report),
        ..PruneOptions::default()
    };
    let mut progress = Progress::new(output);
    let outcome = prune(network, &device, Evidence::images(&calibration), &options, &mut progress)?;
    let Outcome::Done(mut pruned) = outcome else { return Ok(Answer::No) };
    output.note("timing both networks in turn");
    let bench = BenchOptions { batch: BATCH, seconds: SECONDS, transfers: false };
    let models = [original, pruned.model.clone()];
    let times = benchmark(&models, &device, BenchmarkOptions { bench, layers: false }, &mut progress)?;
    let [ms, small_ms] = [0, 1].map(|i| times.networks[i].seconds.median * 1e3 / BATCH as f64);
    let unrelated = || Error::new("the smaller network has other inputs than the original").internal();
    let speedup = times.networks[1].speedup.ok_or_else(unrelated)?;
    if let Some(path) = &args.report {
        write_page(pruned.page.as_mut(), path)?;
        output.line(format!("→ {}", path.display()));
    }
    print(&pruned, (&who.name, [ms, small_ms], speedup), start.elapsed().as_secs_f64(), output);
    output.line(format!("→ {}", args.output));
    let top1 = top1(&pruned);
    let side = |cost: crate::pipeline::Cost, top1: Option<f64>| json!({ "macs": cost.macs, "params": cost.params, "bytes": cost.bytes, "top1": top1 });
    output.result(&json!({
        "device": who, "before": side(pruned.before, top1[0]), "after": side(pruned.after, top1[1]),
        "speedup": speedup, "proof": pruned.proof, "out": args.output, "report": args.report,
    }));
    Ok(Answer::Yes)
}

/// Returns top-1 before and after.
fn top1(pruned: &Pruned) -> [Option<f64>; 2] {
    let found = pruned.evaluation.as_ref();
    [found.and_then(|f| f.reference_accuracy.top1()), found.and_then(|f| f.accuracy.top1())]
}

fn print(pruned: &Pruned, (device, ms, speedup): (&str, [f64; 2], Quantiles), seconds: f64, output: &Output) {
    let (before, after) = (pruned.before, pruned.after);
    output.line(format!("{device:<14} {:>12} {:>12} {:>9}", "before", "after", "ratio"));
    for (what, b, a) in [
        ("MACs", before.macs, after.macs),
        ("parameters", before.params, after.params),
        ("bytes", before.bytes, after.bytes),
    ] {
        let ratio = b as f64 / a.max(1) as f64;
        output.line(format!("{what:<14} {:>12} {:>12} {ratio:>8.2}×", grouped(b), grouped(a)));
    }
    let Quantiles { median, p10, p90 } = speedup;
    output.line(format!(
        "{:<14} {:>9.3} ms {:>9.3} ms {median:>8.2}× ({p10:.2}–{p90:.2})",
        "time an image", ms[0], ms[1]
    ));
    let [top1, small] = top1(pruned).map(|v| v.unwrap_or(f64::NAN) * 100.0);
    let found = pruned.evaluation.as_ref().and_then(|found| found.metric_named("top-1"));
    let change = found.and_then(change).unwrap_or_default();
    output.line(format!("{:<14} {top1:>10.2} % {small:>10.2} %  {change}", "top-1"));
    output.line(format!(
        "{} removed; proved on {}, largest error {:.1e}; {seconds:.1} s in all",
        of_channels(
            (pruned.removed_channels, pruned.coupled_cut),
            (pruned.total_channels, pruned.cut.coupled.len())
        ),
        many(pruned.proof.inputs, "input"),
        pruned.proof.max_rel_err,
    ));
}
