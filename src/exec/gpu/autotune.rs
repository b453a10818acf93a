//! Autotuning: times the algorithms of a plan's calls on the device, each shape once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::autotune_cache;
use super::device::Gpu;
use super::lowering::{AlgorithmChoice, runs_on};
use super::pipeline::lock;
use super::program::GpuProgram;
use crate::error::Result;
use crate::exec::Executor;
use crate::kernels::Kernel;
use crate::kernels::algorithms::algorithms;
use crate::plan::{BufferId, Operand, Plan, Port, Step};
use crate::tensor::{DType, Precision};

/// Timed runs of an algorithm, after one that is not counted.
const RUNS: usize = 3;
/// Time of an algorithm, relative to the default, below which it replaces the default. Smaller gains may be noise.
const CLEARLY: f64 = 0.95;

impl Gpu {
    /// Loads earlier timings of this device from the user's cache folder. Returns a note if that failed.
    pub(in crate::exec) fn recall(&self) -> Option<String> {
        autotune_cache::folder().and_then(|folder| lock(&self.autotuned).recall(&folder))
    }

    /// Times the algorithms of the plans' calls for about `seconds`, uses the fastest from then on, and saves them.
    ///
    /// Calls `progress` with the number of finished shapes and of all shapes. Returns the number of finished shapes.
    ///
    /// # Errors
    /// Fails if the device fails, or if the cache file cannot be written.
    pub(in crate::exec) fn tune(
        self: &Arc<Self>,
        plans: &[&Plan],
        seconds: f64,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<usize> {
        let done = time_shapes(self, plans, seconds, progress)?;
        if let Some(folder) = autotune_cache::folder() {
            lock(&self.autotuned).save(&folder)?;
        }
        Ok(done)
    }
}

/// Times the algorithms of each shape that has no timing yet, until `seconds` have passed. The remaining shapes keep
/// the default. Returns the number of timed shapes.
fn time_shapes(
    gpu: &Arc<Gpu>,
    plans: &[&Plan],
    seconds: f64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<usize> {
    let mut open: Vec<(String, Arc<dyn Kernel>, (&Plan, &Step))> = Vec::new();
    for (plan, step) in plans.iter().flat_map(|plan| plan.steps.iter().map(move |step| (plan, step))) {
        let timed = step.kernel.autotune_key().filter(|kernel| !algorithms(&**kernel).is_empty());
        let shape = autotune_cache::shape(&*step.kernel, plan.f16_storage.is_some());
        let (Some(shape), Some(kernel)) = (shape, timed) else { continue };
        if !lock(&gpu.autotuned).contains(&shape) && open.iter().all(|(known, ..)| *known != shape) {
            open.push((shape, kernel, (plan, step)));
        }
    }
    let begin = Instant::now();
    let total = open.len();
    for (done, (shape, kernel, (of, step))) in open.into_iter().enumerate() {
        progress(done, total);
        if begin.elapsed().as_secs_f64() > seconds {
            return Ok(done);
        }
        let (plan, inputs) = one_step(of, &kernel, step);
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let time = |choice: AlgorithmChoice| -> Result<f64> {
            let mut program = GpuProgram::new(gpu, &plan, choice, false)?;
            program.time(&inputs)?;
            let runs = (0..RUNS).map(|_| program.time(&inputs)).collect::<Result<Vec<f64>>>()?;
            Ok(runs.into_iter().fold(f64::INFINITY, f64::min))
        };
        let mut best = (CLEARLY * time(AlgorithmChoice::Best)?, None);
        let list = algorithms(&*kernel).into_iter().filter(|algorithm| runs_on(algorithm, &gpu.info));
        for name in std::iter::once("").chain(list.map(|algorithm| algorithm.name)) {
            // An algorithm that fails at this batch is skipped.
            if let Some(time) = time(AlgorithmChoice::Named(name)).ok().filter(|time| *time < best.0) {
                best = (time, Some(name));
            }
        }
        if let Some(name) = best.1 {
            lock(&gpu.autotuned).insert(shape, name);
        }
    }
    progress(total, total);
    Ok(total)
}

/// A plan of one step, at the batch at which it is timed.
///
/// Constants stay constants, as some algorithms require, and arrays keep their precision.
fn one_step(of: &Plan, kernel: &Arc<dyn Kernel>, step: &Step) -> (Plan, Vec<Vec<f32>>) {
    let f16_storage = of.f16_storage.as_ref().map(|_| HashSet::new());
    let (mut plan, mut inputs) = (Plan { batch: 1, f16_storage, ..Plan::default() }, Vec::new());
    let add = |plan: &mut Plan, len: usize, buffer: BufferId| {
        let f16_storage = plan.f16_storage.as_mut().filter(|_| of.precision(buffer) == Precision::F16);
        f16_storage.map(|f16_storage| f16_storage.insert(plan.buffers.len()));
        plan.buffers.push(len);
        plan.buffers.len() - 1
    };
    let mut operands = Vec::new();
    for (operand, len) in step.inputs.iter().zip(kernel.input_lens()) {
        let data: Vec<f32> = (0..len).map(|i| (i * 7919 % 2003) as f32 / 1001.0 - 1.0).collect();
        match operand {
            Operand::Constant(_) => {
                operands.push(Operand::Constant(plan.constants.len()));
                plan.constants.push(Arc::new(data));
            }
            Operand::Buffer(buffer) => {
                let place = Operand::Buffer(add(&mut plan, len, *buffer));
                plan.inputs.push(Port { name: String::new(), place, shape: vec![len], dtype: DType::F32 });
                operands.push(place);
                inputs.push(data);
            }
        }
    }
    let output = add(&mut plan, kernel.output_len(), step.output);
    let kernel = Arc::clone(kernel);
    plan.steps.push(Step { kernel, inputs: operands, output, node: step.node.clone(), value: None });
    (plan, inputs)
}
