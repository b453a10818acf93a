//! Pointwise operators of several inputs with NumPy broadcasting, from Add to Where.

use std::sync::Arc;

use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, broadcast};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Select;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::tensor::{DType, show};

#[derive(Debug)]
struct Binary(BinaryOp);

#[derive(Debug)]
struct Where;

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name(_: &Build) -> Result<Box<dyn Operator>> {
            Ok(Box::new(Binary(BinaryOp::$op)))
        }
    )*};
}

binary! {
    /// Builds Add: a + b, with broadcasting.
    add => Add;
    /// Builds Sub: a − b, with broadcasting.
    sub => Sub;
    /// Builds Mul: a·b, with broadcasting.
    mul => Mul;
    /// Builds Div: a / b, with broadcasting.
    div => Div;
    /// Builds Pow: aᵇ, with broadcasting.
    pow => Pow;
    /// Builds Equal: a = b, with broadcasting.
    equal => Equal;
    /// Builds Less: a < b, with broadcasting.
    less => Less;
    /// Builds Greater: a > b, with broadcasting.
    greater => Greater;
    /// Builds And: both inputs true, with broadcasting.
    and => And;
    /// Builds Or: either input true, with broadcasting.
    or => Or;
    /// Builds Xor: exactly one input true, with broadcasting.
    xor => Xor;
    /// Builds LessOrEqual: a ≤ b, with broadcasting.
    less_or_equal => LessOrEqual;
    /// Builds GreaterOrEqual: a ≥ b, with broadcasting.
    greater_or_equal => GreaterOrEqual;
    /// Builds PRelu: x, or slope·x for x < 0.
    prelu => PRelu;
}

/// The operators Max, Min, Sum and Mean, over any number of inputs.
#[derive(Debug)]
struct Variadic {
    op: BinaryOp,
    mean: bool,
}

macro_rules! chain {
    ($($(#[$doc:meta])* $name:ident => $op:ident, $mean:expr;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name(_: &Build) -> Result<Box<dyn Operator>> {
            Ok(Box::new(Variadic { op: BinaryOp::$op, mean: $mean }))
        }
    )*};
}

chain! {
    /// Builds Max: the elementwise maximum of several inputs.
    max => Max, false;
    /// Builds Min: the elementwise minimum of several inputs.
    min => Min, false;
    /// Builds Sum: the elementwise sum of several inputs.
    sum => Add, false;
    /// Builds Mean: the elementwise mean of several inputs.
    mean => Add, true;
}

/// Builds Mod: the remainder of a / b, with the sign of b, or of a if `fmod`.
pub(super) fn modulo(build: &Build) -> Result<Box<dyn Operator>> {
    let c_like = build.attrs.int_or("fmod", 0)? != 0;
    Ok(Box::new(Binary(if c_like { BinaryOp::FMod } else { BinaryOp::Mod })))
}

/// Builds Where: a if a condition is true, else b.
pub(super) fn select(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Where))
}

impl Operator for Binary {
    fn fuses_activation(&self, _inputs: &Inputs) -> bool {
        true
    }

    fn parameters(&self) -> Vec<usize> {
        if self.0 == BinaryOp::PRelu { vec![1] } else { vec![] }
    }

    fn is_elementwise_add(&self, inputs: &Inputs) -> bool {
        self.0 == BinaryOp::Add && are_two_of_one_shape(inputs)
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let dtype = match self.0 {
            BinaryOp::Equal
            | BinaryOp::Less
            | BinaryOp::LessOrEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterOrEqual
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor => DType::Bool,
            _ => a.dtype,
        };
        let shape = broadcast(&a.shape, &b.shape)?;
        if self.0 == BinaryOp::PRelu && shape != a.shape {
            return Err(Error::new("the slope of PRelu does not broadcast to its input")
                .expected(show(&a.shape))
                .got(show(&b.shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(vec![Fact::new(dtype, &shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (a, b) = (l.inputs.get(0)?, l.inputs.get(1)?);
        let op = match self.0 {
            BinaryOp::Div if !a.dtype.is_float() => BinaryOp::IntDiv,
            op => op,
        };
        let kernel = BinaryKernel::new(op, &a.shape, &b.shape, l.fused.activation)
            .ok_or_else(|| too_many_axes(&[&a.shape, &b.shape]))?;
        l.call(kernel, vec![Slot::Input(0), Slot::Input(1)], Slot::Output(0));
        Ok(())
    }

    fn is_pointwise(&self) -> bool {
        true
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        flow.pointwise();
        Ok(())
    }
}

/// Returns whether there are two inputs of equal shape.
fn are_two_of_one_shape(inputs: &Inputs) -> bool {
    matches!(inputs.facts[..], [Some(a), Some(b)] if a.shape == b.shape)
}

impl Operator for Variadic {
    fn is_elementwise_add(&self, inputs: &Inputs) -> bool {
        self.op == BinaryOp::Add && !self.mean && are_two_of_one_shape(inputs)
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let first = inputs.get(0)?;
        let mut shape = first.shape.clone();
        for i in 1..inputs.facts.len() {
            shape = broadcast(&shape, &inputs.get(i)?.shape)?;
        }
        Ok(vec![first.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let count = l.inputs.facts.len();
        let mut shape = l.inputs.get(0)?.shape.clone();
        let mut result = Slot::Input(0);
        for i in 1..count {
            let next = &l.inputs.get(i)?.shape;
            let kernel = BinaryKernel::new(self.op, &shape, next, Activation::None)
                .ok_or_else(|| too_many_axes(&[&shape, next]))?;
            shape = broadcast(&shape, next)?;
            let target =
                if i + 1 == count && !self.mean { Slot::Output(0) } else { l.temp(shape.iter().product()) };
            l.call(kernel, vec![result, Slot::Input(i)], target.clone());
            result = target;
        }
        if self.mean && count > 1 {
            let share = Slot::Constant(Arc::new(vec![(1.0 / count as f64) as f32]));
            let kernel = BinaryKernel::new(BinaryOp::Mul, &shape, &[1], Activation::None)
                .ok_or_else(|| too_many_axes(&[&shape]))?;
            l.call(kernel, vec![result, share], Slot::Output(0));
        } else if count == 1 {
            l.alias(0, Slot::Input(0));
        }
        Ok(())
    }

    fn is_pointwise(&self) -> bool {
        true
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        flow.pointwise();
        Ok(())
    }
}

impl Operator for Where {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (condition, a, b) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        Ok(vec![a.with_shape(&broadcast(&condition.shape, &broadcast(&a.shape, &b.shape)?)?)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (condition, a, b) = (l.inputs.get(0)?, l.inputs.get(1)?, l.inputs.get(2)?);
        let kernel = Select::new(&condition.shape, &a.shape, &b.shape)
            .ok_or_else(|| too_many_axes(&[&condition.shape, &a.shape, &b.shape]))?;
        l.call(kernel, vec![Slot::Input(0), Slot::Input(1), Slot::Input(2)], Slot::Output(0));
        Ok(())
    }

    fn is_pointwise(&self) -> bool {
        true
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        flow.pointwise();
        Ok(())
    }
}

fn too_many_axes(shapes: &[&[usize]]) -> Error {
    Error::new("a broadcast over more axes than the engine supports")
        .expected("at most 6 axes after joining")
        .got(shapes.iter().map(|s| show(s)).collect::<Vec<_>>().join(" and "))
        .unsupported()
}
