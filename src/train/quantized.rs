//! Integer weights in training: the network computes with rounded weights, and gradients pass the rounding unchanged.

use std::collections::BTreeSet;

use super::objective::Calls;
use super::parameters::Parameter;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp, Unary};
use crate::plan::{BufferId, Operand, Plan};
use crate::tensor::{DType, Tensor};

/// The quantization of a parameter, `q = round(w / scale) + zero`, saturated.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// Integer type of the initializer.
    pub dtype: DType,
    /// Shape in which scale and zero point broadcast to the parameter.
    shape: Vec<usize>,
    scale: Tensor,
    zero: Tensor,
    /// Smallest and largest integer.
    range: (f64, f64),
}

impl Quantization {
    /// Returns the quantization of the integers from which a DequantizeLinear computes `value`, and the integers.
    pub(super) fn of(graph: &Graph, facts: &Facts, value: ValueId) -> Option<(ValueId, Self)> {
        let node = graph.values[value].producer?;
        let shape = graph.nodes[node].op.dequantization(&facts.inputs(graph, node))?;
        let input = |i: usize| graph.nodes[node].inputs.get(i).copied().flatten();
        let constant = |v: ValueId| facts.get(v).and_then(|fact| fact.value.clone());
        let integers = input(0)?;
        let dtype = graph.values[integers].constant.as_ref()?.dtype;
        let range = match dtype {
            DType::I8 => (-128.0, 127.0),
            DType::U8 => (0.0, 255.0),
            DType::I16 => (-32_768.0, 32_767.0),
            DType::U16 => (0.0, 65_535.0),
            DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            _ => return None,
        };
        let scale = constant(input(1)?)?;
        let zero = match input(2) {
            Some(zero) => constant(zero)?,
            None => Tensor::from_f64(dtype, &scale.shape, &vec![0.0; scale.len()]),
        };
        Some((integers, Self { dtype, shape, scale, zero, range }))
    }

    /// Returns the integers nearest to a parameter.
    pub fn quantize(&self, parameter: &Tensor) -> Tensor {
        let (scale, zero) = (self.scale.to_f64(), self.zero.to_f64());
        // At most one axis is longer than 1.
        let at = self.shape.iter().position(|&n| n > 1);
        let inner: usize = at.map_or(1, |at| parameter.shape[at + 1..].iter().product());
        let count = scale.len().max(1);
        let integer = |(i, w): (usize, f64)| {
            let channel = if at.is_some() { i / inner % count } else { 0 };
            let (low, high) = self.range;
            ((w / scale[channel]).round_ties_even() + zero[channel]).clamp(low, high)
        };
        let integers: Vec<f64> = parameter.to_f64().into_iter().enumerate().map(integer).collect();
        Tensor::from_f64(self.dtype, &parameter.shape, &integers)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_the_nearest_and_saturate() {
        let of = Quantization {
            dtype: DType::I8,
            shape: vec![2, 1],
            scale: Tensor::float(&[2], vec![0.5, 0.25]),
            zero: Tensor::from_f64(DType::I8, &[2], &[0.0, 3.0]),
            range: (-128.0, 127.0),
        };
        let parameter = Tensor::float(&[2, 3], vec![0.7, -0.25, 1000.0, 0.7, -0.25, -1000.0]);
        let integers = of.quantize(&parameter);
        assert_eq!(integers.dtype, DType::I8);
        assert_eq!(integers.to_f64(), [1.0, 0.0, 127.0, 6.0, 2.0, -128.0]);
    }
}
