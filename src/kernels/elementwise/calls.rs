//! Elementwise calls of gradients, by the shapes of their operands.

use std::sync::Arc;

use crate::kernels::activation::Activation;
use crate::kernels::elementwise::binary::{BinaryKernel, BinaryOp};
use crate::kernels::gradient::{GradientBuilder, GradientOperand};

/// A constant operand of one element.
pub(crate) fn number(value: f32) -> GradientOperand {
    GradientOperand::Constant(Arc::new(vec![value]))
}

/// Adds a function of two operands, given with their shapes, and returns its result.
///
/// # Panics
/// If the shapes do not broadcast, or if more than six axes remain after merging.
pub(crate) fn binary(
    builder: &mut GradientBuilder,
    op: BinaryOp,
    (a, a_shape): (GradientOperand, &[usize]),
    (b, b_shape): (GradientOperand, &[usize]),
    activation: Activation,
) -> GradientOperand {
    let kernel = BinaryKernel::new(op, a_shape, b_shape, activation);
    builder.call(kernel.expect("shapes of six axes at most that broadcast"), vec![a, b])
}
