//! Two interpreters of one [`Plan`]: the CPU's and the GPU's, and the `f64` reference that judges both.
//!
//! [`devices`] finds and opens what can compute; [`Device::load`](devices::Device::load) makes a plan's buffers and
//! pipelines once and gives an [`Executor`]; [`check`] runs a device and the reference side by side. Behind any of them
//! [`host_subgraph`] computes what has no shape before.

mod batch_search;
pub mod check;
pub mod cpu;
pub mod devices;
#[cfg(not(feature = "gpu"))]
#[path = "gpu_stub.rs"]
mod gpu;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod host_subgraph;
mod info;
pub mod reference;
pub mod session;

use std::collections::HashSet;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::plan::{BufferId, Operand, Plan, Port, Step};

/// What [`Executor::run_watched`] calls after a step: the step's index and its output, the kernel's
/// [`output_len`](crate::kernels::Kernel::output_len) elements.
pub type Watch<'a, T = f32> = &'a mut dyn FnMut(usize, &[T]) -> Result<()>;

/// Something that runs one plan. Buffers and pipelines are made once; `run` may be called often.
pub trait Executor: Send {
    /// Runs the plan on `inputs` (one slice for each of [`Plan::inputs`], in order) and returns the
    /// plan's outputs, in order. Every run, also one that is watched or timed, adds to the plan's sums; one
    /// that fails leaves them with a part of its images.
    fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>>;
    /// Runs it and returns the outputs, and after every step the step's whole output is given
    /// to `watch` with the step's index: the debug mode that finds where two interpreters part.
    fn run_watched(&mut self, inputs: &[&[f32]], watch: Watch) -> Result<Vec<Vec<f32>>>;
    /// Runs it without reading anything back, waits until it is done, and returns the seconds it took: device time
    /// stamps where they exist, else the wall clock around submit and wait.
    fn time(&mut self, inputs: &[&[f32]]) -> Result<f64>;
    /// Runs it in the same way step by step: the node that each step stands for, and its seconds.
    fn time_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<(String, f64)>>;
    /// Everything that accumulated since the last time, or since the start ([`Plan::sums`], in order), and
    /// sets it to zero. Where reading fails, nothing is lost.
    fn take_sums(&mut self) -> Result<Vec<Vec<f32>>>;
}

/// The buffers that keep their contents from run to run.
fn sum_buffers(plan: &Plan) -> HashSet<BufferId> {
    let buffer = |port: &Port| match port.place {
        Operand::Buffer(id) => Some(id),
        Operand::Constant(_) => None,
    };
    plan.sums.iter().filter_map(buffer).collect()
}

/// Copies on all cores: of a large array, one of them fills neither memory's bandwidth nor fresh pages fast enough.
pub(crate) fn copy(from: &[f32], to: &mut [f32]) {
    const PIECE: usize = 1 << 18;
    to.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE)).for_each(|(to, from)| to.copy_from_slice(from));
}

/// Elements of a port.
fn port_len(port: &Port) -> usize {
    port.shape.iter().product()
}

/// Checks once what the interpreters rely on: every number names something, everything is long enough, no step reads
/// the buffer that it writes, and sums are written by what accumulates and by nothing else. After this the
/// interpreters index without looking.
fn validate(plan: &Plan) -> Result<()> {
    let sums = sum_buffers(plan);
    for step in &plan.steps {
        validate_step(plan, step, &sums).map_err(|e| e.node(&step.node))?;
    }
    for port in &plan.inputs {
        if matches!(port.place, Operand::Constant(_)) {
            return Err(Error::new("the plan writes its input to a constant").node(&port.name));
        }
    }
    for port in &plan.sums {
        if matches!(port.place, Operand::Constant(_)) {
            return Err(Error::new("the plan accumulates in a constant").node(&port.name));
        }
    }
    for port in plan.inputs.iter().chain(&plan.outputs) {
        if matches!(port.place, Operand::Buffer(id) if sums.contains(&id)) {
            return Err(Error::new("the plan accumulates in an input or output").node(&port.name));
        }
    }
    for port in plan.inputs.iter().chain(&plan.outputs).chain(&plan.sums) {
        require(plan, port.place, port_len(port)).map_err(|e| e.node(&port.name))?;
    }
    Ok(())
}

fn validate_step(plan: &Plan, step: &Step, sums: &HashSet<BufferId>) -> Result<()> {
    let lens = step.kernel.input_lens();
    if lens.len() != step.inputs.len() {
        return Err(Error::new("a step has the wrong number of inputs")
            .expected(lens.len().to_string())
            .got(step.inputs.len().to_string()));
    }
    for (&operand, len) in step.inputs.iter().zip(lens) {
        require(plan, operand, len)?;
    }
    require(plan, Operand::Buffer(step.output), step.kernel.output_len())?;
    if step.kernel.accumulates() != sums.contains(&step.output) {
        return Err(Error::new(format!("buffer {} is written by the wrong kind of step", step.output))
            .expected("sums by kernels that accumulate, other buffers by kernels that overwrite")
            .got(step.kernel.row().name));
    }
    if step.inputs.contains(&Operand::Buffer(step.output)) {
        return Err(Error::new(format!("a step reads and writes buffer {}", step.output)));
    }
    Ok(())
}

fn require(plan: &Plan, operand: Operand, len: usize) -> Result<()> {
    let have = match operand {
        Operand::Buffer(id) => plan.buffers.get(id).copied(),
        Operand::Constant(id) => plan.constants.get(id).map(|c| c.len()),
    };
    match have {
        Some(have) if have >= len => Ok(()),
        Some(have) => Err(Error::new(format!("{operand:?} of the plan is too short"))
            .expected(format!("{len} elements"))
            .got(have.to_string())),
        None => Err(Error::new(format!("the plan has no {operand:?}"))),
    }
}

/// Checks what the caller provides for a run.
fn validate_inputs<T>(plan: &Plan, inputs: &[&[T]]) -> Result<()> {
    if inputs.len() != plan.inputs.len() {
        return Err(Error::new("wrong number of inputs for a run")
            .expected(plan.inputs.len().to_string())
            .got(inputs.len().to_string()));
    }
    for (port, data) in plan.inputs.iter().zip(inputs) {
        if data.len() != port_len(port) {
            return Err(Error::new(format!("wrong number of elements for input \"{}\"", port.name))
                .expected(format!("{} (shape {:?})", port_len(port), port.shape))
                .got(data.len().to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
