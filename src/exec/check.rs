//! Step-by-step comparison of a device with the `f64` reference, to find faulty drivers.
//!
//! Every step is checked in two ways. Its *verdict* compares the device with the kernel's definition in `f64` on the
//! inputs that the device's step had, under the kernel's tolerance; an error is so attributed to the step that causes
//! it. Its *drift* compares the device with a whole run in `f64`.
//!
//! The host subgraph is the same code for every device. It runs on the outputs of the device and on those of the
//! reference, and both results are reported without a verdict: rounding of its inputs may change which boxes it selects.

use super::devices::Device;
use super::host_subgraph::finish;
use super::port_len;
use super::reference::{ReferenceInterpreter, widen};
use crate::compare::{Tolerance, Verdict, compare};
use crate::error::Result;
use crate::observer::{Observer, Stage, advance, staged};
use crate::plan::Plan;

/// The result for one step of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct StepCheck {
    /// The index of the step in [`Plan::steps`].
    pub index: usize,
    /// The name of the node in the model.
    pub node: String,
    /// The name of the kernel's row.
    pub kernel: &'static str,
    /// The comparison of the step alone, under the kernel's tolerance.
    pub verdict: Verdict,
    /// The largest absolute error accumulated so far, divided by the largest expected magnitude.
    pub drift: f64,
}

/// The result for one output of a network with a host subgraph.
#[derive(Debug, Clone, PartialEq)]
pub struct HostCheck {
    /// The name of the output.
    pub name: String,
    /// The shape computed from the device's values.
    pub shape: Vec<usize>,
    /// The shape computed from the reference's values.
    pub expected: Vec<usize>,
    /// True if both have equal shapes and equal elements up to rounding.
    pub agrees: bool,
}

/// The results of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Checks {
    /// The results of all steps, in order.
    pub steps: Vec<StepCheck>,
    /// The results of all outputs of a network with a host subgraph; empty without one.
    pub data_dependent: Vec<HostCheck>,
}

/// Marks elements of a reference output that the kernel does not write: a NaN that no computation produces.
const UNWRITTEN: u64 = 0x7ff8_5eca_7e0e_0001;

/// Runs `plan` on `device` and in `f64`, and compares both after every step.
///
/// The observer receives [`Stage::Checking`].
///
/// # Errors
/// A plan or inputs that the device cannot run, a device that fails, or an observer that ends the check. A difference
/// is not an error but a verdict.
pub fn check(plan: &Plan, device: &Device, inputs: &[&[f32]], observer: &mut dyn Observer) -> Result<Checks> {
    staged(observer, Stage::Checking, plan.steps.len(), |observer| {
        compare_steps(plan, device, inputs, observer)
    })
}

fn compare_steps(
    plan: &Plan,
    device: &Device,
    inputs: &[&[f32]],
    observer: &mut dyn Observer,
) -> Result<Checks> {
    let mut executor = device.load(plan)?;
    let wide: Vec<Vec<f64>> = inputs.iter().map(|data| widen(data)).collect();
    let wide: Vec<&[f64]> = wide.iter().map(Vec::as_slice).collect();
    // `mirror` holds the device's values, `reference` those of a run in f64.
    let mut mirror = ReferenceInterpreter::start(plan, &wide)?;
    let mut reference = ReferenceInterpreter::start(plan, &wide)?;
    let mut checks = Vec::with_capacity(plan.steps.len());
    let outputs = executor.run_watched(inputs, &mut |index, got| {
        let step = &plan.steps[index];
        let mut expected = if step.kernel.accumulates() {
            mirror.buffers[step.output][..got.len()].to_vec()
        } else {
            vec![f64::from_bits(UNWRITTEN); got.len()]
        };
        mirror.apply(step, &mut expected);
        reference.step(step);
        let written: Vec<usize> = (0..got.len()).filter(|&i| expected[i].to_bits() != UNWRITTEN).collect();
        let select = |data: &[f64]| -> Vec<f64> { written.iter().map(|&i| data[i]).collect() };
        let got = widen(got);
        let tolerance = step.kernel.tolerance();
        let tolerance = if plan.f16_storage.is_some() { tolerance.for_f16_storage() } else { tolerance };
        let verdict = compare(&select(&got), &select(&expected), tolerance);
        let drift =
            compare(&select(&got), &select(&reference.buffers[step.output]), Tolerance::NETWORK).max_rel_err;
        mirror.buffers[step.output][..got.len()].copy_from_slice(&got);
        checks.push(StepCheck {
            index,
            node: step.node.clone(),
            kernel: step.kernel.row().name,
            verdict,
            drift,
        });
        advance(observer, index + 1)
    })?;
    let mut data_dependent = Vec::new();
    if plan.host_subgraph.is_some() {
        let narrow = |data: Vec<f64>| data.into_iter().map(|v| v as f32).collect();
        let expected =
            plan.outputs.iter().map(|port| narrow(reference.read(port.place, port_len(port)))).collect();
        for (got, expected) in finish(plan, outputs)?.into_iter().zip(finish(plan, expected)?) {
            let (got, expected, name) = (got.tensor, expected.tensor, got.name);
            let agrees = got.shape == expected.shape
                && compare(&got.to_f64(), &expected.to_f64(), Tolerance::NETWORK).passed();
            data_dependent.push(HostCheck { name, shape: got.shape, expected: expected.shape, agrees });
        }
    }
    Ok(Checks { steps: checks, data_dependent })
}

/// Returns the first step whose verdict failed.
pub fn first_failing(checks: &[StepCheck]) -> Option<&StepCheck> {
    checks.iter().find(|c| !c.verdict.passed())
}
