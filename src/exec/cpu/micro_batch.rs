//! Micro-batching: runs the first steps of a plan on a few images at a time.
//!
//! The first layers of a network have large images and few weights. The planes of a whole batch exceed the caches, so
//! each step reads from memory what the previous one wrote; a few images fit. Later layers have more weights than
//! pixels, and profit from sharing each read of the weights among many images.

use super::step_runner::StepRunner;
use crate::exec::port_len;
use crate::plan::{BufferId, Operand, Plan, Port, Step};

/// Elements of constants that stay in a cache from one part of the batch to the next.
const KEPT: usize = 1 << 15;

/// The first steps of a plan, on one part of its images at a time.
pub(super) struct MicroBatch {
    /// The steps, over buffers with the plan's numbers and the size of one part.
    runner: StepRunner,
    /// Parts of a batch.
    pub(super) parts: usize,
    /// The buffers of the plan's inputs, and the elements that one part reads of each.
    inputs: Vec<(BufferId, usize)>,
    /// The buffers that later steps or the caller read, and the elements that one part writes to each.
    outputs: Vec<(BufferId, usize)>,
}

impl MicroBatch {
    /// Returns `None` if the whole batch fits `cached` elements, or if the first step mixes images.
    pub(super) fn new(plan: &Plan, cached: usize, poison: bool) -> Option<Self> {
        let (plan, parts, outputs) = part_of(plan, cached)?;
        let input = |port: &Port| match port.place {
            Operand::Buffer(id) => Some((id, port_len(port))),
            Operand::Constant(_) => None,
        };
        let inputs = plan.inputs.iter().filter_map(input).collect();
        Some(Self { runner: StepRunner::new(&plan, 0, poison), parts, inputs, outputs })
    }

    /// Number of the plan's steps that this replaces.
    pub(super) fn steps(&self) -> usize {
        self.runner.plan.steps.len()
    }

    /// Runs the steps for all images, from and to the plan's buffers. Calls `after` with the index of each finished
    /// step.
    pub(super) fn run(&mut self, buffers: &mut [Vec<f32>], after: &mut dyn FnMut(usize)) {
        let runner = &mut self.runner;
        for part in 0..self.parts {
            let inputs: Vec<&[f32]> =
                self.inputs.iter().map(|&(id, len)| &buffers[id][part * len..][..len]).collect();
            runner.fill(inputs.into_iter());
            for index in 0..runner.plan.steps.len() {
                runner.run(index);
                after(index);
            }
            for &(id, len) in &self.outputs {
                buffers[id][part * len..][..len].copy_from_slice(&runner.buffers[id][..len]);
            }
        }
    }
}

/// Returns the plan of one part, the number of parts, and the buffers that outlive the part.
fn part_of(plan: &Plan, cached: usize) -> Option<(Plan, usize, Vec<(BufferId, usize)>)> {
    if plan.batch < 2 || plan.inputs.iter().any(|port| port.shape.first() != Some(&plan.batch)) {
        return None;
    }
    let larger = plan.steps.iter().map_while(|step| pixels(step, plan.batch));
    let most = larger.clone().max()?;
    let mut sizes = (1..=plan.batch).rev().filter(|images| plan.batch.is_multiple_of(*images));
    let images = sizes.find(|&images| images == 1 || images * most <= cached)?;
    if images == plan.batch {
        return None;
    }
    let parts = plan.batch / images;
    let (first, rest) = plan.steps.split_at(larger.count());
    let step =
        |step: &Step| Some(Step { kernel: step.kernel.micro_batch(plan.batch, images)?, ..step.clone() });
    let port = |port: &Port| {
        let mut shape = port.shape.clone();
        shape[0] = images;
        Port { shape, ..port.clone() }
    };
    let of_plan = Plan {
        buffers: plan.buffers.iter().map(|len| len.div_ceil(parts)).collect(),
        constants: plan.constants.clone(),
        steps: first.iter().map(step).collect::<Option<_>>()?,
        inputs: plan.inputs.iter().map(port).collect(),
        batch: images,
        ..Plan::default()
    };
    let outputs = outputs(plan, first, rest).into_iter().map(|(buffer, len)| (buffer, len / parts));
    Some((of_plan, parts, outputs.collect()))
}

/// Elements that a step reads and writes for one image.
///
/// Returns `None` if the step has more constants than that, or mixes images.
pub(super) fn pixels(step: &Step, batch: usize) -> Option<usize> {
    let one = step.kernel.micro_batch(batch, 1)?;
    let (mut pixels, mut constants) = (one.output_len(), 0);
    for ((operand, len), whole) in step.inputs.iter().zip(one.input_lens()).zip(step.kernel.input_lens()) {
        match operand {
            Operand::Buffer(_) if len * batch == whole => pixels += len,
            Operand::Constant(_) if len == whole => constants += len,
            _ => return None,
        }
    }
    (constants <= pixels.max(KEPT)).then_some(pixels)
}

/// The buffers that the remaining steps or the caller read, and the elements that the first steps write to each.
fn outputs(plan: &Plan, first: &[Step], rest: &[Step]) -> Vec<(BufferId, usize)> {
    let wanted = |buffer: BufferId, len: usize| {
        let place = Operand::Buffer(buffer);
        let next = rest.iter().find(|step| step.output == buffer || step.inputs.contains(&place));
        // A step that writes a buffer of this length may fill the other part of a concatenation.
        let used = next.is_some_and(|step| step.output != buffer || step.kernel.output_len() == len);
        used || plan.outputs.iter().any(|port| port.place == place)
    };
    let written =
        |buffer| Some((buffer, first.iter().rfind(|step| step.output == buffer)?.kernel.output_len()));
    (0..plan.buffers.len()).filter_map(written).filter(|&(buffer, len)| wanted(buffer, len)).collect()
}
