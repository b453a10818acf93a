//! `secateur demo`: the whole street on what is built in. The network was trained by
//! `assets/train_demo.py` on images of the generator in `data/synthetic.rs`.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;
use serde_json::json;

use super::Answer;
use super::args::{Global, Origin, positive};
use super::bench::timed;
use super::decide::{CRITERION, DecideArgs, Decision};
use super::eval::evaluate_both;
use super::known::Known;
use super::mend::{calibration as all_images, mended};
use super::output::{Output, grouped, many};
use super::page::{Draft, WRITE_PAGE, Whole};
use super::prune::some_images;
use super::rounds::Deciding;
use super::targets::Targets;
use crate::bench::BenchOptions;
use crate::data::{DataOptions, Dataset, synthetic};
use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::prune::{Channels, rewrite};
use crate::repair::Repair;

/// The network that is built in.
const NETWORK: &[u8] = include_bytes!("../../assets/demo.onnx");
/// Images that the statistics are gathered on, and their seed.
const CALIBRATION: (usize, u64) = (512, 3);
/// Images that accuracy is measured on: neither trained nor calibrated on.
const TEST: (usize, u64) = (1000, 4);
/// Images at once where both are timed.
const BATCH: usize = 8;
/// The share of the MACs that stays.
const KEEP: f64 = 0.5;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the smaller network goes.
    #[arg(short, long, value_name = "OUT.onnx", default_value = "demo-small.onnx")]
    output: PathBuf,
    /// Also writes a page to look at.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Writes the generator's images and labels, and nothing else.
    #[arg(long, value_name = "FILE.npz")]
    write_images: Option<PathBuf>,
    /// How many images to write.
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "write_images", value_parser = positive)]
    count: usize,
    /// The seed of the images to write.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "write_images")]
    seed: u64,
}

fn images((count, seed): (usize, u64)) -> Result<Dataset> {
    let (images, labels) = synthetic::images(seed, count);
    let options = DataOptions { mean: Some(vec![0.5]), std: Some(vec![0.25]), ..DataOptions::default() };
    let shape = [None, Some(3), Some(32), Some(32)];
    Dataset::from_bytes(images, &[count, 3, 32, 32], Some(&labels), &options, &shape)
}

fn write_images(path: &Path, count: usize, seed: u64) -> Result<()> {
    let (images, labels) = synthetic::images(seed, count);
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
    Targets::default().write([&args.output], "write the model")?.write(&args.report, WRITE_PAGE)?;
    let start = Instant::now();
    let device = global.open(output)?;
    let who = device.describe();
    let model = Model::from_bytes(NETWORK, Path::new("demo.onnx"))?;
    let graph = Graph::from_model(&model)?;
    let channels = Channels::of(&graph)?;
    let (calibration, test) = (images(CALIBRATION)?, images(TEST)?);

    output
        .note("1/5 deciding: half of the MACs, by what the layers behind lose on 512 images without labels");
    let inputs = all_images(&calibration, output)?;
    let known = Known {
        profile: None,
        data: Some((&calibration, Origin { data: "built in".to_owned(), shard: None })),
        images: &inputs,
        batch: None,
        device: &device,
        begun: Cell::default(),
    };
    let decide = DecideArgs::simple(CRITERION, KEEP);
    let (how, rounds) = (Repair::Full, 1);
    let deciding = Deciding { decide: &decide, known, how, rounds };
    let Some(Decision { cut, support, seen, .. }) = deciding.decision((&model, &graph, &channels), output)?
    else {
        return Ok(Answer::No);
    };
    let removed = cut.removed(&graph, &model.sha256, &channels)?;
    output.note("2/5 repairing: new weights for every layer behind the cut, in closed form");
    let repaired = mended((&graph, &channels), &removed, how, (&device, &inputs), output)?;
    let mended = repaired.apply(&model)?;
    output.note("3/5 cutting and proving");
    let mended_graph = Graph::from_model(&mended)?;
    let pruned = rewrite(&mended, &mended_graph, &Channels::of(&mended_graph)?, &removed)?;
    let some = some_images(&calibration)?;
    let proof = pruned.prove(&device, some.as_ref())?;
    pruned.model.save(&args.output)?;
    let small = Model::load(&args.output)?;
    let small_graph = Graph::from_model(&small)?;
    output.note("4/5 evaluating both on 1,000 images that neither training nor calibration saw");
    let (before, after) = evaluate_both([&graph, &small_graph], &device, &test, None, output)?;
    output.note("5/5 timing both, in turn");
    let graphs = [graph, small_graph];
    let options = BenchOptions { batch: BATCH, seconds: 4.0, transfers: false };
    let timings = timed(&graphs, &device, options, output)?.times;
    if let Some(path) = &args.report {
        let of = Whole { model: &model, graph: &graphs[0], channels: &channels };
        let mut draft = Draft::new(of, &cut, &removed, &seen);
        draft.draw(of, &device, some.as_ref(), Some(calibration.preprocessing()))?;
        draft.decided(how, None, support);
        draft.shrunk(&small)?;
        draft.page().summary.proof = Some(proof.clone());
        draft.judged(&format!("on {} other images", TEST.0), &before, &after);
        draft.timed(&timings, BATCH, &device);
        draft.time_layers(&graphs, &device, BATCH, 1.0)?;
        draft.write(path, &device, output)?;
    }

    let (macs, params) = channels.cost(&channels.lengths());
    let smaller = Channels::of(&graphs[1])?;
    let (small_macs, small_params) = smaller.cost(&smaller.lengths());
    let percent = |v: Option<f64>| v.unwrap_or(f64::NAN) * 100.0;
    let (top1, small_top1) = (before.top1(), after.accuracy.top1());
    output.line(format!("{:<14} {:>12} {:>12} {:>9}", who.name, "before", "after", "ratio"));
    for (what, b, a) in [
        ("MACs", macs, small_macs),
        ("parameters", params, small_params),
        ("bytes", model.bytes, small.bytes),
    ] {
        output.line(format!(
            "{what:<14} {:>12} {:>12} {:>8.2}×",
            grouped(b),
            grouped(a),
            b as f64 / a.max(1) as f64
        ));
    }
    let ms = |i: usize| timings.seconds[i].median * 1e3 / BATCH as f64;
    let speedup = timings.speedups[1];
    output.line(format!(
        "{:<14} {:>9.3} ms {:>9.3} ms {:>8.2}× ({:.2}–{:.2})",
        "time an image",
        ms(0),
        ms(1),
        speedup.median,
        speedup.p10,
        speedup.p90
    ));
    output.line(format!("{:<14} {:>10.2} % {:>10.2} %", "top-1", percent(top1), percent(small_top1)));
    output.line(format!(
        "{} went; proved on {}, largest error {:.1e}; {:.1} s in all",
        many(removed.len(), "channel"),
        many(proof.inputs, "input"),
        proof.max_rel_err,
        start.elapsed().as_secs_f64()
    ));
    output.line(format!("→ {}", args.output.display()));
    output.result(&json!({
        "device": who, "before": { "macs": macs, "params": params, "bytes": model.bytes, "top1": top1 },
        "after": { "macs": small_macs, "params": small_params, "bytes": small.bytes, "top1": small_top1 },
        "speedup": speedup, "proof": proof, "out": args.output, "report": args.report,
    }));
    Ok(Answer::Yes)
}
