//! Runs a plan on the CPU.

use std::time::Instant;

use super::micro_batch::MicroBatch;
use super::step_runner::StepRunner;
use crate::error::Result;
use crate::exec::{Executor, Watch, copy, validate, validate_inputs, validate_states};
use crate::plan::Plan;

/// Elements that fit the private cache of a core: a mebibyte of `f32`.
const CACHED: usize = 1 << 18;

/// A plan with its buffers in host memory.
pub struct CpuProgram {
    runner: StepRunner,
    /// Replaces the first steps if micro-batching pays.
    pub(super) micro_batch: Option<MicroBatch>,
}

impl CpuProgram {
    /// Allocates the buffers of a plan.
    ///
    /// With `poison`, every buffer that is neither a sum nor a state is filled with NaN before each run, which exposes reads of
    /// elements that were never written.
    ///
    /// # Errors
    /// Fails if the plan is inconsistent.
    pub fn new(plan: &Plan, poison: bool) -> Result<Self> {
        Self::for_caches(plan, CACHED * rayon::current_num_threads(), poison)
    }

    /// Allocates for a processor whose caches hold `cached` elements in all.
    pub(super) fn for_caches(plan: &Plan, cached: usize, poison: bool) -> Result<Self> {
        validate(plan)?;
        let micro_batch = MicroBatch::new(plan, cached, poison);
        let replaced = micro_batch.as_ref().map_or(0, MicroBatch::steps);
        Ok(Self { runner: StepRunner::new(plan, replaced, poison), micro_batch })
    }

    fn start(&mut self, inputs: &[&[f32]]) -> Result<()> {
        validate_inputs(&self.runner.plan, inputs)?;
        self.runner.fill(inputs.iter().copied());
        Ok(())
    }

    /// Runs all steps of the plan. Calls `after` with the index of each finished step; a step that runs once for each part of the
    /// batch is reported each time.
    ///
    /// All steps run inside one task of the thread pool: handing over each step from outside would wake two threads.
    fn steps(&mut self, after: &mut (dyn FnMut(usize) + Send)) {
        rayon::scope(|_| {
            let replaced = self.micro_batch.as_ref().map_or(0, MicroBatch::steps);
            if let Some(micro_batch) = &mut self.micro_batch {
                micro_batch.run(&mut self.runner.buffers, after);
            }
            for index in replaced..self.runner.plan.steps.len() {
                self.runner.run(index);
                after(index);
            }
        });
    }

    fn outputs(&self) -> Vec<Vec<f32>> {
        self.runner.plan.outputs.iter().map(|port| self.runner.read(port)).collect()
    }
}

impl Executor for CpuProgram {
    fn run(&mut self, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        self.start(inputs)?;
        self.steps(&mut |_| {});
        Ok(self.outputs())
    }

    fn run_watched(&mut self, inputs: &[&[f32]], watch: Watch) -> Result<Vec<Vec<f32>>> {
        self.start(inputs)?;
        for index in 0..self.runner.plan.steps.len() {
            let (id, len) = self.runner.run(index);
            watch(index, &self.runner.buffers[id][..len])?;
        }
        Ok(self.outputs())
    }

    fn time(&mut self, inputs: &[&[f32]]) -> Result<f64> {
        self.start(inputs)?;
        let begin = Instant::now();
        self.steps(&mut |_| {});
        Ok(begin.elapsed().as_secs_f64())
    }

    fn time_steps(&mut self, inputs: &[&[f32]]) -> Result<Vec<(String, f64)>> {
        self.start(inputs)?;
        let mut seconds = vec![0.0; self.runner.plan.steps.len()];
        let mut last = Instant::now();
        self.steps(&mut |index| {
            let now = Instant::now();
            seconds[index] += (now - last).as_secs_f64();
            last = now;
        });
        Ok(self.runner.plan.steps.iter().map(|step| step.node.clone()).zip(seconds).collect())
    }

    fn take_sums(&mut self) -> Result<Vec<Vec<f32>>> {
        let sums = self.runner.plan.sums.iter().map(|port| self.runner.read(port)).collect();
        self.runner.clear_sums();
        Ok(sums)
    }

    fn states(&mut self) -> Result<Vec<Vec<f32>>> {
        Ok(self.runner.plan.states.iter().map(|state| self.runner.buffers[state.buffer].clone()).collect())
    }

    fn set_states(&mut self, contents: &[&[f32]]) -> Result<()> {
        validate_states(&self.runner.plan, contents)?;
        let states = self.runner.plan.states.iter().zip(contents);
        states.for_each(|(state, data)| copy(data, &mut self.runner.buffers[state.buffer]));
        Ok(())
    }
}
