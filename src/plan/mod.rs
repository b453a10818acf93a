//! Execution plans: kernel calls over numbered buffers as data, without device objects.
//!
//! The interpreters in [`crate::exec`] run a plan; their results agree within a named tolerance. Nodes with
//! data-dependent shapes are not steps: they form the [`HostSubgraph`], which runs on the host after the steps.

mod build;
mod fusion;
mod host_subgraph;
mod integers;
mod memory_planning;
mod options;
mod outputs;

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::Kernel;
use crate::kernels::f16_storage::{may_read_f16, may_write_f16};
use crate::tensor::{DType, Precision};

pub use build::build;
pub(crate) use build::{Draft, assemble, draft};
pub use host_subgraph::HostSubgraph;
pub(crate) use memory_planning::plan_memory;
pub use options::{BuildOptions, Probe};

/// The index of a buffer in [`Plan::buffers`].
pub type BufferId = usize;
/// The index of a constant in [`Plan::constants`].
pub type ConstantId = usize;

/// A network for one batch size as a list of kernel calls over numbered buffers.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The number of elements of each buffer.
    pub buffers: Vec<usize>,
    /// The buffers that a device stores as f16, if it stores any buffer or weight so; `None` for f32 only.
    pub f16_storage: Option<HashSet<BufferId>>,
    /// Weights and other constants, which are bound read-only.
    pub constants: Vec<Arc<Vec<f32>>>,
    /// The kernel calls in the order of execution.
    pub steps: Vec<Step>,
    /// The inputs of a run, in order: those of the network, then the image weights if there are sums.
    pub inputs: Vec<Port>,
    /// The outputs of the steps, in order.
    ///
    /// First outputs and taps of known shape, then further inputs of the host subgraph, then outputs of probes.
    pub outputs: Vec<Port>,
    /// The outputs that accumulate over runs, in order. They start at zero and are read by
    /// [`Executor::take_sums`](crate::exec::Executor::take_sums).
    pub sums: Vec<Port>,
    /// The buffers that start with given contents, which steps may update from run to run: parameters in training.
    pub states: Vec<State>,
    /// The nodes that run on the host after the steps, if an output has a data-dependent shape.
    pub host_subgraph: Option<HostSubgraph>,
    /// The batch size of inputs and outputs.
    pub batch: usize,
}

impl Plan {
    /// Returns a plan of one kernel call, whose last inputs are `constants` and whose first are inputs of the plan.
    pub fn of_call(kernel: Arc<dyn Kernel>, constants: Vec<Vec<f32>>) -> Self {
        let mut plan = Self { batch: 1, ..Self::default() };
        let port = |name: &str, place, len| Port {
            name: name.to_owned(),
            place,
            shape: vec![len],
            dtype: DType::F32,
        };
        let lens = kernel.input_lens();
        let given = lens.len().saturating_sub(constants.len());
        for (buffer, &len) in lens[..given].iter().enumerate() {
            plan.buffers.push(len);
            plan.inputs.push(port("x", Operand::Buffer(buffer), len));
        }
        plan.buffers.push(kernel.output_len());
        plan.outputs.push(port("y", Operand::Buffer(given), kernel.output_len()));
        let inputs =
            (0..given).map(Operand::Buffer).chain((0..constants.len()).map(Operand::Constant)).collect();
        plan.constants = constants.into_iter().map(Arc::new).collect();
        let node = kernel.row().name.to_owned();
        plan.steps.push(Step { kernel, inputs, output: given, node, value: None });
        plan
    }

    /// Returns the total size of all buffers, in bytes.
    pub fn bytes(&self) -> u64 {
        (0..self.buffers.len()).map(|buffer| self.buffer_bytes(buffer)).sum()
    }

    /// Returns the size of a buffer in its precision, in bytes.
    pub fn buffer_bytes(&self, buffer: BufferId) -> u64 {
        self.buffers[buffer] as u64 * self.precision(buffer).size() as u64
    }

    /// Checks that no step binds a tensor of more than `max_binding` bytes.
    pub(crate) fn check_bindings(&self, max_binding: u64) -> Result<()> {
        let largest = |step: &Step| step.binding_bytes().into_iter().max().unwrap_or(0);
        let Some(step) = self.steps.iter().find(|&step| largest(step) > max_binding) else { return Ok(()) };
        // Accumulators have the same size at any batch.
        let accumulator = step.kernel.accumulates() && step.kernel.output_len() as u64 * 4 > max_binding;
        Err(Error::new("a tensor exceeds the largest buffer that the device can bind")
            .with_kind(ErrorKind::OutOfMemory)
            .node(&step.node)
            .expected(format!("at most {max_binding} bytes"))
            .got(format!("{} bytes at batch {}", largest(step), self.batch))
            .remedy(if accumulator {
                "set `device` to cpu"
            } else {
                "use a smaller `batch` or smaller images, or set `device` to cpu"
            }))
    }

    /// Stores those `candidates` as f16 whose steps all support it, and weights as far as kernels read f16.
    pub fn store_as_f16(&mut self, mut candidates: HashSet<BufferId>) {
        for step in &self.steps {
            if !may_write_f16(&*step.kernel) {
                candidates.remove(&step.output);
            }
            for (input, &operand) in step.inputs.iter().enumerate() {
                if let Operand::Buffer(buffer) = operand
                    && candidates.contains(&buffer)
                    && !may_read_f16(&*step.kernel, input)
                {
                    candidates.remove(&buffer);
                }
            }
        }
        self.f16_storage = Some(candidates);
    }

    /// Returns the storage precision of a buffer.
    pub fn precision(&self, buffer: BufferId) -> Precision {
        match &self.f16_storage {
            Some(buffers) if buffers.contains(&buffer) => Precision::F16,
            _ => Precision::F32,
        }
    }

    /// Returns the inputs of the network: all inputs but the weights of the images.
    pub fn network_inputs(&self) -> &[Port] {
        let weights = usize::from(!self.sums.is_empty());
        &self.inputs[..self.inputs.len().saturating_sub(weights)]
    }
}

/// An input, output or sum of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// The name of the value in the model, or of the statistic.
    pub name: String,
    /// The buffer or constant that contains the elements.
    pub place: Operand,
    /// The shape, including the batch.
    pub shape: Vec<usize>,
    /// The element type in the model; elements are passed as `f32`.
    pub dtype: DType,
}

/// A buffer that keeps its contents from run to run, with the contents at the start.
#[derive(Debug, Clone)]
pub struct State {
    /// The name of the value in the model, or of the optimizer's state.
    pub name: String,
    /// The number of the buffer.
    pub buffer: BufferId,
    /// The contents at the start, with the length of the buffer.
    pub initial: Arc<Vec<f32>>,
}

/// An input of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A buffer of the plan.
    Buffer(BufferId),
    /// A constant of the plan.
    Constant(ConstantId),
}

/// A kernel call over buffers and constants.
#[derive(Debug, Clone)]
pub struct Step {
    /// The kernel with its parameters.
    pub kernel: Arc<dyn Kernel>,
    /// The operands, in the kernel's order.
    pub inputs: Vec<Operand>,
    /// The output buffer, of which some kernels write a part.
    pub output: BufferId,
    /// The name of the node in the model.
    pub node: String,
    /// The value that this step completes, if any: name in the model and shape.
    pub value: Option<(String, Vec<usize>)>,
}

impl Step {
    /// Returns the size of every operand and of the output in f32, in bytes.
    pub(crate) fn binding_bytes(&self) -> Vec<u64> {
        let lens = self.kernel.input_lens().into_iter().chain([self.kernel.output_len()]);
        lens.map(|len| len as u64 * 4).collect()
    }
}
