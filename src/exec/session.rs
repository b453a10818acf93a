//! A network on a device: graph, plan and program for one batch size, fed with any number of images, and the
//! host_subgraph on the host where there is one.

use super::Executor;
use super::devices::Device;
use super::host_subgraph::{Output, finish};
use crate::error::{Error, Result};
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::{Graph, Sizes, ValueId};
use crate::plan::{self, BuildOptions, Operand, Plan, Probe};
use crate::tensor::show;

/// What a session is made for, beside the network's own outputs.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Images at once; `None` lets the device's limits decide. Networks that take one batch size only take theirs.
    pub batch: Option<usize>,
    /// How many images there are: no more at once than that.
    pub images: usize,
    /// The sizes of inputs, where the file leaves them free. Whole shapes say the batch too.
    pub sizes: Sizes,
    /// Values that are outputs too.
    pub taps: Vec<ValueId>,
    /// Whether the network's own outputs are wanted.
    pub outputs: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { batch: None, images: usize::MAX, sizes: Sizes::Own, taps: vec![], outputs: true }
    }
}

/// Makes the probes of a plan from the facts of its batch size.
pub type Probes<'a> = &'a dyn Fn(&Facts) -> Vec<Probe>;

/// A network on a device.
pub struct Session {
    /// The plan that runs.
    pub plan: Plan,
    /// Images at once.
    pub batch: usize,
    executor: Box<dyn Executor>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("batch", &self.batch).field("steps", &self.plan.steps.len()).finish()
    }
}

/// What `auto` tries, largest first.
const BATCHES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];
/// The most bytes of buffers that `auto` asks a device for, so that others can use it too.
const AUTO_MEMORY: u64 = 1 << 30;

/// Whether a network may have a host_subgraph.
fn chooses(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| !node.op.shape_inputs().is_empty())
}

impl Session {
    /// Plans and loads a network.
    ///
    /// # Errors
    /// A network that cannot run at the batch size asked for, or at any, on this device.
    pub fn new(graph: &Graph, device: &Device, wanted: &SessionOptions, probes: Probes) -> Result<Self> {
        let limits = device.limits();
        let batched = takes_batches(graph);
        let plan_for = |batch: Option<usize>| -> Result<Plan> {
            let facts = Facts::infer(graph, &graph.input_shapes(batch, &wanted.sizes)?)?;
            let options = BuildOptions {
                taps: wanted.taps.clone(),
                probes: probes(&facts),
                outputs: wanted.outputs,
                fuse: true,
                addends: device.is_real(),
                pools: !matches!(device, Device::Cpu),
                max_binding: limits.max_binding.min(limits.max_buffer),
                precision: device.precision(),
            };
            plan::build(graph, &facts, &options)
        };
        let plan = match wanted.batch.map(|batch| batch.min(wanted.images)) {
            Some(batch) if batch > 1 && !batched => {
                return Err(Error::new("the network takes one batch size only")
                    .file(&graph.path)
                    .expected("--batch 1")
                    .got(format!("--batch {batch}"))
                    .remedy("leave --batch out: such networks run image by image"));
            }
            // What is chosen of all images together is never cut up: a batch of another size would be a guess.
            Some(_) if chooses(graph) && !batched => plan_for(None)?,
            Some(batch) => plan_for(Some(batch))?,
            None if !batched || matches!(wanted.sizes, Sizes::Whole(_)) => plan_for(None)?,
            None => {
                let bytes = |plan: &Plan| plan.bytes();
                let fits = |batch: &usize| plan_for(Some(*batch)).ok().filter(|p| bytes(p) <= AUTO_MEMORY);
                // The first that takes them all, and smaller ones.
                let enough = BATCHES.iter().rposition(|&b| b >= wanted.images).unwrap_or(0);
                match BATCHES[enough..].iter().find_map(fits) {
                    Some(plan) => plan,
                    None => plan_for(Some(1))?,
                }
            }
        };
        let executor = device.load(&plan).map_err(|e| e.file(&graph.path))?;
        let batch = plan.inputs.first().and_then(|p| p.shape.first()).copied().unwrap_or(1);
        Ok(Self { plan, batch, executor })
    }

    /// A session for the network's own outputs only.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn plain(graph: &Graph, device: &Device, batch: Option<usize>) -> Result<Self> {
        Self::new(graph, device, &SessionOptions { batch, ..SessionOptions::default() }, &|_| vec![])
    }

    /// A session for the network's own outputs, for images of this shape, of which there are so many.
    ///
    /// # Errors
    /// As [`Session::new`].
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

    /// Runs the network on whole inputs: its outputs and the taps, in order.
    ///
    /// # Errors
    /// A device that fails, inputs of the wrong length, a node of the host_subgraph that cannot run on what it gets.
    pub fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<Output>> {
        let outputs = self.executor.run(inputs)?;
        finish(&self.plan, outputs)
    }

    /// Runs the plan's steps alone on whole inputs: [`Plan::outputs`], which are the network's own where it has no
    /// host_subgraph, and what the host_subgraph reads where it has one.
    ///
    /// Where there are sums, the weights of the images are the last input.
    ///
    /// # Errors
    /// A device that fails, inputs of the wrong length.
    pub fn run_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        self.executor.run(inputs)
    }

    /// How many nodes run on the host, behind the device's steps.
    pub fn host_nodes(&self) -> usize {
        self.plan.host_subgraph.as_ref().map_or(0, |host_subgraph| host_subgraph.nodes.len())
    }

    /// Seconds of one run of the steps, nothing read back; the host_subgraph is not among them.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn time(&mut self, inputs: &[&[f32]]) -> Result<f64> {
        self.executor.time(inputs)
    }

    /// Seconds of each step of a run, with the node that it stands for.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn time_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<(String, f64)>> {
        self.executor.time_steps(inputs)
    }

    /// The output of a constant port needs no run.
    pub fn is_constant(&self, output: usize) -> bool {
        matches!(self.plan.outputs[output].place, Operand::Constant(_))
    }

    /// The shape of one image of the first input.
    pub fn image(&self) -> &[usize] {
        self.plan.inputs.first().and_then(|port| port.shape.get(1..)).unwrap_or_default()
    }

    /// Elements of one image of the only input.
    ///
    /// # Errors
    /// A network with several inputs, which a folder of images cannot feed.
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
                .remedy("use `secateur run` with --input NAME=FILE.npy for each")),
        }
    }

    /// Runs the steps on any number of images of [`Session::image`]'s shape, batch by batch; `each` gets
    /// [`Plan::outputs`] of every batch and how many of its images are real (the last batch is filled up with zeros,
    /// which weigh nothing in the sums).
    ///
    /// # Errors
    /// As [`Session::run`], no whole number of images, and what `each` returns.
    pub fn run_images(
        &mut self,
        images: &[f32],
        each: &mut dyn FnMut(&[Vec<f32>], usize) -> Result<()>,
    ) -> Result<()> {
        let len = self.image_len()?.max(1);
        if !images.len().is_multiple_of(len) {
            return Err(Error::new("images of another size than the network was loaded for")
                .expected(format!("images of {}, {len} elements each", show(self.image())))
                .got(format!("{} elements", images.len()))
                .remedy("load it anew for images of another size"));
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

    /// What accumulated over all images since the last time ([`Plan::sums`], in order); it starts anew.
    ///
    /// # Errors
    /// A device that fails.
    pub fn take_sums(&mut self) -> Result<Vec<Vec<f32>>> {
        self.executor.take_sums()
    }

    /// The first output of every image, one after the other. Where the network has a host_subgraph, everything that the
    /// steps give for every batch: what is chosen in the host_subgraph can be neither counted by images nor compared number
    /// by number.
    ///
    /// # Errors
    /// As [`Session::run_images`].
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
