//! The plan: what is to be computed, as data. Steps over numbered buffers, no device object in it.
//!
//! Two interpreters run it ([`crate::exec`]); both give the same numbers within a named tolerance. What has no
//! shape before the run is no step: it is the [`Tail`], which the host runs behind them.

mod build;
mod reuse;
mod tail;

use std::collections::HashSet;
use std::sync::Arc;

use crate::kernels::Kernel;
use crate::kernels::f16_storage::{may_read_f16, may_write_f16};
use crate::tensor::{DType, Precision};

pub use build::{Options, Probe, build};
pub use tail::Tail;

/// A buffer's number in [`Plan::buffers`].
pub type BufferId = usize;
/// A constant's number in [`Plan::constants`].
pub type ConstantId = usize;

/// Steps over numbered buffers: a network for one batch size, ready for an interpreter.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Elements of each buffer. Buffers are reused where lifetimes allow.
    pub buffers: Vec<usize>,
    /// The buffers whose elements a device keeps as halves, and whatever weights it reads with them; `None` where all
    /// numbers are single precision.
    pub halves: Option<HashSet<BufferId>>,
    /// Weights and other constants; each is bound read-only.
    pub constants: Vec<Arc<Vec<f32>>>,
    /// In the order of execution.
    pub steps: Vec<Step>,
    /// What the caller provides, in order: the network's inputs and, where there are sums, the weight of
    /// every image.
    pub inputs: Vec<Port>,
    /// What the steps give, in order: the network's outputs and taps that have a shape, what else the tail reads,
    /// and the outputs of probes.
    pub outputs: Vec<Port>,
    /// What accumulates from run to run, in order. It starts as zeros and comes back only when it is
    /// asked for ([`Executor::take_sums`](crate::exec::Executor::take_sums)).
    pub sums: Vec<Port>,
    /// What the host computes from that, where an output's shape is known only at run time.
    pub tail: Option<Tail>,
    /// The batch size that it is for.
    pub batch: usize,
}

impl Plan {
    /// One call of a kernel by itself: its first inputs are the caller's, its last ones these constants.
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

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        let bytes = |(b, &len): (BufferId, &usize)| len as u64 * self.precision(b).size() as u64;
        self.buffers.iter().enumerate().map(bytes).sum()
    }

    /// Has a device keep these buffers' elements as halves, as far as all steps that touch them can, and weights
    /// with them.
    pub fn keep_halves(&mut self, mut candidates: HashSet<BufferId>) {
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
        self.halves = Some(candidates);
    }

    /// What a buffer's elements are.
    pub fn precision(&self, buffer: BufferId) -> Precision {
        match &self.halves {
            Some(halves) if halves.contains(&buffer) => Precision::F16,
            _ => Precision::F32,
        }
    }

    /// The network's own inputs: all but the weights of the images.
    pub fn network_inputs(&self) -> &[Port] {
        let weights = usize::from(!self.sums.is_empty());
        &self.inputs[..self.inputs.len().saturating_sub(weights)]
    }
}

/// An input or output of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// The value's name in the model, or of the statistic.
    pub name: String,
    /// Where it stands.
    pub place: Operand,
    /// Its shape, the batch included.
    pub shape: Vec<usize>,
    /// What the model calls its elements; they travel as floats.
    pub dtype: DType,
}

/// What a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A buffer.
    Buffer(BufferId),
    /// A constant.
    Constant(ConstantId),
}

/// One kernel call over buffers.
#[derive(Debug, Clone)]
pub struct Step {
    /// The call.
    pub kernel: Arc<dyn Kernel>,
    /// What it reads, in the kernel's order.
    pub inputs: Vec<Operand>,
    /// Where it writes (a part of it, for some kernels).
    pub output: BufferId,
    /// The node that it stands for, as the model names it.
    pub node: String,
    /// The value that is complete after this step, if one is: name in the model and shape.
    pub value: Option<(String, Vec<usize>)>,
}
