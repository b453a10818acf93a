//! Sessions: a network loaded on a device for one batch size, which runs on any number of images.

use super::Executor;
use super::batch_search::{MemoryLimits, largest_fitting};
use super::devices::Device;
use super::host_subgraph::{OutputTensor, finish};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::{Graph, Sizes, ValueId};
use crate::plan::{self, BuildOptions, Operand, Plan, Port, Probe};
use crate::tensor::SampleShape;

/// Options of a session: batch size, input sizes and outputs.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The batch size; `None` chooses one by the device's limits. Networks of fixed batch size keep theirs.
    pub batch: Option<usize>,
    /// The number of images, which limits the batch size.
    pub images: usize,
    /// The sizes of inputs that the file leaves free. Whole shapes include the batch.
    pub sizes: Sizes,
    /// Values that are outputs too, after the network's own.
    pub taps: Vec<ValueId>,
    /// True to compute the network's own outputs.
    pub outputs: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { batch: None, images: usize::MAX, sizes: Sizes::Own, taps: vec![], outputs: true }
    }
}

/// A function that creates the probes of a plan from the facts of its batch size.
pub type Probes<'a> = &'a dyn Fn(&Facts) -> Vec<Probe>;

/// A network that is loaded on a device.
pub struct Session {
    /// The plan that the device runs.
    pub plan: Plan,
    /// The number of samples of a run.
    pub batch: usize,
    sample: SampleShape,
    executor: Box<dyn Executor>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("batch", &self.batch).field("steps", &self.plan.steps.len()).finish()
    }
}

/// The batch sizes to choose from, in descending order.
const BATCH_SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];
/// The most bytes of buffers for a chosen batch size, so that other programs can use the device too.
const AUTO_MEMORY: u64 = 1 << 30;

impl Session {
    /// Plans a network and loads it on a device.
    ///
    /// # Errors
    /// A network that cannot run on the device at the wanted batch size, or at any.
    pub fn new(graph: &Graph, device: &Device, wanted: &SessionOptions, probes: Probes) -> Result<Self> {
        let limits = device.limits();
        let max_binding = limits.max_binding.min(limits.max_buffer);
        let batched = takes_batches(graph);
        let plan_for = |batch: Option<usize>| -> Result<Plan> {
            let facts = Facts::infer(graph, &graph.input_shapes(batch, &wanted.sizes)?)?;
            let options = BuildOptions {
                taps: wanted.taps.clone(),
                probes: probes(&facts),
                outputs: wanted.outputs,
                fuse: true,
                fuse_residual: device.is_real(),
                fuse_pool: !matches!(device, Device::Cpu),
                integers: true,
                max_binding,
                precision: device.precision(),
            };
            plan::assemble(graph, &facts, &options)
        };
        let plan = match wanted.batch.map(|batch| batch.min(wanted.images)) {
            Some(batch) if !batched => {
                let plan = plan_for(None)?;
                if batch > 1 && batch != plan.batch {
                    return Err(Error::new("the network has a fixed batch size")
                        .with_kind(ErrorKind::Unsupported)
                        .file(&graph.path)
                        .expected(format!("a batch of {}", plan.batch))
                        .got(format!("a batch of {batch}"))
                        .remedy("omit `batch`: the network then runs at its own batch size"));
                }
                Ok(plan)
            }
            Some(batch) => plan_for(Some(batch)),
            None if !batched || matches!(wanted.sizes, Sizes::Whole(_)) => plan_for(None),
            None => {
                // The smallest size that holds all images, and smaller ones.
                let enough = BATCH_SIZES.iter().rposition(|&b| b >= wanted.images).unwrap_or(0);
                let limits = MemoryLimits { total: AUTO_MEMORY, binding: max_binding };
                largest_fitting(&BATCH_SIZES[enough..], limits, &mut |batch| plan_for(Some(batch)))
            }
        }?;
        plan.check_bindings(max_binding).map_err(|e| e.file(&graph.path))?;
        let executor = device.load(&plan).map_err(|e| e.file(&graph.path))?;
        let shapes = graph.sample_inputs().zip(plan.network_inputs());
        let sample = shapes.map(|(input, port)| port.shape[usize::from(input.batched)..].to_vec());
        let (sample, batch) = (SampleShape(sample.collect()), plan.batch);
        Ok(Self { plan, batch, sample, executor })
    }

    /// Returns a session for the network's own outputs at the input sizes of the file.
    ///
    /// # Errors
    /// The conditions of [`Session::new`].
    pub fn plain(graph: &Graph, device: &Device, batch: Option<usize>) -> Result<Self> {
        Self::new(graph, device, &SessionOptions { batch, ..SessionOptions::default() }, &|_| vec![])
    }

    /// Returns a session for the network's own outputs and a number of samples of one shape.
    ///
    /// # Errors
    /// The conditions of [`Session::new`].
    pub fn for_samples(
        graph: &Graph,
        device: &Device,
        sample: &SampleShape,
        (batch, images): (Option<usize>, usize),
    ) -> Result<Self> {
        let sizes = Sizes::Sample(sample.clone());
        Self::new(
            graph,
            device,
            &SessionOptions { batch, images, sizes, ..SessionOptions::default() },
            &|_| vec![],
        )
    }

    /// Replaces the session by the one that `open` returns, if samples have another shape; `open` receives the old one.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn adapt(
        &mut self,
        sample: &SampleShape,
        open: impl FnOnce(&mut Self) -> Result<Self>,
    ) -> Result<()> {
        if self.sample != *sample {
            *self = open(self)?;
        }
        Ok(())
    }

    /// Runs the network on whole inputs; returns its outputs and the taps, in order.
    ///
    /// # Errors
    /// A device that fails, inputs of the wrong length, or a node of the host subgraph that rejects its inputs.
    pub fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<OutputTensor>> {
        let outputs = self.executor.run(inputs)?;
        finish(&self.plan, outputs)
    }

    /// Runs the steps without the host subgraph on whole inputs; returns [`Plan::outputs`].
    ///
    /// If the plan has sums, the weights of the images are the last input.
    ///
    /// # Errors
    /// A device that fails, or inputs of the wrong length.
    pub fn run_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        self.executor.run(inputs)
    }

    /// Returns the number of nodes of the host subgraph.
    pub fn host_nodes(&self) -> usize {
        self.plan.host_subgraph.as_ref().map_or(0, |subgraph| subgraph.nodes.len())
    }

    /// Returns the seconds of one run of the steps, without the host subgraph and without reading outputs back.
    ///
    /// # Errors
    /// The conditions of [`Session::run`].
    pub fn time(&mut self, inputs: &[&[f32]]) -> Result<f64> {
        self.executor.time(inputs)
    }

    /// Returns the node and the seconds of every step of one run.
    ///
    /// # Errors
    /// The conditions of [`Session::run`].
    pub fn time_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<(String, f64)>> {
        self.executor.time_steps(inputs)
    }

    /// Returns whether an output of the plan is constant, so that it is known without a run.
    pub fn is_constant(&self, output: usize) -> bool {
        matches!(self.plan.outputs[output].place, Operand::Constant(_))
    }

    /// Returns the shape of a sample: one array for each input that data sets feed.
    pub fn sample(&self) -> &SampleShape {
        &self.sample
    }

    /// Returns whether an input of the network has a batch axis.
    pub fn is_batched(&self) -> bool {
        let with_axis = |(sample, port): (&Vec<usize>, &Port)| sample.len() < port.shape.len();
        self.sample.0.iter().zip(self.plan.network_inputs()).any(with_axis)
    }

    /// Returns deterministic arrays for all inputs of the plan: floats from −2 to 2, or 0 and 1 for integers and booleans.
    ///
    /// No two inputs are equal, so that networks that compare them have outputs to compare; nor are those of two seeds.
    pub(crate) fn synthetic_inputs(&self, seed: u64) -> Vec<Vec<f32>> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64.wrapping_add(seed);
        let mut value = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 4.0
        };
        let ports = self.plan.inputs.iter();
        ports
            .map(|port| {
                let values = (0..port.shape.iter().product()).map(|_: usize| value());
                let floats = port.dtype.is_float();
                values.map(|v| if floats { v } else { v.abs().floor().min(1.0) }).collect()
            })
            .collect()
    }

    /// Returns the arrays of the network's inputs for consecutive samples, which the last one fills up to a batch.
    ///
    /// # Panics
    /// Panics if `samples` is empty.
    pub fn inputs(&self, samples: &[f32]) -> Vec<Vec<f32>> {
        self.sample.arranged(samples, self.batch)
    }

    /// Runs the steps batch by batch on any number of samples of the shape [`Session::sample`].
    ///
    /// `each` receives [`Plan::outputs`] of every batch and the number of real samples in the batch. The last batch is
    /// filled up with copies of the last sample, which have weight 0 in the sums.
    ///
    /// # Errors
    /// The conditions of [`Session::run`], a fraction of a sample, and errors of `each`.
    pub fn run_samples(
        &mut self,
        samples: &[f32],
        each: &mut dyn FnMut(&[Vec<f32>], usize) -> Result<()>,
    ) -> Result<()> {
        let len = self.sample.elements().max(1);
        if !samples.len().is_multiple_of(len) {
            return Err(Error::new("the samples have another size than the session was created for")
                .expected(format!("samples of {}, {len} elements each", self.sample))
                .got(format!("{} elements", samples.len()))
                .remedy("create another session for samples of this size"));
        }
        for chunk in samples.chunks(len * self.batch) {
            let count = chunk.len() / len;
            let whole = count == self.batch && self.sample.0.len() == 1;
            let arranged = if whole { vec![] } else { self.inputs(chunk) };
            let weights: Vec<f32> = (0..self.batch).map(|i| if i < count { 1.0 } else { 0.0 }).collect();
            let mut inputs: Vec<&[f32]> = arranged.iter().map(Vec::as_slice).collect();
            if whole {
                inputs.push(chunk);
            }
            if !self.plan.sums.is_empty() {
                inputs.push(&weights);
            }
            each(&self.executor.run(&inputs)?, count)?;
        }
        Ok(())
    }

    /// Returns the sums over all samples since the last call ([`Plan::sums`], in order), and resets them to zero.
    ///
    /// # Errors
    /// A device that fails.
    pub fn take_sums(&mut self) -> Result<Vec<Vec<f32>>> {
        self.executor.take_sums()
    }

    /// Returns the first output of every sample, concatenated.
    ///
    /// If the network has a host subgraph, returns all outputs of the steps for every batch instead: data-dependent
    /// outputs can neither be split by images nor be compared element by element.
    ///
    /// # Errors
    /// The conditions of [`Session::run_samples`].
    pub fn predict(&mut self, samples: &[f32]) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        let (batch, host_subgraph) = (self.batch, self.plan.host_subgraph.is_some());
        self.run_samples(samples, &mut |outputs, count| {
            if host_subgraph {
                outputs.iter().for_each(|output| all.extend_from_slice(output));
            } else {
                let first = outputs.first().map_or(&[][..], Vec::as_slice);
                all.extend_from_slice(&first[..first.len() / batch * count]);
            }
            Ok(())
        })?;
        Ok(all)
    }
}
