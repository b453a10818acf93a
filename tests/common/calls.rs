//! One call of a kernel as a plan of its own, and the comparison of a device's output with the reference.

use std::sync::Arc;

use secateur::compare::{Tolerance, compare};
use secateur::exec::devices::Device;
use secateur::kernels::Case;
use secateur::kernels::algorithm::CallInput;
use secateur::kernels::algorithms::algorithms;
use secateur::plan::{Operand, Plan, Port, Step};
use secateur::tensor::DType;

pub(crate) fn port(name: &str, place: Operand, shape: &[usize]) -> Port {
    Port { name: name.into(), place, shape: shape.to_vec(), dtype: DType::F32 }
}

/// A plan of one step. Inputs that a shader reads packed are constants; the caller provides the others.
pub(crate) fn one_step<'a>(case: &'a Case, algorithm: &str) -> (Plan, Vec<&'a [f32]>) {
    let list = algorithms(&*case.kernel);
    let packs = |index: usize, data: &[f32]| {
        case.kernel.pack(index, data).is_some()
            || list.iter().filter(|w| w.name == algorithm).flat_map(|w| &w.calls).any(|call| {
                let places = call.inputs.iter().enumerate();
                places
                    .filter(|(_, source)| **source == CallInput::Input(index))
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

/// The NaN that marks elements which the reference does not write; no computation yields these bits.
const UNWRITTEN: u64 = 0x7ff8_0000_0bad_0001;

/// The output of the reference.
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

/// Runs a case on a device by an algorithm, or with no name by its own shader. Describes a deviation from the reference.
pub(crate) fn mismatch(case: &Case, device: &Device, expected: &[f64], algorithm: &str) -> Option<String> {
    mismatch_of_plan(case, device, expected, algorithm, one_step(case, algorithm), case.kernel.tolerance())
}

/// [`mismatch`] with f16 storage wherever the call allows it.
pub(crate) fn mismatch_f16(
    case: &Case,
    device: &Device,
    expected: &[f64],
    algorithm: &str,
) -> Option<String> {
    let (mut plan, inputs) = one_step(case, algorithm);
    plan.store_as_f16((0..plan.buffers.len()).collect());
    mismatch_of_plan(
        case,
        device,
        expected,
        algorithm,
        (plan, inputs),
        case.kernel.tolerance().for_f16_storage(),
    )
}

fn mismatch_of_plan(
    case: &Case,
    device: &Device,
    expected: &[f64],
    algorithm: &str,
    (plan, inputs): (Plan, Vec<&[f32]>),
    tolerance: Tolerance,
) -> Option<String> {
    let run = device.load_by(&plan, algorithm, true).and_then(|mut executor| {
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
            return Some(format!("element {index} is not part of the output, but was written"));
        }
    }
    let verdict = compare(&ours, &theirs, tolerance);
    (got.len() != expected.len() || !verdict.passed()).then(|| verdict.to_string())
}

/// Pseudo-random numbers between -1 and 1.
pub(crate) fn noise(len: usize, seed: u32) -> Vec<f32> {
    let hash =
        |i: u32| (i.wrapping_mul(0x9e37_79b9) ^ seed.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35);
    (0..len as u32).map(|i| (hash(i) >> 8) as f32 / (1u32 << 23) as f32 - 1.0).collect()
}
