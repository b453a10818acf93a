//! Gradients of elementwise functions of two arrays, as calls over the output's shape whose results are summed over
//! broadcast axes.

use super::{BinaryKernel, BinaryOp};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::activation_gradient::ActivationGradient;
use crate::kernels::elementwise::broadcast_gradient::sum_copies;
use crate::kernels::elementwise::select::Select;
use crate::kernels::elementwise::unary::Unary;
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::layout;

/// An operand with its strides over the output's shape and its number of elements.
type Strided = (GradientOperand, Vec<isize>, usize);

/// Collects the calls over the output's shape.
struct Calls<'a> {
    kernel: &'a BinaryKernel,
    builder: GradientBuilder,
}

impl Calls<'_> {
    /// The first operand of the differentiated call.
    fn a(&self) -> Strided {
        (GradientOperand::Input(0), self.kernel.a_strides.clone(), self.kernel.a_len)
    }

    /// The second operand of the differentiated call.
    fn b(&self) -> Strided {
        (GradientOperand::Input(1), self.kernel.b_strides.clone(), self.kernel.b_len)
    }

    /// An operand of the output's shape.
    fn full(&self, operand: GradientOperand) -> Strided {
        let shape = &self.kernel.shape;
        (operand, layout::broadcast_strides(shape, shape), shape.iter().product())
    }

    /// A number for all elements.
    fn number(&self, value: f32) -> Strided {
        let one = GradientOperand::Constant(std::sync::Arc::new(vec![value]));
        (one, vec![0; self.kernel.shape.len()], 1)
    }

    /// Adds a call over the output's shape.
    fn binary(&mut self, op: BinaryOp, a: Strided, b: Strided, activation: Activation) -> Strided {
        let kernel = BinaryKernel {
            op,
            shape: self.kernel.shape.clone(),
            a_strides: a.1,
            b_strides: b.1,
            a_len: a.2,
            b_len: b.2,
            activation,
        };
        let result = self.builder.call(kernel, vec![a.0, b.0]);
        self.full(result)
    }

    /// Adds the product of two operands.
    fn product(&mut self, a: Strided, b: Strided) -> Strided {
        self.binary(BinaryOp::Mul, a, b, Activation::None)
    }

    /// Adds a function of an operand, which keeps its strides.
    fn unary(&mut self, activation: Activation, x: Strided) -> Strided {
        (self.builder.call(Unary { len: x.2, activation }, vec![x.0]), x.1, x.2)
    }

    /// Adds a selection of `a` where `condition` is not zero, else of `b`.
    fn select(&mut self, condition: Strided, a: Strided, b: Strided) -> Strided {
        let kernel = Select {
            shape: self.kernel.shape.clone(),
            strides: [condition.1, a.1, b.1],
            lens: [condition.2, a.2, b.2],
        };
        let result = self.builder.call(kernel, vec![condition.0, a.0, b.0]);
        self.full(result)
    }

    /// Gradient of operand `input` over the output's shape, from the gradient before the activation; `None` for zero.
    fn of(&mut self, input: usize, gy: Strided) -> Option<Strided> {
        use BinaryOp::{Add, Div, FMod, Greater, GreaterOrEqual, Less, LessOrEqual, Max, Min, Mod, Mul};
        use BinaryOp::{PRelu, Pow, Sub};
        let (a, b) = (self.a(), self.b());
        let first = input == 0;
        Some(match self.kernel.op {
            Add => gy,
            Sub | Mod | FMod if first => gy,
            Sub => self.unary(Activation::Neg, gy),
            Mul => self.product(gy, if first { b } else { a }),
            Div if first => self.binary(Div, gy, b, Activation::None),
            Div => {
                // -a / b², in an order that does not overflow.
                let quotient = self.binary(Div, a, b.clone(), Activation::Neg);
                let quotient = self.binary(Div, quotient, b, Activation::None);
                self.product(gy, quotient)
            }
            op @ (Max | Min) => {
                // Equal operands share the gradient.
                let (over, not_under) =
                    if (op == Max) == first { (Greater, GreaterOrEqual) } else { (Less, LessOrEqual) };
                let over = self.binary(over, a.clone(), b.clone(), Activation::None);
                let not_under = self.binary(not_under, a, b, Activation::None);
                let share = self.binary(Add, over, not_under, Activation::HardSigmoid(0.5, 0.0));
                self.product(gy, share)
            }
            Pow if first => {
                let one = self.number(1.0);
                let exponent = self.binary(Sub, b.clone(), one, Activation::None);
                let power = self.binary(Pow, a, exponent, Activation::None);
                let derivative = self.product(power, b.clone());
                let gradient = self.product(gy, derivative);
                let zero = self.number(0.0);
                self.select(b, gradient, zero)
            }
            Pow => {
                let power = self.binary(Pow, a.clone(), b, Activation::None);
                let log = self.unary(Activation::Log, a.clone());
                let derivative = self.product(power, log);
                let gradient = self.product(gy, derivative);
                let zero = self.number(0.0);
                self.select(a, gradient, zero)
            }
            op @ (Mod | FMod) => {
                let whole = if op == Mod { Activation::Floor } else { Activation::Trunc };
                let times = self.binary(Div, a, b, whole);
                let gradient = self.product(gy, times);
                self.unary(Activation::Neg, gradient)
            }
            PRelu if first => {
                let positive = self.unary(Activation::ThresholdedRelu(0.0), a);
                let one = self.number(1.0);
                let slope = self.select(positive, one, b);
                self.product(gy, slope)
            }
            PRelu => {
                let negative = self.unary(Activation::Clip(f32::NEG_INFINITY, 0.0), a);
                self.product(gy, negative)
            }
            _ => return None,
        })
    }
}

impl BinaryKernel {
    /// The gradient of an operand.
    pub(super) fn gradient_of(&self, input: usize) -> Gradient {
        let plain = Self { activation: Activation::None, ..self.clone() };
        let mut calls = Calls { kernel: &plain, builder: GradientBuilder::default() };
        let gy = GradientOperand::OutputGradient;
        let gy = ActivationGradient::through(&mut calls.builder, self.activation, plain.clone(), gy);
        let gy = calls.full(gy);
        let Some((copies, ..)) = calls.of(input, gy) else { return Gradient::Zero };
        let (_, strides, len) = if input == 0 { calls.a() } else { calls.b() };
        match sum_copies(&mut calls.builder, copies, &self.shape, len, &strides) {
            Some(gradient) => calls.builder.finish(gradient),
            None => Gradient::Unknown,
        }
    }
}
