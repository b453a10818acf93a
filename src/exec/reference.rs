//! The reference interpreter: runs a plan in `f64` by the kernels' definitions, slowly and simply.

use super::{Watch, port_len, validate, validate_inputs};
use crate::error::Result;
use crate::plan::{Operand, Plan, Step};

/// Runs `plan` on `inputs` in `f64` and returns its outputs, in order.
///
/// `watch` receives the index and the output of every step.
///
/// # Errors
/// An inconsistent plan, inputs of the wrong number or length, and errors of `watch`.
pub fn run_reference(plan: &Plan, inputs: &[&[f64]], watch: Option<Watch<f64>>) -> Result<Vec<Vec<f64>>> {
    let mut reference = ReferenceInterpreter::start(plan, inputs)?;
    let mut ignore = |_: usize, _: &[f64]| Ok(());
    let watch = watch.unwrap_or(&mut ignore);
    for (index, step) in plan.steps.iter().enumerate() {
        let len = step.kernel.output_len();
        reference.step(step);
        watch(index, &reference.buffers[step.output][..len])?;
    }
    Ok(plan.outputs.iter().map(|port| reference.read(port.place, port_len(port))).collect())
}

/// The state of a run in `f64`: the plan and all buffers.
pub(super) struct ReferenceInterpreter<'a> {
    plan: &'a Plan,
    pub(super) buffers: Vec<Vec<f64>>,
}

impl<'a> ReferenceInterpreter<'a> {
    /// Validates the plan and the inputs, and copies the inputs into their buffers.
    pub(super) fn start(plan: &'a Plan, inputs: &[&[f64]]) -> Result<Self> {
        validate(plan)?;
        validate_inputs(plan, inputs)?;
        let mut buffers: Vec<Vec<f64>> = plan.buffers.iter().map(|&len| vec![0.0; len]).collect();
        plan.states.iter().for_each(|state| buffers[state.buffer] = widen(&state.initial));
        for (port, data) in plan.inputs.iter().zip(inputs) {
            if let Operand::Buffer(id) = port.place {
                buffers[id][..data.len()].copy_from_slice(data);
            }
        }
        Ok(Self { plan, buffers })
    }

    /// Runs one step and stores the output in its buffer.
    pub(super) fn step(&mut self, step: &Step) {
        let len = step.kernel.output_len();
        let mut output = std::mem::take(&mut self.buffers[step.output]);
        self.apply(step, &mut output[..len]);
        self.buffers[step.output] = output;
    }

    /// Runs one step on the current buffers, and writes to `output`.
    pub(super) fn apply(&self, step: &Step, output: &mut [f64]) {
        // Constants are widened per step: all of them at once would take twice the memory of the model.
        let widened: Vec<Option<Vec<f64>>> = step
            .inputs
            .iter()
            .map(|operand| match *operand {
                Operand::Constant(id) => Some(widen(&self.plan.constants[id])),
                Operand::Buffer(_) => None,
            })
            .collect();
        let inputs: Vec<&[f64]> = step
            .inputs
            .iter()
            .zip(&widened)
            .zip(step.kernel.input_lens())
            .map(|((operand, widened), len)| match (operand, widened) {
                (Operand::Buffer(id), _) => &self.buffers[*id][..len],
                (_, Some(constant)) => &constant[..len],
                (Operand::Constant(_), None) => &[],
            })
            .collect();
        step.kernel.reference(&inputs, output);
    }

    /// Returns the first `len` elements of an operand.
    pub(super) fn read(&self, operand: Operand, len: usize) -> Vec<f64> {
        match operand {
            Operand::Buffer(id) => self.buffers[id][..len].to_vec(),
            Operand::Constant(id) => widen(&self.plan.constants[id][..len]),
        }
    }
}

/// Converts `f32` to `f64`, which is exact.
pub(super) fn widen(data: &[f32]) -> Vec<f64> {
    data.iter().map(|&x| f64::from(x)).collect()
}
