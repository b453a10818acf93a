//! `secateur bench`: latency and throughput side by side.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Answer;
use super::args::{Global, PrecisionArgs, positive, seconds};
use super::input_args::InputArgs;
use super::output::{Output, decibels, many, short, three_digits};
use super::progress::{LOADING, Progress};
use super::table::{Table, WIDTH, wrapped};
use crate::error::Result;
use crate::pipeline::{
    BenchOptions, Benchmark, BenchmarkOptions, LayerRate, Model, Performance, Quantiles, autotune, benchmark,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// ONNX files; speedups are relative to the first.
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Number of images that are computed at once.
    #[arg(long, value_name = "B", default_value_t = 1, value_parser = positive)]
    batch: usize,
    /// Approximate time of the whole measurement in seconds.
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Count transfers to and from the device as well.
    #[arg(long)]
    transfers: bool,
    /// Also time each layer by itself.
    ///
    /// The result shows the share of the device's peak rates, which are measured as well.
    #[arg(long)]
    layers: bool,
    /// Find the fastest algorithm for each layer first, within S seconds.
    ///
    /// All commands use these algorithms from then on. The times are saved in the user's cache folder, or in
    /// $SECATEUR_CACHE.
    #[arg(long, value_name = "S", value_parser = seconds)]
    tune: Option<f64>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
}

pub(super) fn run(args: &Args, global: &Global, output: &Output) -> Result<Answer> {
    let load = || args.models.iter().map(|p| args.inputs.load(p, None)).collect::<Result<Vec<_>>>();
    let models = output.busy(LOADING, load)?;
    let device = args.precision.open(global, output)?;
    let mut progress = Progress::new(output);
    if let Some(seconds) = args.tune {
        let tuned = autotune(&models, &device, (args.batch, seconds), &mut progress)?;
        output.note(match tuned {
            Some(shapes) => format!("timed: {} of layers", many(shapes, "shape")),
            None => "--tune does nothing on the CPU: it has one algorithm for each layer".to_owned(),
        });
    }
    let Args { batch, seconds, transfers, layers, .. } = *args;
    let options = BenchmarkOptions { bench: BenchOptions { batch, seconds, transfers }, layers };
    let Benchmark { networks, rounds, peak_rates } = benchmark(&models, &device, options, &mut progress)?;
    // A file may fix its batch.
    let batch = networks.first().map_or(batch, |network| network.batch);
    let who = device.describe();
    let with = if transfers { ", with transfers" } else { "" };
    output.line(format!(
        "{} ({}, {}, {}), batch {batch}, {rounds} rounds{with}",
        who.name, who.backend, who.driver, who.precision
    ));
    let (mut list, mut ratios): (Vec<Value>, Vec<Value>) = (vec![], vec![]);
    print(&models, &networks, output);
    for (model, network) in models.iter().zip(&networks) {
        list.push(json!({
            "path": model.path, "batch": network.batch, "host_nodes": network.host_nodes, "params": network.cost.params,
            "macs": network.cost.macs, "bytes": network.cost.bytes, "latency_ms": network.seconds.times(1e3),
            "images_per_s": network.images_per_s, "gflops": network.gflops, "snr_db": network.snr_db,
        }));
        if let Some(speedup) = network.speedup {
            ratios.push(json!({ "path": model.path, "speedup": speedup }));
        }
    }
    if ratios.len() == 1 && networks.len() > 1 {
        ratios.clear();
    }
    for (model, why) in models.iter().zip(&networks).filter_map(|(m, n)| Some((m, n.unrelated.as_ref()?))) {
        wrapped(&format!("no ratio for {}: {why}", model.path.display()), 0)
            .iter()
            .for_each(|line| output.line(line));
    }
    for (model, network) in models.iter().zip(&networks) {
        let Some(speedup) = network.speedup else { continue };
        let fewer = 1.0 - network.cost.macs as f64 / networks[0].cost.macs as f64;
        let hint = no_gain(&model.path, fewer, 1.0 - speedup.median.recip());
        hint.iter().flat_map(|hint| wrapped(hint, 0)).for_each(|line| output.line(line));
    }
    let mut result =
        json!({ "device": who, "batch": batch, "transfers": transfers, "rounds": rounds, "ratios": ratios });
    if let Some(peak) = peak_rates {
        output.line(format!(
            "\npeak rates measured here: {:.0} GFLOP/s of multiply-adds, {:.1} GB/s of a copy",
            peak.gflops, peak.gbytes_per_s
        ));
        result["limits"] = json!(peak);
        for ((entry, model), network) in list.iter_mut().zip(&models).zip(&networks) {
            entry["layers"] = print_layers(&model.path, &network.layers, output);
        }
    }
    result["models"] = list.into();
    output.result(&result);
    Ok(Answer::Yes)
}

/// Prints a row for each network.
fn print(models: &[Model], networks: &[Performance], output: &Output) {
    let mut titles = vec!["*network", "MACs", "ms", "p10–p90", "images/s", "GFLOP/s"];
    let has_ratios = networks.iter().any(|network| network.speedup.is_some()) && networks.len() > 1;
    titles.extend(has_ratios.then_some(["speedup", "p10–p90"]).into_iter().flatten());
    let mut table = Table::new(&titles);
    let range = |times: Quantiles| format!("{}–{}", three_digits(times.p10), three_digits(times.p90));
    for (model, network) in models.iter().zip(networks) {
        let time = network.seconds.times(1e3);
        let mut cells = vec![
            model.path.display().to_string(),
            short(network.cost.macs),
            three_digits(time.median),
            range(time),
            three_digits(network.images_per_s),
            three_digits(network.gflops),
        ];
        if let Some(ratio) = network.speedup.filter(|_| has_ratios) {
            cells.extend([format!("{}×", three_digits(ratio.median)), range(ratio)]);
        }
        table.row(cells);
    }
    table.lines(WIDTH).for_each(|line| output.line(line));
    for (model, network) in models.iter().zip(networks) {
        let path = model.path.display();
        if network.host_nodes > 0 {
            let nodes = network.host_nodes;
            let text = format!(
                "{path}: {nodes} nodes with data-dependent shapes run on the host, not in these times"
            );
            wrapped(&text, 0).iter().for_each(|line| output.line(line));
        }
        if let Some(snr) = network.snr_db {
            let text = format!("{path}: SNR {} against f32, for made-up inputs", decibels(snr));
            wrapped(&text, 0).iter().for_each(|line| output.line(line));
        }
    }
}

/// Prints the times of a network's layers in the order of execution.
fn print_layers(path: &Path, layers: &[LayerRate], output: &Output) -> Value {
    output.line(format!("\n{}", path.display()));
    let mut table = Table::new(&["*layer", "MACs", "ms", "share", "GFLOP/s", "GB/s", "peak"]);
    let mut rows = vec![];
    for LayerRate { node, seconds, share, macs, gflops, gbytes_per_s, peak_share } in layers {
        table.row([
            node.clone(),
            short(*macs),
            three_digits(seconds.median * 1e3),
            format!("{:.1} %", 100.0 * share),
            three_digits(*gflops),
            three_digits(*gbytes_per_s),
            format!("{:.0} %", 100.0 * peak_share),
        ]);
        rows.push(json!({
            "node": node, "macs": macs, "ms": seconds.times(1e3), "share": share,
            "gflops": gflops, "gbytes_per_s": gbytes_per_s, "of_limit": peak_share,
        }));
    }
    table.lines(WIDTH).for_each(|line| output.line(line));
    rows.into()
}

/// Returns a hint if MACs fell and time did not: by less than a third of the share.
fn no_gain(path: &Path, fewer: f64, less: f64) -> Option<String> {
    let time = if less > 0.005 { format!("{:.0} % less time", 100.0 * less) } else { "as long".to_owned() };
    (fewer >= 0.1 && less < fewer / 3.0).then(|| {
        format!(
            "{} has {:.0} % fewer MACs and takes {time} here: the remaining layers may wait for memory, or have widths \
             that the device pads. See --layers; prune by time with --keep-latency.",
            path.display(),
            100.0 * fewer,
        )
    })
}
