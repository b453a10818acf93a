//! `secateur bench`: the referee.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::args::{Global, PrecisionArgs, positive, seconds};
use super::output::{BarObserver, Output, decibels, many, short};
use crate::bench::BenchOptions;
use crate::bench::layers::{LayerRate, layer_rates};
use crate::bench::peak_rates::PeakRates;
use crate::bench::verified::{VerifiedResult, verified};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::Silent;
use crate::onnx::Model;
use crate::prune::Channels;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The ONNX files; ratios are against the first.
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Images at once.
    #[arg(long, value_name = "B", default_value_t = 1, value_parser = positive)]
    batch: usize,
    /// About how long to measure, in all.
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Times what goes to the device and comes back too.
    #[arg(long)]
    transfers: bool,
    /// Also times every layer by itself, and says how near it comes to what the device can do at most.
    #[arg(long)]
    layers: bool,
    /// First time the ways of computing each layer on the device, for S seconds at most, and remember the fastest for
    /// this and every other command (a file in the user's folder for caches, or in $SECATEUR_CACHE).
    #[arg(long, value_name = "S", value_parser = seconds)]
    tune: Option<f64>,
    #[command(flatten)]
    precision: PrecisionArgs,
}

/// Times the ways of what the networks compute.
fn tune(graphs: &[Graph], device: &Device, args: &Args, seconds: f64, output: &Output) -> Result<()> {
    let plain = |graph| Session::plain(graph, device, Some(args.batch));
    let sessions = graphs.iter().map(plain).collect::<Result<Vec<_>>>()?;
    let plans: Vec<_> = sessions.iter().map(|session| &session.plan).collect();
    let bar = output.progress("timing ways", 0);
    let done = device.tune(&plans, seconds, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    output.note(match done? {
        Some(shapes) => format!("timed: {} of layers", many(shapes, "shape")),
        None => "--tune does nothing on the CPU: there is one way of computing everything".to_owned(),
    });
    Ok(())
}

/// The measurement of networks whose outputs are right, with its progress bar.
pub(super) fn timed(
    graphs: &[Graph],
    device: &Device,
    options: BenchOptions,
    output: &Output,
) -> Result<VerifiedResult> {
    let bar = output.progress("timing", 0);
    let graphs: Vec<&Graph> = graphs.iter().collect();
    let result = verified(&graphs, device, options, &mut BarObserver { bar: &bar, stop: &|| false });
    bar.finish_and_clear();
    result
}

/// The table of a network's layers, in the order in which they run.
fn layer_table(
    graph: &Graph,
    on: (&Device, &PeakRates),
    options: BenchOptions,
    output: &Output,
) -> Result<Value> {
    let rates = layer_rates(graph, on, options, &mut Silent)?;
    output.line(format!("\n{}", graph.path.display()));
    output.line(format!(
        "{:<28} {:>9} {:>9} {:>7} {:>8} {:>6} {:>6}",
        "layer", "MACs", "ms", "share", "GFLOP/s", "GB/s", "limit"
    ));
    let mut rows = vec![];
    for LayerRate { node, seconds, share, macs, gflops, gbytes_per_s, peak_share } in rates {
        output.line(format!(
            "{node:<28} {:>9} {:>9.3} {:>5.1} % {gflops:>8.1} {gbytes_per_s:>6.1} {:>4.0} %",
            short(macs),
            seconds.median * 1e3,
            100.0 * share,
            100.0 * peak_share,
        ));
        rows.push(json!({
            "node": node, "macs": macs, "ms": seconds.times(1e3), "share": share,
            "gflops": gflops, "gbytes_per_s": gbytes_per_s, "of_limit": peak_share,
        }));
    }
    Ok(rows.into())
}

/// What to say where so large a share of the MACs fell, and time did not: by less than a third of that.
fn no_gain(path: &Path, fewer: f64, less: f64) -> Option<String> {
    let time = if less > 0.005 { format!("{:.0} % less time", 100.0 * less) } else { "as long".to_owned() };
    (fewer >= 0.1 && less < fewer / 3.0).then(|| {
        format!(
            "{} has {:.0} % fewer MACs and takes {time} here: what is left may wait for memory, or have widths that \
             the device fills up. See --layers; prune by time with --keep-latency.",
            path.display(),
            100.0 * fewer,
        )
    })
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let models = args.models.iter().map(|p| Model::load(p)).collect::<Result<Vec<_>>>()?;
    let graphs = models.iter().map(Graph::from_model).collect::<Result<Vec<_>>>()?;
    let device = args.precision.open(global, output)?;
    if let Some(seconds) = args.tune {
        tune(&graphs, &device, args, seconds, output)?;
    }
    let Args { batch, seconds, transfers, .. } = *args;
    let options = BenchOptions { batch, seconds, transfers };
    let VerifiedResult { times: timings, snr_db } = timed(&graphs, &device, options, output)?;
    let who = device.describe();
    let with = if transfers { ", with transfers" } else { "" };
    output.line(format!(
        "{} ({}, {}, {}), batch {batch}, {} rounds{with}",
        who.name, who.backend, who.driver, who.precision, timings.rounds
    ));
    let (mut list, mut ratios): (Vec<Value>, Vec<Value>) = (vec![], vec![]);
    let (mut first, mut gains) = (None, vec![]);
    for (i, (model, graph)) in models.iter().zip(&graphs).enumerate() {
        let channels = Channels::of(graph)?;
        let (macs, params) = channels.cost(&channels.lengths());
        let on_host = timings.host_nodes[i];
        let (time, speedup) = (timings.seconds[i], timings.speedups[i]);
        let gflops = 2.0 * macs as f64 * args.batch as f64 / time.median / 1e9;
        let rate = args.batch as f64 / time.median;
        output.line(format!(
            "{:<30} {:>9} MACs {:>8.2} ms ({:.2}–{:.2}) {rate:>8.1} images/s {:>6.1} GFLOP/s  {:.2}× ({:.2}–{:.2})",
            model.path.display(),
            short(macs),
            time.median * 1e3,
            time.p10 * 1e3,
            time.p90 * 1e3,
            gflops,
            speedup.median,
            speedup.p10,
            speedup.p90
        ));
        if on_host > 0 {
            output.line(format!(
                "{:<30} {on_host} nodes whose shapes are known only at run time follow on the host: not in these times",
                ""
            ));
        }
        if let Some(near) = snr_db[i] {
            output.line(format!("{:<30} SNR {} against f32, for made-up inputs", "", decibels(near)));
        }
        list.push(json!({
            "path": model.path, "host_nodes": on_host, "params": params, "macs": macs, "bytes": model.bytes,
            "latency_ms": time.times(1e3), "images_per_s": rate, "gflops": gflops, "snr_db": snr_db[i],
        }));
        ratios.push(json!({ "path": model.path, "speedup": speedup }));
        let fewer = 1.0 - macs as f64 / *first.get_or_insert(macs as f64);
        gains.push(no_gain(&model.path, fewer, 1.0 - speedup.median.recip()));
    }
    gains.into_iter().flatten().for_each(|line| output.line(line));
    let rounds = timings.rounds;
    let mut answer =
        json!({ "device": who, "batch": batch, "transfers": transfers, "rounds": rounds, "ratios": ratios });
    if args.layers {
        let limits = PeakRates::measure(&device)?;
        output.line(format!(
            "\nlimits measured here: {:.0} GFLOP/s of multiply-adds, {:.1} GB/s of a copy",
            limits.gflops, limits.gbytes_per_s
        ));
        answer["limits"] = json!(limits);
        for (entry, graph) in list.iter_mut().zip(&graphs) {
            entry["layers"] = layer_table(graph, (&device, &limits), options, output)?;
        }
    }
    answer["models"] = list.into();
    output.result(&answer);
    Ok(Answer::Yes)
}
