//! Gradients of reductions, as calls of elementwise functions.

use super::{ReduceKernel, ReduceOp};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::calls::{binary, number};
use crate::kernels::elementwise::{BinaryOp, Select, Unary};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::Kernel;
use crate::kernels::movement::Copy;

/// Returns the gradient of the input.
pub(super) fn of(kernel: &ReduceKernel) -> Gradient {
    let mut calls = Calls { kernel, builder: GradientBuilder::default() };
    let gx = calls.of();
    calls.builder.finish(gx)
}

/// An operand and the number of its elements.
enum Operand {
    /// An element for each one of the input.
    Long(GradientOperand),
    /// An element for each one of the output.
    Short(GradientOperand),
    /// A constant for all elements.
    Number(f32),
}

/// Collects the calls of a gradient.
struct Calls<'a> {
    kernel: &'a ReduceKernel,
    builder: GradientBuilder,
}

impl Calls<'_> {
    /// Adds a function of two operands, each with as many elements as the input or as the output, or with one.
    fn binary(&mut self, op: BinaryOp, a: Operand, b: Operand, activation: Activation) -> GradientOperand {
        let ReduceKernel { outer, axis, inner, .. } = *self.kernel;
        let shape = |operand: &Operand| match operand {
            Operand::Long(_) => vec![outer, axis, inner],
            Operand::Short(_) => vec![outer, 1, inner],
            Operand::Number(_) => vec![],
        };
        let (a_shape, b_shape) = (shape(&a), shape(&b));
        let operand = |operand| match operand {
            Operand::Long(operand) | Operand::Short(operand) => operand,
            Operand::Number(value) => number(value),
        };
        binary(&mut self.builder, op, (operand(a), &a_shape), (operand(b), &b_shape), activation)
    }

    /// Adds a function of the input's elements.
    fn unary(&mut self, activation: Activation) -> GradientOperand {
        let len = self.kernel.input_lens()[0];
        self.builder.call(Unary { len, activation }, vec![GradientOperand::Input(0)])
    }

    /// Adds another reduction of the axis.
    fn reduce(&mut self, op: ReduceOp, x: GradientOperand) -> GradientOperand {
        self.builder.call(ReduceKernel { op, ..self.kernel.clone() }, vec![x])
    }

    /// Adds a selection over `len` elements of `a` where `condition` is not zero, else of a number.
    fn select(
        &mut self,
        len: usize,
        condition: GradientOperand,
        a: GradientOperand,
        b: f32,
    ) -> GradientOperand {
        let kernel = Select::new(&[len], &[len], &[1]).expect("one axis");
        self.builder.call(kernel, vec![condition, a, number(b)])
    }

    /// Adds the call that repeats a gradient along the axis.
    fn repeat(&mut self, short: GradientOperand) -> GradientOperand {
        let ReduceKernel { outer, axis, inner, .. } = *self.kernel;
        let strides = |axis_stride: usize| [axis_stride * inner.max(1), inner, 1].map(|n| n as isize);
        let [step, _, one] = strides(1);
        let copy = Copy::new(
            &[outer, axis, inner],
            outer * inner,
            0,
            &[step, 0, one],
            outer * axis * inner,
            0,
            &strides(axis),
        );
        self.builder.call(copy.expect("three axes"), vec![short])
    }

    /// The gradient of the input.
    fn of(&mut self) -> GradientOperand {
        use Operand::{Long, Short};
        let (x, y, gy) =
            (GradientOperand::Input(0), GradientOperand::Output, GradientOperand::OutputGradient);
        let plain = Activation::None;
        let outputs = self.kernel.output_len();
        match self.kernel.op {
            ReduceOp::Sum => self.repeat(gy),
            ReduceOp::Mean => {
                let share = Operand::Number((1.0 / self.kernel.axis as f64) as f32);
                let share = self.binary(BinaryOp::Mul, Short(gy), share, plain);
                self.repeat(share)
            }
            ReduceOp::Max | ReduceOp::Min => {
                // Equal elements share the gradient.
                let equal = self.binary(BinaryOp::Equal, Long(x), Short(y), plain);
                let count = self.reduce(ReduceOp::Sum, equal.clone());
                let share = self.binary(BinaryOp::Div, Short(gy), Short(count), plain);
                self.binary(BinaryOp::Mul, Long(equal), Short(share), plain)
            }
            ReduceOp::Prod => {
                // The product of the other elements: 0 if one of them is 0, else the quotient of the product of all that
                // are not 0 by the element, unless it is 0.
                let inputs = self.kernel.input_lens()[0];
                let others = self.select(inputs, x.clone(), x, 1.0);
                let product = self.reduce(ReduceOp::Prod, others.clone());
                let zero = self.unary(Activation::Not);
                let zeros = self.reduce(ReduceOp::Sum, zero.clone());
                let no_other = self.binary(BinaryOp::Sub, Short(zeros), Long(zero), Activation::Not);
                let scaled = self.binary(BinaryOp::Mul, Short(gy), Short(product), plain);
                let quotient = self.binary(BinaryOp::Div, Short(scaled), Long(others), plain);
                self.binary(BinaryOp::Mul, Long(quotient), Long(no_other), plain)
            }
            ReduceOp::L2 => {
                // 0 at a norm of 0.
                let share = self.binary(BinaryOp::Div, Short(gy), Short(y.clone()), plain);
                let share = self.select(outputs, y, share, 0.0);
                self.binary(BinaryOp::Mul, Long(x), Short(share), plain)
            }
            ReduceOp::SumSquare => {
                let share = self.binary(BinaryOp::Mul, Short(gy), Operand::Number(2.0), plain);
                self.binary(BinaryOp::Mul, Long(x), Short(share), plain)
            }
            ReduceOp::L1 => {
                let sign = self.unary(Activation::Sign);
                self.binary(BinaryOp::Mul, Long(sign), Short(gy), plain)
            }
        }
    }
}
