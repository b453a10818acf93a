//! The first steps of a batch, a few images at a time.
//!
//! The first layers of a network have large images and few weights: a batch's planes do not fit a processor's caches,
//! and what a step writes comes from memory when the next reads it. A few images at a time do fit. Later layers are the
//! other way round: their weights are what is large, and the more images share a reading the better.

use super::Program;
use crate::exec::port_len;
use crate::plan::{BufferId, Operand, Plan, Port, Step};

/// Constants that stay in a cache while the images pass by.
const KEPT: usize = 1 << 15;

/// The first steps of a plan, for a part of its images.
pub(super) struct Lead {
    /// The steps, over buffers of the same numbers, which hold a part of the images.
    program: Program,
    /// How often they run for a batch.
    parts: usize,
    /// The buffers of the plan's inputs, and how much of each a part reads.
    inputs: Vec<(BufferId, usize)>,
    /// The buffers that later steps read, and how much of each a part fills.
    handed: Vec<(BufferId, usize)>,
}

impl Lead {
    /// `None` where the whole batch fits the caches, of so many elements, or where already the first steps are not
    /// each image's own.
    pub(super) fn new(plan: &Plan, cached: usize, poison: bool) -> Option<Self> {
        let (plan, parts, handed) = lead_of(plan, cached)?;
        let input = |port: &Port| match port.place {
            Operand::Buffer(id) => Some((id, port_len(port))),
            Operand::Constant(_) => None,
        };
        let inputs = plan.inputs.iter().filter_map(input).collect();
        Some(Self { program: Program::whole(&plan, 0, poison), parts, inputs, handed })
    }

    /// How many steps of the plan it stands for.
    pub(super) fn steps(&self) -> usize {
        self.program.plan.steps.len()
    }

    /// Runs the steps for all images: from the plan's buffers to the plan's buffers. `after` gets the number of each
    /// step that is done.
    pub(super) fn run(&mut self, buffers: &mut [Vec<f32>], after: &mut dyn FnMut(usize)) {
        let program = &mut self.program;
        for part in 0..self.parts {
            let inputs: Vec<&[f32]> =
                self.inputs.iter().map(|&(id, len)| &buffers[id][part * len..][..len]).collect();
            program.fill(inputs.into_iter());
            for index in 0..program.plan.steps.len() {
                program.step(index);
                after(index);
            }
            for &(id, len) in &self.handed {
                buffers[id][part * len..][..len].copy_from_slice(&program.buffers[id][..len]);
            }
        }
    }
}

/// The lead's plan, its number of parts, and what it leaves.
fn lead_of(plan: &Plan, cached: usize) -> Option<(Plan, usize, Vec<(BufferId, usize)>)> {
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
    let (lead, rest) = plan.steps.split_at(larger.count());
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
        steps: lead.iter().map(step).collect::<Option<_>>()?,
        inputs: plan.inputs.iter().map(port).collect(),
        batch: images,
        ..Plan::default()
    };
    let handed = handed(plan, lead, rest).into_iter().map(|(buffer, len)| (buffer, len / parts));
    Some((of_plan, parts, handed.collect()))
}

/// Elements that a step reads and writes for one image. `None` where its constants are more, or where it is not each
/// image's own.
fn pixels(step: &Step, batch: usize) -> Option<usize> {
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

/// The buffers that hold what the steps of the rest or the caller read, and how much the lead wrote to each.
fn handed(plan: &Plan, lead: &[Step], rest: &[Step]) -> Vec<(BufferId, usize)> {
    let wanted = |buffer: BufferId, len: usize| {
        let place = Operand::Buffer(buffer);
        let next = rest.iter().find(|step| step.output == buffer || step.inputs.contains(&place));
        // A step that writes as much may fill the other part of a concatenation.
        let used = next.is_some_and(|step| step.output != buffer || step.kernel.output_len() == len);
        used || plan.outputs.iter().any(|port| port.place == place)
    };
    let written =
        |buffer| Some((buffer, lead.iter().rfind(|step| step.output == buffer)?.kernel.output_len()));
    (0..plan.buffers.len()).filter_map(written).filter(|&(buffer, len)| wanted(buffer, len)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Program;
    use super::*;
    use crate::exec::Executor;
    use crate::kernels::Kernel;
    use crate::kernels::activation::Activation;
    use crate::kernels::conv::Conv;
    use crate::kernels::elementwise::{Binary, BinaryOp};
    use crate::kernels::reduction::{Reduce, ReduceOp};
    use crate::kernels::window::Windows;
    use crate::tensor::DType;

    const BATCH: usize = 6;
    const PLANE: usize = 8 * 8;

    fn conv(channels: [usize; 2], windows: Windows, out: [usize; 2]) -> Conv {
        let [in_channels, out_channels] = channels;
        let [out_offset, out_total] = out;
        let activation = Activation::Relu;
        Conv {
            batch: BATCH,
            groups: 1,
            in_channels,
            out_channels,
            windows,
            out_offset,
            out_total,
            residual: false,
            activation,
        }
    }

    /// A concatenation whose second half comes behind a mean over the batch, which ends the lead; a gate; outputs of the
    /// lead and of the rest.
    fn plan() -> Plan {
        use Operand::{Buffer, Constant};
        let square = Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([8, 8]) };
        let weights = |seed: usize, len: usize| {
            Arc::new((0..len).map(|i| ((i * 7919 + seed) % 1009) as f32 / 504.5 - 1.0).collect::<Vec<_>>())
        };
        let mean = |outer, axis, inner| Reduce { op: ReduceOp::Mean, outer, axis, inner };
        let shapes: [&[usize]; 2] = [&[BATCH, 4, 8, 8], &[BATCH, 4, 1, 1]];
        let gate = Binary::new(BinaryOp::Mul, shapes[0], shapes[1], Activation::None).unwrap();
        let step = |kernel: Arc<dyn Kernel>, inputs: &[Operand], output| Step {
            kernel,
            inputs: inputs.to_vec(),
            output,
            node: String::new(),
            value: None,
        };
        let port = |name: &str, buffer, shape: &[usize]| Port {
            name: name.into(),
            place: Buffer(buffer),
            shape: shape.to_vec(),
            dtype: DType::F32,
        };
        let image = BATCH * PLANE;
        let points = Windows::points([8, 8]);
        Plan {
            buffers: vec![3 * image, 4 * image, BATCH * 4, 4 * image, 8 * image, 4 * PLANE, 2 * image],
            constants: vec![weights(1, 108), weights(2, 4), weights(3, 144), weights(4, 16)],
            steps: vec![
                step(Arc::new(conv([3, 4], square, [0, 4])), &[Buffer(0), Constant(0), Constant(1)], 1),
                step(Arc::new(mean(BATCH * 4, PLANE, 1)), &[Buffer(1)], 2),
                step(Arc::new(gate), &[Buffer(1), Buffer(2)], 3),
                step(Arc::new(conv([4, 4], square, [0, 8])), &[Buffer(1), Constant(2), Constant(1)], 4),
                step(Arc::new(mean(1, BATCH, 4 * PLANE)), &[Buffer(3)], 5),
                step(Arc::new(conv([4, 4], square, [4, 8])), &[Buffer(3), Constant(2), Constant(1)], 4),
                step(Arc::new(conv([8, 2], points, [0, 2])), &[Buffer(4), Constant(3), Constant(1)], 6),
            ],
            inputs: vec![port("x", 0, &[BATCH, 3, 8, 8])],
            outputs: vec![
                port("gated", 3, shapes[0]),
                port("mean", 5, &[4, 8, 8]),
                port("y", 6, &[BATCH, 2, 8, 8]),
            ],
            batch: BATCH,
            ..Plan::default()
        }
    }

    #[test]
    fn a_lead_gives_the_bits_of_the_whole_batch() {
        let plan = plan();
        let x: Vec<f32> = (0..BATCH * 3 * PLANE).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut whole = Program::for_caches(&plan, usize::MAX, true).unwrap();
        assert!(whole.lead.is_none());
        let expected = whole.run(&[&x]).unwrap();
        assert!(expected.iter().flatten().all(|y| y.is_finite()));
        // The step with the most pixels reads four planes and writes into eight.
        let most = 4 * PLANE + 8 * PLANE;
        for (cached, parts) in [(1, 6), (3 * most - 1, 3), (3 * most, 2)] {
            let mut program = Program::for_caches(&plan, cached, true).unwrap();
            let lead = program.lead.as_ref().unwrap();
            assert_eq!((lead.parts, lead.steps()), (parts, 4), "up to the mean over the batch");
            for _ in 0..2 {
                assert_eq!(program.run(&[&x]).unwrap(), expected);
            }
            assert_eq!(program.run_watched(&[&x], &mut |_, _| Ok(())).unwrap(), expected);
            assert_eq!(program.time_steps(&[&x]).unwrap().len(), plan.steps.len());
        }
    }

    #[test]
    fn a_step_with_more_weights_than_pixels_ends_the_lead() {
        let step = |channels: usize| Step {
            kernel: Arc::new(conv([channels; 2], Windows::points([8, 8]), [0, channels])),
            inputs: vec![Operand::Buffer(0), Operand::Constant(0), Operand::Constant(1)],
            output: 1,
            node: String::new(),
            value: None,
        };
        assert_eq!(pixels(&step(170), BATCH), Some(170 * 2 * PLANE), "few weights stay in the cache");
        assert_eq!(pixels(&step(200), BATCH), None);
        assert_eq!(pixels(&step(170), BATCH + 1), None, "of another batch");
    }
}
