//! Runs the steps of a plan over buffers in host memory.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::exec::{copy, kept_buffers, port_len, sum_buffers};
use crate::kernels::Prepared;
use crate::plan::{BufferId, Operand, Plan, Port, Step};

/// A plan with its buffers and its prepared constants.
pub(super) struct StepRunner {
    /// The steps and constants.
    pub(super) plan: Plan,
    /// The buffers, by number.
    pub(super) buffers: Vec<Vec<f32>>,
    /// The prepared form of each step's call, if its kernel has one.
    prepared: Vec<Option<Box<dyn Prepared>>>,
    /// The buffers that keep their contents from run to run.
    kept: HashSet<BufferId>,
    poison: bool,
}

impl StepRunner {
    /// Allocates the buffers and prepares the constants of all steps but the first `skipped`.
    ///
    /// With `poison`, [`fill`](Self::fill) writes NaN to every buffer that is neither a sum nor a state.
    pub(super) fn new(plan: &Plan, skipped: usize, poison: bool) -> Self {
        let mut buffers: Vec<Vec<f32>> = plan.buffers.iter().map(|&len| vec![0.0; len]).collect();
        plan.states.iter().for_each(|state| buffers[state.buffer].copy_from_slice(&state.initial));
        let prepare = |(index, step): (usize, &Step)| {
            if index < skipped {
                return None;
            }
            let lens = step.kernel.input_lens();
            let constant = |(operand, len): (&Operand, usize)| match *operand {
                Operand::Constant(id) => Some(&plan.constants[id][..len]),
                Operand::Buffer(_) => None,
            };
            step.kernel.prepare(&step.inputs.iter().zip(lens).map(constant).collect::<Vec<_>>())
        };
        let prepared = plan.steps.par_iter().enumerate().map(prepare).collect();
        Self { plan: plan.clone(), buffers, prepared, kept: kept_buffers(plan), poison }
    }

    /// Poisons the buffers if asked to, and copies the inputs, which have the lengths of the plan's, into theirs.
    pub(super) fn fill<'a>(&mut self, inputs: impl Iterator<Item = &'a [f32]>) {
        if self.poison {
            let buffers = self.buffers.iter_mut().enumerate();
            buffers.filter(|(id, _)| !self.kept.contains(id)).for_each(|(_, b)| b.fill(f32::NAN));
        }
        for (port, data) in self.plan.inputs.iter().zip(inputs) {
            if let Operand::Buffer(id) = port.place {
                copy(data, &mut self.buffers[id][..data.len()]);
            }
        }
    }

    /// Runs step `index` of the plan. Returns the buffer that it wrote and the number of elements.
    pub(super) fn run(&mut self, index: usize) -> (BufferId, usize) {
        let step = &self.plan.steps[index];
        let len = step.kernel.output_len();
        // No step reads the buffer that it writes, so the output can leave the table while inputs are borrowed.
        let mut output = std::mem::take(&mut self.buffers[step.output]);
        let inputs: Vec<&[f32]> = step
            .inputs
            .iter()
            .zip(step.kernel.input_lens())
            .map(|(operand, len)| match *operand {
                Operand::Buffer(id) => &self.buffers[id][..len],
                Operand::Constant(id) => &self.plan.constants[id][..len],
            })
            .collect();
        match &self.prepared[index] {
            Some(prepared) => prepared.run(&inputs, &mut output[..len]),
            None => step.kernel.cpu(&inputs, &mut output[..len]),
        }
        self.buffers[step.output] = output;
        (step.output, len)
    }

    /// Copies the elements of a port.
    pub(super) fn read(&self, port: &Port) -> Vec<f32> {
        let whole: &[f32] = match port.place {
            Operand::Buffer(id) => &self.buffers[id],
            Operand::Constant(id) => &self.plan.constants[id],
        };
        let mut data = vec![0.0; port_len(port)];
        copy(&whole[..data.len()], &mut data);
        data
    }

    /// Sets the sums to zero.
    pub(super) fn clear_sums(&mut self) {
        sum_buffers(&self.plan).for_each(|id| self.buffers[id].fill(0.0));
    }
}
