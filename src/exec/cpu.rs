//! The CPU's interpreter: buffers are vectors, a step is a call.
//!
//! The step's output vector is taken out of the table while the kernel runs, so the kernel can borrow its
//! inputs from the same table; the plan guarantees that no step reads the buffer that it writes.

use std::collections::HashSet;
use std::time::Instant;

use rayon::prelude::*;

use super::{Executor, Watch, port_len, sum_buffers, validate, validate_inputs};
use crate::error::Result;
use crate::kernels::Prepared;
use crate::plan::{BufferId, Operand, Plan, Port, Step};

/// A plan with its buffers in host memory.
pub struct Program {
    plan: Plan,
    buffers: Vec<Vec<f32>>,
    /// Of each step, what its constants allowed to be done beforehand.
    prepared: Vec<Option<Box<dyn Prepared>>>,
    /// Those that keep their contents from run to run.
    sums: HashSet<BufferId>,
    poison: bool,
}

impl Program {
    /// Makes the plan's buffers. With `poison`, every buffer but those of sums is filled with NaN before each run, so
    /// that whatever reads an element that nobody wrote is found out.
    ///
    /// # Errors
    /// A plan that is not consistent.
    pub fn new(plan: &Plan, poison: bool) -> Result<Self> {
        validate(plan)?;
        let buffers = plan.buffers.iter().map(|&len| vec![0.0; len]).collect();
        let prepare = |step: &Step| {
            let lens = step.kernel.input_lens();
            let constant = |(operand, len): (&Operand, usize)| match *operand {
                Operand::Constant(id) => Some(&plan.constants[id][..len]),
                Operand::Buffer(_) => None,
            };
            step.kernel.prepare(&step.inputs.iter().zip(lens).map(constant).collect::<Vec<_>>())
        };
        let prepared = plan.steps.par_iter().map(prepare).collect();
        Ok(Self { plan: plan.clone(), buffers, prepared, sums: sum_buffers(plan), poison })
    }

    fn start(&mut self, inputs: &[&[f32]]) -> Result<()> {
        validate_inputs(&self.plan, inputs)?;
        if self.poison {
            let buffers = self.buffers.iter_mut().enumerate();
            buffers.filter(|(id, _)| !self.sums.contains(id)).for_each(|(_, b)| b.fill(f32::NAN));
        }
        for (port, data) in self.plan.inputs.iter().zip(inputs) {
            if let Operand::Buffer(id) = port.place {
                self.buffers[id][..data.len()].copy_from_slice(data);
            }
        }
        Ok(())
    }

    /// Runs step `index` and returns where it wrote.
    fn step(&mut self, index: usize) -> (BufferId, usize) {
        let step = &self.plan.steps[index];
        let len = step.kernel.output_len();
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

    /// Runs all steps. They run in the pool, as one task of it: a step that was handed to the pool from outside would
    /// cost two threads' waking up.
    fn steps(&mut self) {
        rayon::scope(|_| {
            for index in 0..self.plan.steps.len() {
                self.step(index);
            }
        });
    }

    fn read(&self, port: &Port) -> Vec<f32> {
        match port.place {
            Operand::Buffer(id) => self.buffers[id][..port_len(port)].to_vec(),
            Operand::Constant(id) => self.plan.constants[id][..port_len(port)].to_vec(),
        }
    }
}

impl Executor for Program {
    fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        self.start(inputs)?;
        self.steps();
        Ok(self.plan.outputs.iter().map(|port| self.read(port)).collect())
    }

    fn run_watched(&mut self, inputs: &[&[f32]], watch: Watch) -> Result<Vec<Vec<f32>>> {
        self.start(inputs)?;
        for index in 0..self.plan.steps.len() {
            let (id, len) = self.step(index);
            watch(index, &self.buffers[id][..len])?;
        }
        Ok(self.plan.outputs.iter().map(|port| self.read(port)).collect())
    }

    fn time(&mut self, inputs: &[&[f32]]) -> Result<f64> {
        self.start(inputs)?;
        let begin = Instant::now();
        self.steps();
        Ok(begin.elapsed().as_secs_f64())
    }

    fn time_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<(String, f64)>> {
        self.start(inputs)?;
        let steps = 0..self.plan.steps.len();
        let one = |index: usize| {
            let begin = Instant::now();
            self.step(index);
            (self.plan.steps[index].node.clone(), begin.elapsed().as_secs_f64())
        };
        Ok(rayon::scope(|_| steps.map(one).collect()))
    }

    fn take_sums(&mut self) -> Result<Vec<Vec<f32>>> {
        let sums = self.plan.sums.iter().map(|port| self.read(port)).collect();
        self.sums.iter().for_each(|&id| self.buffers[id].fill(0.0));
        Ok(sums)
    }
}
