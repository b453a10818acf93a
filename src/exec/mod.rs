//! Interpreters of a [`Plan`]: CPU, GPU, and an `f64` reference for both.
//!
//! [`devices`] lists and opens devices. [`Device::load`](devices::Device::load) allocates buffers and compiles pipelines
//! once and returns an [`Executor`]. [`check`] compares a device with the reference. [`host_subgraph`] computes outputs
//! with data-dependent shapes after the steps.

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

/// A callback of [`Executor::run_watched`] after every step, with the step's index and output.
///
/// The output has [`output_len`](crate::kernels::Kernel::output_len) elements.
pub type Watch<'a, T = f32> = &'a mut dyn FnMut(usize, &[T]) -> Result<()>;

/// A plan that is loaded on a device and can be run repeatedly.
pub trait Executor: Send {
    /// Runs the plan and returns its outputs, in order.
    ///
    /// `inputs` has one slice for each of [`Plan::inputs`], in order. Every run, also a watched or timed one, adds to the
    /// plan's sums; a run that fails may add a part of its images.
    ///
    /// # Errors
    /// Inputs of the wrong number or length, or a device that fails.
    fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>>;
    /// Runs the plan, calls `watch` with the index and the whole output of every step, and returns the outputs.
    ///
    /// This is for debugging: it finds the first step in which two interpreters differ.
    ///
    /// # Errors
    /// The conditions of [`run`](Self::run), and errors of `watch`.
    fn run_watched(&mut self, inputs: &[&[f32]], watch: Watch) -> Result<Vec<Vec<f32>>>;
    /// Runs the plan without reading outputs back, and returns the seconds that it took.
    ///
    /// Measures with device timestamps if they exist, else by the wall clock around submit and wait.
    ///
    /// # Errors
    /// The conditions of [`run`](Self::run).
    fn time(&mut self, inputs: &[&[f32]]) -> Result<f64>;
    /// Runs the plan step by step without reading outputs back; returns the node and the seconds of every step.
    ///
    /// # Errors
    /// The conditions of [`run`](Self::run).
    fn time_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<(String, f64)>>;
    /// Returns [`Plan::sums`] accumulated since the last call, in order, and resets them to zero.
    ///
    /// # Errors
    /// A device that fails; the sums are kept then.
    fn take_sums(&mut self) -> Result<Vec<Vec<f32>>>;
    /// Returns the contents of [`Plan::states`], in order.
    ///
    /// # Errors
    /// A device that fails.
    fn states(&mut self) -> Result<Vec<Vec<f32>>>;
    /// Replaces the contents of [`Plan::states`], one slice for each.
    ///
    /// # Errors
    /// Contents of the wrong number or length, or a device that fails.
    fn set_states(&mut self, contents: &[&[f32]]) -> Result<()>;
}

/// Returns the buffers of sums and states, which keep their contents from run to run.
fn kept_buffers(plan: &Plan) -> HashSet<BufferId> {
    sum_buffers(plan).chain(plan.states.iter().map(|state| state.buffer)).collect()
}

/// Returns the buffers of sums.
fn sum_buffers(plan: &Plan) -> impl Iterator<Item = BufferId> {
    plan.sums.iter().filter_map(|port| match port.place {
        Operand::Buffer(id) => Some(id),
        Operand::Constant(_) => None,
    })
}

/// Copies with all cores, because a single core does not saturate the memory bandwidth for large arrays.
pub(crate) fn copy(from: &[f32], to: &mut [f32]) {
    const PIECE: usize = 1 << 18;
    to.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE)).for_each(|(to, from)| to.copy_from_slice(from));
}

/// Returns the number of elements of a port.
fn port_len(port: &Port) -> usize {
    port.shape.iter().product()
}

/// Checks the invariants of a plan, on which the interpreters rely when they index.
///
/// All indices exist, all buffers are long enough, no step reads the buffer that it writes, and sums are written by
/// accumulating kernels only.
fn validate(plan: &Plan) -> Result<()> {
    check_invariants(plan).map_err(Error::internal)
}

fn check_invariants(plan: &Plan) -> Result<()> {
    let kept = kept_buffers(plan);
    for step in &plan.steps {
        validate_step(plan, step, &kept).map_err(|e| e.node(&step.node))?;
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
        if matches!(port.place, Operand::Buffer(id) if kept.contains(&id)) {
            return Err(Error::new("the plan accumulates in an input or output").node(&port.name));
        }
    }
    for port in plan.inputs.iter().chain(&plan.outputs).chain(&plan.sums) {
        require(plan, port.place, port_len(port)).map_err(|e| e.node(&port.name))?;
    }
    for state in &plan.states {
        if plan.buffers.get(state.buffer) != Some(&state.initial.len()) {
            return Err(Error::new("the plan has a state of the wrong length").node(&state.name));
        }
    }
    Ok(())
}

fn validate_step(plan: &Plan, step: &Step, kept: &HashSet<BufferId>) -> Result<()> {
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
    if step.kernel.accumulates() != kept.contains(&step.output) {
        return Err(Error::new(format!("buffer {} is written by the wrong kind of step", step.output))
            .expected("sums and states by kernels that accumulate, other buffers by kernels that overwrite")
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

/// Checks number and lengths of new contents of the states.
fn validate_states(plan: &Plan, contents: &[&[f32]]) -> Result<()> {
    let lens: Vec<usize> = contents.iter().map(|data| data.len()).collect();
    let expected: Vec<usize> = plan.states.iter().map(|state| state.initial.len()).collect();
    if lens == expected {
        return Ok(());
    }
    Err(Error::new("the contents do not fit the states of the plan")
        .expected(format!("{expected:?} elements"))
        .got(format!("{lens:?}"))
        .internal())
}

/// Checks number and lengths of the inputs of a run.
fn validate_inputs<T>(plan: &Plan, inputs: &[&[T]]) -> Result<()> {
    if inputs.len() != plan.inputs.len() {
        return Err(Error::new("a run has the wrong number of inputs")
            .expected(plan.inputs.len().to_string())
            .got(inputs.len().to_string()));
    }
    for (port, data) in plan.inputs.iter().zip(inputs) {
        if data.len() != port_len(port) {
            return Err(Error::new(format!("the input \"{}\" has the wrong number of elements", port.name))
                .expected(format!("{} (shape {:?})", port_len(port), port.shape))
                .got(data.len().to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
