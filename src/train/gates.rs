//! Gradients of gates: the derivatives of each image's loss with respect to factors of all channels.

use rayon::prelude::*;

use super::gate_options::{GateObjective, GateOptions};
use super::gate_plan::{GatePlan, Noise};
use super::trainer::MOST_BYTES;
use crate::data::Batch;
use crate::data::normals;
use crate::data::synthetic::{finish, splitmix64};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::Executor;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::graph::facts::{Facts, takes_batches};
use crate::stats::{GateLoss, ImageGates, LayerTaps, layers, mixed_value};

/// The images of a run, unless fewer are asked for or fit.
const BATCH: usize = 64;

/// A number that makes a class the drawn one, whatever its score.
const CERTAIN: f32 = 1e30;

/// The gradients of an image, or of a run that mixes its images.
#[derive(Clone, Debug, PartialEq)]
pub struct GatedImage {
    /// The place in the pass behind the image.
    pub next: usize,
    /// The gradients by layer, one for each channel.
    pub gradients: ImageGates,
}

/// A network that is loaded on a device for gradients of gates.
pub struct Gates<'a> {
    graph: &'a Graph,
    device: &'a Device,
    layers: Vec<LayerTaps>,
    /// True if tensors mix the samples of a run.
    mixed: bool,
    options: GateOptions,
    loaded: (GatePlan, Box<dyn Executor>),
}

impl std::fmt::Debug for Gates<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gates").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<'a> Gates<'a> {
    /// Plans the gradients of all layers and loads them on a device.
    ///
    /// # Errors
    /// A network without outputs that depend on its inputs, nodes that cannot be planned, and a device that fails.
    pub fn new(graph: &'a Graph, device: &'a Device, options: GateOptions) -> Result<Self> {
        let layers = layers(graph, &Facts::at_own_size(graph)?);
        let mixed = mixed_value(graph, layers.iter().map(LayerTaps::gated))?.is_some();
        let loaded = load((graph, &layers), (device, mixed), &options).map_err(|e| e.file(&graph.path))?;
        Ok(Self { graph, device, layers, mixed, options, loaded })
    }

    /// Returns the images per run.
    pub fn batch(&self) -> usize {
        self.loaded.0.plan.batch
    }

    /// Returns the nodes through which no gradient passes.
    pub fn stops(&self) -> &[String] {
        &self.loaded.0.stops
    }

    /// Computes the gradients of some images.
    ///
    /// # Errors
    /// A device that fails, and a label that is no class.
    pub fn run(&mut self, images: &Batch) -> Result<Vec<GatedImage>> {
        if images.sample != self.options.sample {
            self.options.sample = images.sample.clone();
            let network = (self.graph, self.layers.as_slice());
            self.loaded = load(network, (self.device, self.mixed), &self.options)
                .map_err(|e| e.file(&self.graph.path))?;
        }
        let (gates, executor) = &mut self.loaded;
        let len = images.sample.elements().max(1);
        let mut all = Vec::with_capacity(images.count);
        for first in (0..images.count).step_by(gates.plan.batch) {
            let count = gates.plan.batch.min(images.count - first);
            let samples = &images.data[first * len..(first + count) * len];
            let labels = images.labels.as_ref().map(|labels| &labels[first..first + count]);
            let mut inputs = images.sample.arranged(samples, gates.plan.batch);
            inputs.extend(chance(gates, self.options.objective, (samples, len), labels)?);
            let outputs = executor.run(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            let units = if gates.parts == gates.plan.batch { count } else { 1 };
            for unit in 0..units {
                let of = |output: &Option<usize>| {
                    let rows = &outputs[(*output)?];
                    let channels = rows.len() / gates.parts;
                    Some(rows[unit * channels..][..channels].to_vec())
                };
                let last = first + if units == count { unit } else { count - 1 };
                let next = images.places.get(last).map_or(images.next, |place| place + 1);
                all.push(GatedImage { next, gradients: gates.layers.iter().map(of).collect() });
            }
        }
        Ok(all)
    }
}

/// Plans for as many images as fit, and loads the plan.
fn load(
    (graph, layers): (&Graph, &[LayerTaps]),
    (device, mixed): (&Device, bool),
    options: &GateOptions,
) -> Result<(GatePlan, Box<dyn Executor>)> {
    let limits = device.limits();
    let max_binding = limits.max_binding.min(limits.max_buffer);
    let most = if mixed { 1 } else { options.batch.unwrap_or(BATCH).min(options.images).max(1) };
    let mut batch = takes_batches(graph).then_some(most);
    loop {
        let gates = GatePlan::new((graph, layers), mixed, (options, batch), max_binding)?;
        let fits = gates.plan.check_bindings(max_binding);
        let is_large = gates.plan.bytes() > MOST_BYTES
            || fits.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutOfMemory);
        match batch.filter(|&batch| is_large && batch > 1) {
            Some(now) => batch = Some(now / 2),
            None => {
                fits?;
                let executor = device.load(&gates.plan)?;
                return Ok((gates, executor));
            }
        }
    }
}

/// Returns a seed that depends on the elements of a sample alone: not on its place, or the shard that it is in.
fn seed(sample: &[f32]) -> u64 {
    sample.iter().fold(0, |hash, x| finish(hash ^ u64::from(x.to_bits())).wrapping_add(1))
}

/// Returns random numbers whose largest sum with class scores is that of class k with the probability of k (Gumbel 1954).
fn gumbel(seed: u64) -> impl Iterator<Item = f32> {
    splitmix64(seed).map(|bits| {
        let uniform = ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -(-uniform.ln()).ln() as f32
    })
}

/// Returns the inputs of the loss for consecutive samples of `len` elements; samples that fill a run up have no loss.
fn chance(
    gates: &GatePlan,
    objective: GateObjective,
    (samples, len): (&[f32], usize),
    labels: Option<&[u32]>,
) -> Result<Vec<Vec<f32>>> {
    let (count, batch) = (samples.len() / len, gates.plan.batch);
    match &gates.noise {
        Noise::Classes(classes) => {
            let by_labels = objective.loss() == GateLoss::Labels;
            let mut added = vec![0.0; batch * classes];
            let rows = added.chunks_mut(*classes).zip(samples.chunks(len)).enumerate();
            for (at, (row, sample)) in rows {
                if by_labels {
                    let class = labels.and_then(|labels| row.get_mut(*labels.get(at)? as usize));
                    let no_class = || Error::new("a sample has no class of the network").internal();
                    *class.ok_or_else(no_class)? = CERTAIN;
                } else {
                    row.iter_mut().zip(gumbel(seed(sample))).for_each(|(x, noise)| *x = noise);
                }
            }
            let weights = (0..batch).map(|at| if at < count { 1.0 } else { 0.0 }).collect();
            Ok(vec![added, weights])
        }
        Noise::Outputs(lens) => {
            let whole: usize = lens.iter().sum::<usize>() / batch;
            let rows = samples.par_chunks(len).map(|sample| normals(seed(sample)).take(whole).collect());
            let rows: Vec<Vec<f32>> = rows.collect();
            let mut offset = 0;
            let of = |of_run: &usize| {
                let part = offset..offset + of_run / batch;
                offset = part.end;
                let mut noise: Vec<f32> = rows.iter().flat_map(|row| &row[part.clone()]).copied().collect();
                noise.resize(*of_run, 0.0);
                noise
            };
            Ok(lens.iter().map(of).collect())
        }
    }
}
