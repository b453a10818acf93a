//! Integer weights in training: the network computes with rounded weights, and gradients pass the rounding unchanged.

use std::collections::BTreeSet;

use super::objective::Calls;
use super::parameters::Parameter;
use super::quantization::Quantization;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp, Unary};
use crate::plan::{BufferId, Operand, Plan};
use crate::tensor::Tensor;

/// Rounds the quantized parameters of a plan in front of all other steps.
///
/// Returns the names of the nodes through whose rounding gradients pass unchanged (Bengio 2013): those of the parameters,
/// and every QuantizeLinear of the network.
///
/// # Errors
/// A scale that does not broadcast to its parameter.
pub(super) fn round_parameters(
    plan: &mut Plan,
    graph: &Graph,
    parameters: &[Parameter],
) -> Result<BTreeSet<String>> {
    let quantizes = |id: &_| graph.nodes[*id].op_type == "QuantizeLinear";
    let mut straight: BTreeSet<String> =
        graph.nodes.ids().filter(quantizes).map(|id| graph.nodes[id].name.clone()).collect();
    for parameter in parameters {
        let Some(quantization) = &parameter.quantization else { continue };
        let port = plan.inputs.iter().find(|port| port.name == parameter.input);
        let Some(Operand::Buffer(buffer)) = port.map(|port| port.place) else { continue };
        let steps = std::mem::take(&mut plan.steps);
        let rounded = round(plan, quantization, (buffer, &parameter.initial.shape))?;
        let node = format!("rounding of \"{}\"", parameter.name);
        plan.steps.iter_mut().for_each(|step| step.node.clone_from(&node));
        straight.insert(node);
        plan.steps.extend(steps.into_iter().map(|mut step| {
            let operands = step.inputs.iter_mut().filter(|operand| **operand == Operand::Buffer(buffer));
            operands.for_each(|operand| *operand = rounded);
            step
        }));
    }
    Ok(straight)
}

/// Appends the rounding of a parameter to multiples of its scale.
fn round(plan: &mut Plan, of: &Quantization, (buffer, shape): (BufferId, &[usize])) -> Result<Operand> {
    let len = shape.iter().product();
    let mut calls = Calls { plan, node: "rounding" };
    let numbers = |tensor: &Tensor| tensor.to_f64().iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let (scale, zero) = (calls.constant(numbers(&of.scale)), calls.constant(numbers(&of.zero)));
    let with = |op| {
        BinaryKernel::new(op, shape, &of.shape, Activation::None)
            .ok_or_else(|| Error::new("the scale of a quantization does not fit").internal())
    };
    let unary = |activation| Unary { len, activation };
    let scaled = calls.call(with(BinaryOp::Div)?, vec![Operand::Buffer(buffer), scale]);
    let rounded = calls.call(unary(Activation::Round), vec![scaled]);
    let shifted = calls.call(with(BinaryOp::Add)?, vec![rounded, zero]);
    let (low, high) = of.range;
    let clipped = calls.call(unary(Activation::Clip(low as f32, high as f32)), vec![shifted]);
    let centered = calls.call(with(BinaryOp::Sub)?, vec![clipped, zero]);
    Ok(calls.call(with(BinaryOp::Mul)?, vec![centered, scale]))
}
