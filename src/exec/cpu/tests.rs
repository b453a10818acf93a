//! Micro-batches against whole batches.

use std::sync::Arc;

use super::micro_batch::pixels;
use super::program::CpuProgram;
use crate::exec::Executor;
use crate::kernels::Kernel;
use crate::kernels::activation::Activation;
use crate::kernels::conv::ConvKernel;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::kernels::window::Windows;
use crate::plan::{Operand, Plan, Port, Step};
use crate::tensor::DType;

const BATCH: usize = 6;
const PLANE: usize = 8 * 8;

fn conv(channels: [usize; 2], windows: Windows, out: [usize; 2]) -> ConvKernel {
    let [in_channels, out_channels] = channels;
    let [out_offset, out_total] = out;
    let activation = Activation::Relu;
    ConvKernel {
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

/// A plan with a mean over the batch, which ends the micro-batch, between the two halves of a concatenation; with a
/// gate, and outputs before and after the mean.
fn plan() -> Plan {
    use Operand::{Buffer, Constant};
    let square = Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([8, 8]) };
    let weights = |seed: usize, len: usize| {
        Arc::new((0..len).map(|i| ((i * 7919 + seed) % 1009) as f32 / 504.5 - 1.0).collect::<Vec<_>>())
    };
    let mean = |outer, axis, inner| ReduceKernel { op: ReduceOp::Mean, outer, axis, inner };
    let shapes: [&[usize]; 2] = [&[BATCH, 4, 8, 8], &[BATCH, 4, 1, 1]];
    let gate = BinaryKernel::new(BinaryOp::Mul, shapes[0], shapes[1], Activation::None).unwrap();
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
fn a_micro_batch_gives_the_bits_of_the_whole_batch() {
    let plan = plan();
    let x: Vec<f32> = (0..BATCH * 3 * PLANE).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut whole = CpuProgram::for_caches(&plan, usize::MAX, true).unwrap();
    assert!(whole.micro_batch.is_none());
    let expected = whole.run(&[&x]).unwrap();
    assert!(expected.iter().flatten().all(|y| y.is_finite()));
    // The step with the most pixels reads four planes and writes into eight.
    let most = 4 * PLANE + 8 * PLANE;
    for (cached, parts) in [(1, 6), (3 * most - 1, 3), (3 * most, 2)] {
        let mut program = CpuProgram::for_caches(&plan, cached, true).unwrap();
        let micro_batch = program.micro_batch.as_ref().unwrap();
        assert_eq!((micro_batch.parts, micro_batch.steps()), (parts, 4), "up to the mean over the batch");
        for _ in 0..2 {
            assert_eq!(program.run(&[&x]).unwrap(), expected);
        }
        assert_eq!(program.run_watched(&[&x], &mut |_, _| Ok(())).unwrap(), expected);
        assert_eq!(program.time_steps(&[&x]).unwrap().len(), plan.steps.len());
    }
}

#[test]
fn a_step_with_more_weights_than_pixels_ends_the_micro_batch() {
    let step = |channels: usize| Step {
        kernel: Arc::new(conv([channels; 2], Windows::points([8, 8]), [0, channels])),
        inputs: vec![Operand::Buffer(0), Operand::Constant(0), Operand::Constant(1)],
        output: 1,
        node: String::new(),
        value: None,
    };
    assert_eq!(pixels(&step(170), BATCH), Some(170 * 2 * PLANE), "few weights stay in the cache");
    assert_eq!(pixels(&step(200), BATCH), None);
    assert_eq!(pixels(&step(170), BATCH + 1), None, "another batch");
}
