//! The CPU's interpreter: buffers are vectors, a step is a call.
//!
//! The step's output vector is taken out of the table while the kernel runs, so the kernel can borrow its
//! inputs from the same table; the plan guarantees that no step reads the buffer that it writes.

mod lead;

use std::collections::HashSet;
use std::time::Instant;

use rayon::prelude::*;

use self::lead::Lead;
use super::{Executor, Watch, copy, port_len, sum_buffers, validate, validate_inputs};
use crate::error::Result;
use crate::kernels::Prepared;
use crate::plan::{BufferId, Operand, Plan, Port, Step};

/// Elements that a thread's own cache holds: a mebibyte.
const CACHED: usize = 1 << 18;

/// A plan with its buffers in host memory.
pub struct Program {
    plan: Plan,
    buffers: Vec<Vec<f32>>,
    /// Of each step, what its constants allowed to be done beforehand.
    prepared: Vec<Option<Box<dyn Prepared>>>,
    /// Those that keep their contents from run to run.
    sums: HashSet<BufferId>,
    poison: bool,
    /// What runs in place of the first steps, where it pays.
    lead: Option<Box<Lead>>,
}

impl Program {
    /// Makes the plan's buffers. With `poison`, every buffer but those of sums is filled with NaN before each run, so
    /// that whatever reads an element that nobody wrote is found out.
    ///
    /// # Errors
    /// A plan that is not consistent.
    pub fn new(plan: &Plan, poison: bool) -> Result<Self> {
        Self::for_caches(plan, CACHED * rayon::current_num_threads(), poison)
    }

    /// For a processor whose caches hold so many elements.
    fn for_caches(plan: &Plan, cached: usize, poison: bool) -> Result<Self> {
        validate(plan)?;
        let lead = Lead::new(plan, cached, poison);
        let led = lead.as_ref().map_or(0, Lead::steps);
        Ok(Self { lead: lead.map(Box::new), ..Self::whole(plan, led, poison) })
    }

    /// All steps on the whole batch; the first `led` are not made ready.
    fn whole(plan: &Plan, led: usize, poison: bool) -> Self {
        let buffers = plan.buffers.iter().map(|&len| vec![0.0; len]).collect();
        let prepare = |(index, step): (usize, &Step)| {
            if index < led {
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
        Self { plan: plan.clone(), buffers, prepared, sums: sum_buffers(plan), poison, lead: None }
    }

    fn start(&mut self, inputs: &[&[f32]]) -> Result<()> {
        validate_inputs(&self.plan, inputs)?;
        self.fill(inputs.iter().copied());
        Ok(())
    }

    /// Makes the buffers ready for a run on inputs that fit.
    fn fill<'a>(&mut self, inputs: impl Iterator<Item = &'a [f32]>) {
        if self.poison {
            let buffers = self.buffers.iter_mut().enumerate();
            buffers.filter(|(id, _)| !self.sums.contains(id)).for_each(|(_, b)| b.fill(f32::NAN));
        }
        for (port, data) in self.plan.inputs.iter().zip(inputs) {
            if let Operand::Buffer(id) = port.place {
                copy(data, &mut self.buffers[id][..data.len()]);
            }
        }
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

    /// Runs all steps; `after` gets the number of each that is done, more than once where it is done for a part of the
    /// images. They run in the pool, as one task of it: a step that was handed to the pool from outside would cost two
    /// threads' waking up.
    fn steps(&mut self, after: &mut (dyn FnMut(usize) + Send)) {
        rayon::scope(|_| {
            let led = self.lead.as_ref().map_or(0, |lead| lead.steps());
            if let Some(lead) = &mut self.lead {
                lead.run(&mut self.buffers, after);
            }
            for index in led..self.plan.steps.len() {
                self.step(index);
                after(index);
            }
        });
    }

    fn read(&self, port: &Port) -> Vec<f32> {
        let whole: &[f32] = match port.place {
            Operand::Buffer(id) => &self.buffers[id],
            Operand::Constant(id) => &self.plan.constants[id],
        };
        let mut data = vec![0.0; port_len(port)];
        copy(&whole[..data.len()], &mut data);
        data
    }
}

impl Executor for Program {
    fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        self.start(inputs)?;
        self.steps(&mut |_| {});
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
        self.steps(&mut |_| {});
        Ok(begin.elapsed().as_secs_f64())
    }

    fn time_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<(String, f64)>> {
        self.start(inputs)?;
        let mut seconds = vec![0.0; self.plan.steps.len()];
        let mut last = Instant::now();
        self.steps(&mut |index| {
            let now = Instant::now();
            seconds[index] += (now - last).as_secs_f64();
            last = now;
        });
        Ok(self.plan.steps.iter().map(|step| step.node.clone()).zip(seconds).collect())
    }

    fn take_sums(&mut self) -> Result<Vec<Vec<f32>>> {
        let sums = self.plan.sums.iter().map(|port| self.read(port)).collect();
        self.sums.iter().for_each(|&id| self.buffers[id].fill(0.0));
        Ok(sums)
    }
}
