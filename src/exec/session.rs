//! Sessions: a network loaded on a device for one batch size, which runs on any number of images.

use super::Executor;
use super::batch_search::{MemoryLimits, largest_fitting};
use super::devices::Device;
use super::host_subgraph::{OutputTensor, finish};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::{Graph, Sizes, ValueId};
use crate::plan::{self, BuildOptions, Operand, Plan, Probe};
use crate::tensor::show;

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
    /// The batch size of the plan.
    pub batch: usize,
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

/// Returns whether a shape in the network may depend on computed elements.
fn may_be_data_dependent(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| !node.op.shape_inputs().is_empty())
}

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
                max_binding,
                precision: device.precision(),
            };
            plan::assemble(graph, &facts, &options)
        };
        let plan = match wanted.batch.map(|batch| batch.min(wanted.images)) {
            Some(batch) if batch > 1 && !batched => {
                return Err(Error::new("the network has a fixed batch size")
                    .with_kind(ErrorKind::Unsupported)
                    .file(&graph.path)
                    .got(format!("a batch of {batch}"))
                    .remedy("omit `batch`: the network then runs at its own batch size"));
            }
            // A data-dependent output cannot be split by images, so the batch of the file is kept.
            Some(_) if may_be_data_dependent(graph) && !batched => plan_for(None),
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
        let batch = plan.inputs.first().and_then(|p| p.shape.first()).copied().unwrap_or(1);
        Ok(Self { plan, batch, executor })
    }

    /// Returns a session for the network's own outputs at the input sizes of the file.
    ///
    /// # Errors
    /// The conditions of [`Session::new`].
    pub fn plain(graph: &Graph, device: &Device, batch: Option<usize>) -> Result<Self> {
        Self::new(graph, device, &SessionOptions { batch, ..SessionOptions::default() }, &|_| vec![])
    }

    /// Returns a session for the network's own outputs and `images` images of shape `image`, without the batch axis.
    ///
    /// # Errors
    /// The conditions of [`Session::new`].
    pub fn for_images(
        graph: &Graph,
        device: &Device,
        image: &[usize],
        (batch, images): (Option<usize>, usize),
    ) -> Result<Self> {
        let sizes = Sizes::Image(image.to_vec());
        Self::new(
            graph,
            device,
            &SessionOptions { batch, images, sizes, ..SessionOptions::default() },
            &|_| vec![],
        )
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

    /// Returns the shape of one image of the first input, without the batch axis.
    pub fn image(&self) -> &[usize] {
        self.plan.inputs.first().and_then(|port| port.shape.get(1..)).unwrap_or_default()
    }

    /// Returns the number of elements of one image of the only input.
    ///
    /// # Errors
    /// A network with several inputs, for which a set of images is not enough.
    pub fn image_len(&self) -> Result<usize> {
        match self.plan.network_inputs() {
            [_] => Ok(self.image().iter().product()),
            ports => Err(Error::new("a network with several inputs cannot be fed with images")
                .expected("one input")
                .got(
                    ports
                        .iter()
                        .map(|p| format!("{} {}", p.name, show(&p.shape)))
                        .collect::<Vec<_>>()
                        .join(", "),
                )
                .with_kind(ErrorKind::Unsupported)
                .remedy("call `run()` with an array for each `input`")),
        }
    }

    /// Runs the steps batch by batch on any number of images of the shape [`Session::image`].
    ///
    /// `each` receives [`Plan::outputs`] of every batch and the number of real images in the batch. The last batch is
    /// filled up with zeros, which have weight 0 in the sums.
    ///
    /// # Errors
    /// The conditions of [`Session::run`], a fraction of an image, and errors of `each`.
    pub fn run_images(
        &mut self,
        images: &[f32],
        each: &mut dyn FnMut(&[Vec<f32>], usize) -> Result<()>,
    ) -> Result<()> {
        let len = self.image_len()?.max(1);
        if !images.len().is_multiple_of(len) {
            return Err(Error::new("the images have another size than the session was created for")
                .expected(format!("images of {}, {len} elements each", show(self.image())))
                .got(format!("{} elements", images.len()))
                .remedy("create another session for images of this size"));
        }
        for chunk in images.chunks(len * self.batch) {
            let count = chunk.len() / len;
            let mut filled = Vec::new();
            if count < self.batch {
                filled.extend_from_slice(chunk);
                filled.resize(len * self.batch, 0.0);
            }
            let weights: Vec<f32> = (0..self.batch).map(|i| if i < count { 1.0 } else { 0.0 }).collect();
            let mut inputs = vec![if count < self.batch { &filled } else { chunk }];
            if !self.plan.sums.is_empty() {
                inputs.push(&weights);
            }
            each(&self.executor.run(&inputs)?, count)?;
        }
        Ok(())
    }

    /// Returns the sums over all images since the last call ([`Plan::sums`], in order), and resets them to zero.
    ///
    /// # Errors
    /// A device that fails.
    pub fn take_sums(&mut self) -> Result<Vec<Vec<f32>>> {
        self.executor.take_sums()
    }

    /// Returns the first output of every image, concatenated.
    ///
    /// If the network has a host subgraph, returns all outputs of the steps for every batch instead: data-dependent
    /// outputs can neither be split by images nor be compared element by element.
    ///
    /// # Errors
    /// The conditions of [`Session::run_images`].
    pub fn predict(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        let (batch, host_subgraph) = (self.batch, self.plan.host_subgraph.is_some());
        self.run_images(images, &mut |outputs, count| {
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
