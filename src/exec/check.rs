//! A device and the reference side by side, step by step: is this driver right for this network?
//!
//! Two questions a step. Is the *step* right: the definition, applied in `f64` to the very inputs that the device's
//! step had, must agree within the kernel's tolerance, so an error is laid at the door of the step that makes it.
//! And how far has the network *drifted*: the device's value against that of a whole run in `f64`.
//!
//! The host_subgraph is the same code on the same host for every device: it is run on what the device gave and on what the
//! reference gave, and both answers are told. They are not judged: a choice among boxes may fall the other way by
//! the rounding of what it chooses from, which the steps are judged by.

use super::devices::Device;
use super::host_subgraph::finish;
use super::port_len;
use super::reference::{ReferenceInterpreter, widen};
use crate::compare::{Tolerance, Verdict, compare};
use crate::error::Result;
use crate::plan::Plan;

/// What was found for one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepCheck {
    /// The step's index in [`Plan::steps`].
    pub index: usize,
    /// The node that it stands for.
    pub node: String,
    /// The row of its kernel.
    pub kernel: &'static str,
    /// The step alone, judged by its kernel's tolerance.
    pub verdict: Verdict,
    /// The largest absolute error accumulated up to here, over the largest expected magnitude.
    pub drift: f64,
}

/// What was found for one output whose shape is known only at run time.
#[derive(Debug, Clone, PartialEq)]
pub struct HostCheck {
    /// The output.
    pub name: String,
    /// Its shape behind the device.
    pub shape: Vec<usize>,
    /// Its shape behind the reference.
    pub expected: Vec<usize>,
    /// Whether both have the same elements but for rounding.
    pub agrees: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Checks {
    /// Every step, in order.
    pub steps: Vec<StepCheck>,
    /// Every output of a network with a host_subgraph; empty without one.
    pub data_dependent: Vec<HostCheck>,
}

/// Marks, in a reference output, an element that the kernel leaves to others (a NaN that no computation makes).
const UNWRITTEN: u64 = 0x7ff8_5eca_7e0e_0001;

/// Runs `plan` on `device` and in `f64`, and compares after every step; `progress` is called after each.
///
/// # Errors
/// Whatever keeps the device from running; a disagreement is not an error but a verdict.
pub fn check(plan: &Plan, device: &Device, inputs: &[&[f32]], progress: &mut dyn FnMut()) -> Result<Checks> {
    let mut executor = device.load(plan)?;
    let wide: Vec<Vec<f64>> = inputs.iter().map(|data| widen(data)).collect();
    let wide: Vec<&[f64]> = wide.iter().map(Vec::as_slice).collect();
    // One table follows the device's values, the other those of the reference.
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
        let pick = |data: &[f64]| -> Vec<f64> { written.iter().map(|&i| data[i]).collect() };
        let got = widen(got);
        let tolerance = step.kernel.tolerance();
        let tolerance = if plan.f16_storage.is_some() { tolerance.for_f16_storage() } else { tolerance };
        let verdict = compare(&pick(&got), &pick(&expected), tolerance);
        let drift =
            compare(&pick(&got), &pick(&reference.buffers[step.output]), Tolerance::NETWORK).max_rel_err;
        mirror.buffers[step.output][..got.len()].copy_from_slice(&got);
        checks.push(StepCheck {
            index,
            node: step.node.clone(),
            kernel: step.kernel.row().name,
            verdict,
            drift,
        });
        progress();
        Ok(())
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

/// The first step that is not right.
pub fn first_failing(checks: &[StepCheck]) -> Option<&StepCheck> {
    checks.iter().find(|c| !c.verdict.passed())
}
