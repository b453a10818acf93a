//! The gradient of a broadcast operand, from the gradient of its copies.

use crate::kernels::gradient::{GradientBuilder, GradientOperand};
use crate::kernels::movement::CopyGradient;

/// Adds the call that sums the gradients `gy`, over `shape`, of the copies of an operand; none if it is not broadcast.
///
/// `len` and `strides` are those of the operand; a stride is 0 where it is broadcast. Returns `None` if the operand's
/// elements are not in the order of `shape`.
pub(super) fn sum_copies(
    builder: &mut GradientBuilder,
    gy: GradientOperand,
    shape: &[usize],
    len: usize,
    strides: &[isize],
) -> Option<GradientOperand> {
    let mut dense = 1;
    for (&size, &stride) in shape.iter().zip(strides).rev().filter(|&(_, &stride)| stride != 0) {
        if stride != dense {
            return None;
        }
        dense *= size as isize;
    }
    if dense as usize != len {
        return None;
    }
    if len == shape.iter().product::<usize>() {
        return Some(gy);
    }
    Some(builder.call(CopyGradient::of_broadcast(shape, len, strides)?, vec![gy]))
}
