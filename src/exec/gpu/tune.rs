//! Timing the ways of a plan's calls on the device, each shape once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::expand::{Pick, goes};
use super::program::Program;
use super::{Gpu, lock, tuned};
use crate::error::Result;
use crate::exec::Executor;
use crate::kernels::Kernel;
use crate::plan::{BufferId, Operand, Plan, Port, Step};
use crate::tensor::{DType, Precision};

/// Runs of a way that count; one before them does not.
const RUNS: usize = 3;
/// How much faster than what the rules say a way has to be to be taken: what is nearer may be noise.
const CLEARLY: f64 = 0.95;

/// Times the ways of every shape in the plans that is not known yet, until `seconds` are over; shapes that were not
/// reached keep the rules. `progress` is told how many of how many are done. Returns how many were timed.
pub(super) fn tune(
    gpu: &Arc<Gpu>,
    plans: &[&Plan],
    seconds: f64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<usize> {
    let mut open: Vec<(String, Arc<dyn Kernel>, (&Plan, &Step))> = Vec::new();
    for (plan, step) in plans.iter().flat_map(|plan| plan.steps.iter().map(move |step| (plan, step))) {
        let timed = step.kernel.timed_as().filter(|kernel| !kernel.ways().is_empty());
        let shape = tuned::shape(&*step.kernel, plan.f16_storage.is_some());
        let (Some(shape), Some(kernel)) = (shape, timed) else { continue };
        if !lock(&gpu.tuned).knows(&shape) && open.iter().all(|(known, ..)| *known != shape) {
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
        let time = |pick: Pick| -> Result<f64> {
            let mut program = Program::new(gpu, &plan, pick, false)?;
            program.time(&inputs)?;
            let runs = (0..RUNS).map(|_| program.time(&inputs)).collect::<Result<Vec<f64>>>()?;
            Ok(runs.into_iter().fold(f64::INFINITY, f64::min))
        };
        let mut best = (CLEARLY * time(Pick::Best)?, None);
        let ways = kernel.ways().into_iter().filter(|way| goes(way, &gpu.info)).map(|way| way.name);
        for name in std::iter::once("").chain(ways) {
            // What does not run at this batch is no candidate.
            if let Some(time) = time(Pick::Named(name)).ok().filter(|time| *time < best.0) {
                best = (time, Some(name));
            }
        }
        if let Some(name) = best.1 {
            lock(&gpu.tuned).learn(shape, name);
        }
    }
    progress(total, total);
    Ok(total)
}

/// A step of a plan alone, at the batch at which it is timed. Constants stay constants: some ways take no others; and
/// halves stay halves.
fn one_step(of: &Plan, kernel: &Arc<dyn Kernel>, step: &Step) -> (Plan, Vec<Vec<f32>>) {
    let halves = of.f16_storage.as_ref().map(|_| HashSet::new());
    let (mut plan, mut inputs) = (Plan { batch: 1, f16_storage: halves, ..Plan::default() }, Vec::new());
    let add = |plan: &mut Plan, len: usize, buffer: BufferId| {
        let halves = plan.f16_storage.as_mut().filter(|_| of.precision(buffer) == Precision::F16);
        halves.map(|halves| halves.insert(plan.buffers.len()));
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
