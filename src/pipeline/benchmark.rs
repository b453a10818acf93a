//! Latency and throughput of several networks, measured in turn on one device.

use super::network::cost;
use crate::bench::layers::{LayerRate, layer_rates};
use crate::bench::peak_rates::PeakRates;
use crate::bench::verified::{VerifiedResult, verified};
use crate::bench::{BenchOptions, Quantiles};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::{Dim, Graph, declared};
use crate::observer::{Observer, Stage, staged};
use crate::onnx::Model;
use crate::onnx::proto::ValueInfoProto;
use crate::prune::Channels;
use crate::report::Cost;

/// How networks are timed.
#[derive(Clone, Copy, Debug)]
pub struct BenchmarkOptions {
    /// Batch size, seconds in all, and whether transfers are timed.
    pub bench: BenchOptions,
    /// True if single layers are timed, too.
    pub layers: bool,
}

/// The measured performance of a network.
#[derive(Clone, Debug)]
pub struct Performance {
    /// Its MACs for one image, parameters and bytes.
    pub cost: Cost,
    /// Number of images of a batch, which the file may fix.
    pub batch: usize,
    /// Seconds of a batch.
    pub seconds: Quantiles,
    /// Images a second, at the median.
    pub images_per_s: f64,
    /// Billions of floating-point operations a second at the median; a MAC counts as two.
    pub gflops: f64,
    /// How many times faster than the first network, from runs side by side; `None` for an unrelated network.
    pub speedup: Option<Quantiles>,
    /// The difference in inputs or outputs that makes the network unrelated to the first.
    pub unrelated: Option<String>,
    /// Nodes that run on the host afterwards, which the times exclude.
    pub host_nodes: usize,
    /// The SNR of outputs in `f16` to those in `f32`, in decibels, if the device stores `f16`.
    pub snr_db: Option<f64>,
    /// The layers in the order of execution, if they were timed.
    pub layers: Vec<LayerRate>,
}

/// The measured performance of several networks.
#[derive(Clone, Debug)]
pub struct Benchmark {
    /// The networks in the order given.
    pub networks: Vec<Performance>,
    /// Rounds that were counted.
    pub rounds: usize,
    /// The peak rates of the device, if layers were timed.
    pub peak_rates: Option<PeakRates>,
}

/// Compares the outputs of the networks with the CPU interpreter's, then times the networks in turn.
///
/// # Errors
/// A network that does not run on the device, outputs that are wrong there.
pub fn benchmark(
    models: &[Model],
    device: &Device,
    options: BenchmarkOptions,
    observer: &mut dyn Observer,
) -> Result<Benchmark> {
    let graphs = models.iter().map(Graph::from_model).collect::<Result<Vec<_>>>()?;
    let all: Vec<&Graph> = graphs.iter().collect();
    let VerifiedResult { times, snr_db } = verified(&all, device, options.bench, observer)?;
    let mut measured = || staged(observer, Stage::TimingLayers, 0, |_| PeakRates::measure(device));
    let peak_rates = options.layers.then(&mut measured).transpose()?;
    let mut networks = Vec::new();
    for (i, (model, graph)) in models.iter().zip(&graphs).enumerate() {
        let cost = cost(&Channels::of(graph)?, model.bytes);
        let layers = match &peak_rates {
            Some(peak) => layer_rates(graph, (device, peak), options.bench, observer)?,
            None => vec![],
        };
        let (seconds, batch) = (times.seconds[i], times.batches[i] as f64);
        let unrelated = difference(model, &models[0]);
        networks.push(Performance {
            cost,
            batch: times.batches[i],
            seconds,
            images_per_s: batch / seconds.median,
            gflops: 2.0 * cost.macs as f64 * batch / seconds.median / 1e9,
            speedup: unrelated.is_none().then_some(times.speedups[i]),
            unrelated,
            host_nodes: times.host_nodes[i],
            snr_db: snr_db[i],
            layers,
        });
    }
    Ok(Benchmark { networks, rounds: times.rounds, peak_rates })
}

/// Returns the first input or output that two models do not share: its name, or its sizes apart from the channels.
fn difference(model: &Model, first: &Model) -> Option<String> {
    let inputs = |model: &Model| -> Vec<ValueInfoProto> {
        let graph = model.graph();
        let constant = |info: &&ValueInfoProto| graph.initializer.iter().any(|t| t.name() == info.name());
        graph.input.iter().filter(|info| !constant(info)).cloned().collect()
    };
    unlike("input", &inputs(model), &inputs(first))
        .or_else(|| unlike("output", &model.graph().output, &first.graph().output))
}

fn unlike(what: &str, own: &[ValueInfoProto], first: &[ValueInfoProto]) -> Option<String> {
    if own.len() != first.len() {
        return Some(format!("it has {} {what}s, the first network {}", own.len(), first.len()));
    }
    let shown = |info: &ValueInfoProto| {
        let dims = declared(info).unwrap_or_default();
        let dims = dims.iter().map(|dim| match dim {
            Dim::Fixed(size) => size.to_string(),
            Dim::Free(name) if name.is_empty() => "?".to_owned(),
            Dim::Free(name) => name.clone(),
        });
        format!("\"{}\" {}", info.name(), dims.collect::<Vec<_>>().join("×")).trim_end().to_owned()
    };
    own.iter().zip(first).find(|(own, first)| own.name() != first.name() || !fits(own, first)).map(
        |(own, first)| format!("its {what} is {}, that of the first network {}", shown(own), shown(first)),
    )
}

/// Returns whether declared shapes agree apart from the channels and from free sizes.
fn fits(own: &ValueInfoProto, first: &ValueInfoProto) -> bool {
    let (Some(own), Some(first)) = (declared(own), declared(first)) else { return true };
    let same = |(axis, (own, first)): (usize, (&Dim, &Dim))| match (own, first) {
        (Dim::Fixed(own), Dim::Fixed(first)) => axis == 1 || own == first,
        _ => true,
    };
    own.len() == first.len() && own.iter().zip(&first).enumerate().all(same)
}

/// Times the algorithms of the networks' layers on the device, for some seconds at most, and remembers the fastest.
///
/// Returns the number of layer shapes that were timed; `None` on the CPU, which has one algorithm a layer.
///
/// # Errors
/// A network that does not run on the device, a cache file that cannot be written.
pub fn autotune(
    models: &[Model],
    device: &Device,
    (batch, seconds): (usize, f64),
    observer: &mut dyn Observer,
) -> Result<Option<usize>> {
    let open = |model| Session::plain(&Graph::from_model(model)?, device, Some(batch));
    let sessions = models.iter().map(open).collect::<Result<Vec<_>>>()?;
    let plans: Vec<_> = sessions.iter().map(|session| &session.plan).collect();
    device.tune(&plans, seconds, observer)
}
