//! One call of a kernel as a plan of its own, and the judge of what a device makes of it.

use std::sync::Arc;

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::kernels::Case;
use secateur::kernels::way::Source;
use secateur::plan::{Operand, Plan, Port, Step};
use secateur::tensor::DType;

pub(crate) fn port(name: &str, place: Operand, shape: &[usize]) -> Port {
    Port { name: name.into(), place, shape: shape.to_vec(), dtype: DType::F32 }
}

/// One step; an input that a shader wants in a layout of its own is a constant, the others come from the caller.
pub(crate) fn one_step<'a>(case: &'a Case, way: &str) -> (Plan, Vec<&'a [f32]>) {
    let ways = case.kernel.ways();
    let packs = |index: usize, data: &[f32]| {
        case.kernel.pack(index, data).is_some()
            || ways.iter().filter(|w| w.name == way).flat_map(|w| &w.calls).any(|call| {
                let places = call.inputs.iter().enumerate();
                places
                    .filter(|(_, source)| **source == Source::Input(index))
                    .any(|(place, _)| call.kernel.pack(place, data).is_some())
            })
    };
    let mut plan = Plan { batch: 1, ..Plan::default() };
    let (mut operands, mut provided) = (Vec::new(), Vec::new());
    for (index, data) in case.inputs.iter().enumerate() {
        if packs(index, data) {
            operands.push(Operand::Constant(plan.constants.len()));
            plan.constants.push(Arc::new(data.clone()));
        } else {
            let place = Operand::Buffer(plan.buffers.len());
            plan.buffers.push(data.len());
            plan.inputs.push(port(&format!("input {index}"), place, &[data.len()]));
            operands.push(place);
            provided.push(data.as_slice());
        }
    }
    let (output, len) = (plan.buffers.len(), case.kernel.output_len());
    plan.buffers.push(len);
    let ports = if case.kernel.accumulates() { &mut plan.sums } else { &mut plan.outputs };
    ports.push(port("output", Operand::Buffer(output), &[len]));
    let kernel = Arc::clone(&case.kernel);
    plan.steps.push(Step { kernel, inputs: operands, output, node: case.label.clone(), value: None });
    (plan, provided)
}

/// The definition's output. Elements that a kernel leaves to others keep this NaN, which nothing computes.
const UNWRITTEN: u64 = 0x7ff8_0000_0bad_0001;

pub(crate) fn expected(case: &Case) -> Vec<f64> {
    let inputs: Vec<Vec<f64>> =
        case.inputs.iter().map(|data| data.iter().map(|&x| x.into()).collect()).collect();
    let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    if case.kernel.accumulates() {
        // After two runs from zero.
        let mut output = vec![0.0; case.kernel.output_len()];
        (0..2).for_each(|_| case.kernel.reference(&inputs, &mut output));
        return output;
    }
    let mut output = vec![f64::from_bits(UNWRITTEN); case.kernel.output_len()];
    case.kernel.reference(&inputs, &mut output);
    output
}

/// What is wrong with a case on a device, if anything: by a way, or by the kernel's own shader.
pub(crate) fn judge(case: &Case, device: &Device, expected: &[f64], way: &str) -> Option<String> {
    judge_plan(case, device, expected, way, one_step(case, way), case.kernel.tolerance())
}

/// The same with halves wherever the call takes them.
pub(crate) fn judge_halves(case: &Case, device: &Device, expected: &[f64], way: &str) -> Option<String> {
    let (mut plan, inputs) = one_step(case, way);
    plan.store_as_f16((0..plan.buffers.len()).collect());
    judge_plan(case, device, expected, way, (plan, inputs), case.kernel.tolerance().for_f16_storage())
}

fn judge_plan(
    case: &Case,
    device: &Device,
    expected: &[f64],
    way: &str,
    (plan, inputs): (Plan, Vec<&[f32]>),
    tolerance: Tolerance,
) -> Option<String> {
    let run = device.load_by(&plan, way, true).and_then(|mut executor| {
        if case.kernel.accumulates() {
            executor.run(&inputs)?;
            executor.run(&inputs)?;
            executor.take_sums()
        } else {
            executor.run(&inputs)
        }
    });
    let got = match run {
        Ok(outputs) => outputs.concat(),
        Err(error) => return Some(error.to_string()),
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        if expected.to_bits() != UNWRITTEN {
            ours.push(got);
            theirs.push(expected);
        } else if !got.is_nan() {
            return Some(format!("element {index} is another's, and it was written"));
        }
    }
    let verdict = compare(&ours, &theirs, tolerance);
    (got.len() != expected.len() || !verdict.passed()).then(|| verdict.to_string())
}

/// Numbers between -1 and 1 that are no pattern.
pub(crate) fn noise(len: usize, seed: u32) -> Vec<f32> {
    let hash =
        |i: u32| (i.wrapping_mul(0x9e37_79b9) ^ seed.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35);
    (0..len as u32).map(|i| (hash(i) >> 8) as f32 / (1u32 << 23) as f32 - 1.0).collect()
}
