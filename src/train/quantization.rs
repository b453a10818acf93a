//! The quantization of integer weights.

use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::tensor::{DType, Tensor};

/// The quantization of a parameter, `q = round(w / scale) + zero`, saturated.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantization {
    /// Integer type of the initializer.
    pub dtype: DType,
    /// Shape in which scale and zero point broadcast to the parameter.
    pub(super) shape: Vec<usize>,
    pub(super) scale: Tensor,
    pub(super) zero: Tensor,
    /// Smallest and largest integer.
    pub(super) range: (f64, f64),
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
