//! Reverse-mode differentiation of a plan: appends the calls that compute the gradient of a loss.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::kernels::Kernel;
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::kernels::gradient::{Gradient, GradientCalls, GradientOperand};
use crate::kernels::movement::Fill;
use crate::plan::{BufferId, Operand, Plan, Step};

/// The gradients of some buffers.
#[derive(Debug, Default)]
pub(super) struct Gradients {
    /// The operand of each buffer's gradient, in the order asked for; `None` if the loss does not depend on the buffer.
    pub(super) operands: Vec<Option<Operand>>,
    /// The nodes through which no gradient passes because their kernels have none, with the kernel's name.
    pub(super) stops: BTreeSet<(String, &'static str)>,
    /// True for each buffer, in the order asked for, whose gradient lacks a part that does not pass a node.
    pub(super) partial: Vec<bool>,
}

/// Appends steps that compute the gradient of the number in buffer `loss` to the buffers `wanted`.
///
/// Gradients pass steps of the nodes `straight` unchanged that have none, because they round (Bengio 2013). Memory of the
/// plan must not be planned yet: every tensor has a buffer of its own.
pub(super) fn differentiate(
    plan: &mut Plan,
    loss: BufferId,
    wanted: &[BufferId],
    straight: &BTreeSet<String>,
) -> Result<Gradients> {
    let steps = plan.steps.clone();
    let mut reverse = Reverse { active: active(&steps, wanted, straight), sums: BTreeMap::new(), plan };
    let one = reverse.call(Arc::new(Fill { len: 1, value: 1.0 }), vec![], "loss");
    reverse.sums.insert(loss, one);
    let (mut stops, mut partial) = (BTreeSet::new(), BTreeSet::new());
    for step in steps.iter().rev() {
        if partial.contains(&step.output) {
            let inputs = differentiable(step, straight).filter(|buffer| reverse.active.contains(buffer));
            partial.extend(inputs);
        }
        let Some(&gradient) = reverse.sums.get(&step.output) else { continue };
        if !reverse.active.contains(&step.output) {
            continue;
        }
        for (input, &operand) in step.inputs.iter().enumerate() {
            let Operand::Buffer(buffer) = operand else { continue };
            if !reverse.active.contains(&buffer) {
                continue;
            }
            match step.kernel.gradient(input) {
                Gradient::Zero if is_straight(step, straight) => {
                    reverse.add(buffer, gradient, &step.node)?;
                }
                Gradient::Zero => {}
                Gradient::Unknown => {
                    partial.insert(buffer);
                    stops.insert((step.node.clone(), step.kernel.row().name));
                }
                Gradient::Calls(calls) => {
                    let part = reverse.emit(step, gradient, &calls)?;
                    reverse.add(buffer, part, &step.node)?;
                }
            }
        }
        if step.kernel.overwrites() {
            stops.insert((step.node.clone(), step.kernel.row().name));
            partial.insert(step.output);
            reverse.sums.remove(&step.output);
        }
    }
    let operands = wanted.iter().map(|buffer| reverse.sums.get(buffer).copied()).collect();
    let partial = wanted.iter().map(|buffer| partial.contains(buffer)).collect();
    Ok(Gradients { operands, stops, partial })
}

/// Returns the buffers that a step reads through inputs that have a gradient, known or not.
fn differentiable(step: &Step, straight: &BTreeSet<String>) -> impl Iterator<Item = BufferId> {
    let passes =
        move |input| is_straight(step, straight) || !matches!(step.kernel.gradient(input), Gradient::Zero);
    step.inputs.iter().enumerate().filter_map(move |(input, operand)| match operand {
        Operand::Buffer(buffer) if passes(input) => Some(*buffer),
        Operand::Buffer(_) | Operand::Constant(_) => None,
    })
}

/// Returns whether a step rounds one array and lets gradients pass.
fn is_straight(step: &Step, straight: &BTreeSet<String>) -> bool {
    step.inputs.len() == 1 && straight.contains(&step.node)
}

/// Returns the buffers that depend on `wanted` through inputs that have a gradient.
fn active(steps: &[Step], wanted: &[BufferId], straight: &BTreeSet<String>) -> BTreeSet<BufferId> {
    let mut active: BTreeSet<BufferId> = wanted.iter().copied().collect();
    for step in steps {
        if differentiable(step, straight).any(|buffer| active.contains(&buffer)) {
            active.insert(step.output);
        }
    }
    active
}

/// A plan to which gradients are appended.
struct Reverse<'a> {
    plan: &'a mut Plan,
    active: BTreeSet<BufferId>,
    /// The sum of the gradients that have reached each buffer.
    sums: BTreeMap<BufferId, Operand>,
}

impl Reverse<'_> {
    /// Appends a call that writes a new buffer.
    fn call(&mut self, kernel: Arc<dyn Kernel>, inputs: Vec<Operand>, node: &str) -> Operand {
        self.plan.buffers.push(kernel.output_len());
        let output = self.plan.buffers.len() - 1;
        self.plan.steps.push(Step { kernel, inputs, output, node: node.to_owned(), value: None });
        Operand::Buffer(output)
    }

    /// Appends the calls of a gradient, and returns its operand.
    fn emit(&mut self, step: &Step, gradient: Operand, calls: &GradientCalls) -> Result<Operand> {
        let first = self.plan.buffers.len();
        self.plan.buffers.extend(&calls.temps);
        for call in &calls.calls {
            let inputs = call.inputs.iter().map(|operand| self.operand(step, gradient, first, operand));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            let (kernel, output) = (Arc::clone(&call.kernel), first + call.output);
            self.plan.steps.push(Step { kernel, inputs, output, node: step.node.clone(), value: None });
        }
        self.operand(step, gradient, first, &calls.result)
    }

    fn operand(
        &mut self,
        step: &Step,
        gradient: Operand,
        first: BufferId,
        operand: &GradientOperand,
    ) -> Result<Operand> {
        Ok(match operand {
            GradientOperand::Input(input) => *step.inputs.get(*input).ok_or_else(|| {
                Error::new("a gradient reads an input that the call does not have")
                    .node(&step.node)
                    .internal()
            })?,
            GradientOperand::Output => Operand::Buffer(step.output),
            GradientOperand::OutputGradient => gradient,
            GradientOperand::Temp(temp) => Operand::Buffer(first + temp),
            GradientOperand::Constant(data) => {
                self.plan.constants.push(data.clone());
                Operand::Constant(self.plan.constants.len() - 1)
            }
        })
    }

    /// Adds a part to the gradient of a buffer.
    fn add(&mut self, buffer: BufferId, part: Operand, node: &str) -> Result<()> {
        let sum = match self.sums.get(&buffer) {
            None => part,
            Some(&sum) => {
                let len = [self.plan.buffers[buffer]];
                let add = BinaryKernel::new(BinaryOp::Add, &len, &len, Activation::None)
                    .ok_or_else(|| Error::new("gradients of one buffer do not fit").internal())?;
                self.call(Arc::new(add), vec![sum, part], node)
            }
        };
        self.sums.insert(buffer, sum);
        Ok(())
    }
}
