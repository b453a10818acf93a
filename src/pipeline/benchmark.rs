//! Latency and throughput of several networks, measured in turn on one device.

use super::network::cost;
use crate::bench::layers::{LayerRate, layer_rates};
use crate::bench::peak_rates::PeakRates;
use crate::bench::verified::{VerifiedResult, verified};
use crate::bench::{BenchOptions, Quantiles};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::onnx::Model;
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
    /// How many times faster than the first network, from runs side by side.
    pub speedup: Quantiles,
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
    let peak_rates = options.layers.then(|| PeakRates::measure(device)).transpose()?;
    let mut networks = Vec::new();
    for (i, (model, graph)) in models.iter().zip(&graphs).enumerate() {
        let cost = cost(&Channels::of(graph)?, model.bytes);
        let layers = match &peak_rates {
            Some(peak) => layer_rates(graph, (device, peak), options.bench, observer)?,
            None => vec![],
        };
        let (seconds, batch) = (times.seconds[i], times.batches[i] as f64);
        networks.push(Performance {
            cost,
            batch: times.batches[i],
            seconds,
            images_per_s: batch / seconds.median,
            gflops: 2.0 * cost.macs as f64 * batch / seconds.median / 1e9,
            speedup: times.speedups[i],
            host_nodes: times.host_nodes[i],
            snr_db: snr_db[i],
            layers,
        });
    }
    Ok(Benchmark { networks, rounds: times.rounds, peak_rates })
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
