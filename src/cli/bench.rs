//! `secateur bench`: the referee.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::args::{Global, PrecisionArgs, positive, seconds};
use super::output::{Output, decibels, many, short};
use super::progress::Progress;
use crate::bench::layers::{LayerTime, layers};
use crate::bench::limits::PeakRates;
use crate::bench::{Timing, Timings, bench};
use crate::compare::{Tolerance, compare};
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::onnx::Model;
use crate::prune::Channels;
use crate::tensor::Precision;

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
    let done = device.tune(&plans, seconds, &mut Progress::new(output))?;
    output.note(match done {
        Some(shapes) => format!("timed: {} of layers", many(shapes, "shape")),
        None => "--tune does nothing on the CPU: there is one way of computing everything".to_owned(),
    });
    Ok(())
}

/// What networks are asked before their times count.
fn made_up(session: &Session) -> Vec<Vec<f32>> {
    let wave = |n: usize| (0..n).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    session.plan.inputs.iter().map(|port| wave(port.shape.iter().product())).collect()
}

/// A device's answers.
fn answers(graph: &Graph, device: &Device) -> Result<Vec<Vec<f32>>> {
    let mut session = Session::plain(graph, device, Some(1))?;
    let inputs = made_up(&session);
    session.run_steps(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The device's answers in `f32`, which must be those of the CPU interpreter before its times count; none of the CPU.
fn right_answers(graph: &Graph, device: &Device) -> Result<Vec<Vec<f32>>> {
    if matches!(device, Device::Cpu) {
        return Ok(vec![]);
    }
    let got = answers(graph, &device.clone().at(Precision::F32)?)?;
    for (got, expected) in got.iter().zip(&answers(graph, &Device::Cpu)?) {
        let verdict = compare(got, expected, Tolerance::NETWORK);
        if !verdict.passed() {
            return Err(Error::new("the device gives wrong answers: its times mean nothing")
                .file(&graph.path)
                .got(verdict.to_string())
                .remedy(
                    "run `secateur check` to see which step is wrong; update the driver, or use --device cpu",
                ));
        }
    }
    Ok(got)
}

/// Whether the device's times count.
pub(super) fn answers_are_right(graph: &Graph, device: &Device) -> Result<()> {
    right_answers(graph, device).map(drop)
}

/// How near a device that keeps halves comes to its answers in `f32`, in decibels; `None` where it keeps none.
fn nearness(graph: &Graph, device: &Device, expected: &[Vec<f32>]) -> Result<Option<f64>> {
    if device.precision() == Precision::F32 {
        return Ok(None);
    }
    let mut agreement = Agreement::default();
    for (got, expected) in answers(graph, device)?.iter().zip(expected) {
        if got.iter().zip(expected).any(|(got, expected)| !got.is_finite() && expected.is_finite()) {
            return Err(Error::new("the network has numbers that f16 cannot hold: its times mean nothing")
                .file(&graph.path)
                .expected("at most 65504")
                .remedy("leave --precision out"));
        }
        agreement.add(expected, got, None);
    }
    Ok(Some(agreement.snr_db()))
}

/// The measurement with its progress bar, in tenths of a second.
pub(super) fn timed(graphs: &[Graph], device: &Device, timing: Timing, output: &Output) -> Result<Timings> {
    let tenths = |seconds: f64| (10.0 * seconds) as u64;
    let bar = output.progress("timing", tenths(timing.seconds) as usize);
    let graphs: Vec<&Graph> = graphs.iter().collect();
    let timings = bench(&graphs, device, timing, &mut |spent| bar.set_position(tenths(spent)));
    bar.finish_and_clear();
    timings
}

/// What each node takes, in the order in which they run.
fn layer_table(
    graph: &Graph,
    (device, limits): (&Device, &PeakRates),
    args: &Args,
    output: &Output,
) -> Result<Value> {
    let session = Session::plain(graph, device, Some(args.batch))?;
    let facts = Facts::infer(graph, &graph.input_shapes(Some(args.batch), &Sizes::Own)?)?;
    let timed = layers(&mut [session], args.seconds)?.concat();
    let whole: f64 = timed.iter().map(|t| t.seconds.median).sum();
    output.line(format!("\n{}", graph.path.display()));
    output.line(format!(
        "{:<28} {:>9} {:>9} {:>7} {:>8} {:>6} {:>6}",
        "layer", "MACs", "ms", "share", "GFLOP/s", "GB/s", "limit"
    ));
    let mut rows = vec![];
    for LayerTime { node, seconds } in timed {
        let own = graph.nodes.iter().position(|n| n.name == node);
        let macs =
            own.map_or(0, |id| graph.nodes[id].op.macs(&facts.inputs(graph, id), &facts.outputs(graph, id)));
        // What it reads and writes, once.
        let values = own.map(|id| graph.nodes[id].inputs.iter().chain(&graph.nodes[id].outputs).flatten());
        let known = values.into_iter().flatten().filter(|&&v| facts.get(v).is_some());
        let size = |v: ValueId| {
            let own = !graph.outputs.contains(&v) && graph.inputs.iter().all(|input| input.value != v);
            if own { device.precision().size() } else { Precision::F32.size() }
        };
        let bytes: usize = known.map(|&v| facts.shape(v).iter().product::<usize>() * size(v)).sum();
        let (flops, bytes) = (2.0 * macs as f64, bytes as f64);
        let (gflops, gbytes) = (flops / seconds.median / 1e9, bytes / seconds.median / 1e9);
        let of_limit = limits.share(flops, bytes, seconds.median);
        output.line(format!(
            "{node:<28} {:>9} {:>9.3} {:>5.1} % {gflops:>8.1} {gbytes:>6.1} {:>4.0} %",
            short(macs),
            seconds.median * 1e3,
            100.0 * seconds.median / whole,
            100.0 * of_limit,
        ));
        rows.push(json!({
            "node": node, "macs": macs, "ms": seconds.times(1e3), "share": seconds.median / whole,
            "gflops": gflops, "gbytes_per_s": gbytes, "of_limit": of_limit,
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
    let near = |graph| nearness(graph, &device, &right_answers(graph, &device)?);
    let near = graphs.iter().map(near).collect::<Result<Vec<_>>>()?;
    let Args { batch, seconds, transfers, .. } = *args;
    let timings = timed(&graphs, &device, Timing { batch, seconds, transfers }, output)?;
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
        if let Some(near) = near[i] {
            output.line(format!("{:<30} SNR {} against f32, for made-up inputs", "", decibels(near)));
        }
        list.push(json!({
            "path": model.path, "host_nodes": on_host, "params": params, "macs": macs, "bytes": model.bytes,
            "latency_ms": time.times(1e3), "images_per_s": rate, "gflops": gflops, "snr_db": near[i],
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
        let limits = PeakRates::of(&device)?;
        output.line(format!(
            "\nlimits measured here: {:.0} GFLOP/s of multiply-adds, {:.1} GB/s of a copy",
            limits.gflops, limits.gbytes_per_s
        ));
        answer["limits"] = json!(limits);
        for (entry, graph) in list.iter_mut().zip(&graphs) {
            entry["layers"] = layer_table(graph, (&device, &limits), args, output)?;
        }
    }
    answer["models"] = list.into();
    output.result(&answer);
    Ok(Answer::Yes)
}
