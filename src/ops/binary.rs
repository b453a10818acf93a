//! Pointwise functions of two or three inputs with NumPy broadcasting, from Add to Where.

use std::sync::Arc;

use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::dye::flow::Flow;
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::{Fact, Inputs, broadcast};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{Binary as BinaryKernel, BinaryOp};
use crate::kernels::elementwise::Select;
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
    /// Builds an Add.
    add => Add;
    /// Builds a Sub.
    sub => Sub;
    /// Builds a Mul.
    mul => Mul;
    /// Builds a Div.
    div => Div;
    /// Builds a Pow.
    pow => Pow;
    /// Builds an Equal.
    equal => Equal;
    /// Builds a Less.
    less => Less;
    /// Builds a Greater.
    greater => Greater;
    /// Builds an And.
    and => And;
    /// Builds an Or.
    or => Or;
    /// Builds a Xor.
    xor => Xor;
    /// Builds a LessOrEqual.
    less_or_equal => LessOrEqual;
    /// Builds a GreaterOrEqual.
    greater_or_equal => GreaterOrEqual;
    /// Builds a PRelu.
    prelu => PRelu;
}

/// Max, Min, Sum and Mean: one function over any number of inputs.
#[derive(Debug)]
struct Chain {
    op: BinaryOp,
    mean: bool,
}

macro_rules! chain {
    ($($(#[$doc:meta])* $name:ident => $op:ident, $mean:expr;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name(_: &Build) -> Result<Box<dyn Operator>> {
            Ok(Box::new(Chain { op: BinaryOp::$op, mean: $mean }))
        }
    )*};
}

chain! {
    /// Builds a Max.
    max => Max, false;
    /// Builds a Min.
    min => Min, false;
    /// Builds a Sum.
    sum => Add, false;
    /// Builds a Mean.
    mean => Add, true;
}

/// Builds a Mod.
pub(super) fn modulo(build: &Build) -> Result<Box<dyn Operator>> {
    let c_like = build.attrs.int_or("fmod", 0)? != 0;
    Ok(Box::new(Binary(if c_like { BinaryOp::FMod } else { BinaryOp::Mod })))
}

/// Builds a Where.
pub(super) fn select(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Where))
}

impl Operator for Binary {
    fn fuses_activation(&self, _inputs: &Inputs) -> bool {
        true
    }

    fn adds(&self, inputs: &Inputs) -> bool {
        self.0 == BinaryOp::Add && are_two_alike(inputs)
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
                .got(show(&b.shape)));
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

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        flow.pointwise();
        Ok(())
    }
}

/// Whether two inputs are all, and have one shape.
fn are_two_alike(inputs: &Inputs) -> bool {
    matches!(inputs.facts[..], [Some(a), Some(b)] if a.shape == b.shape)
}

impl Operator for Chain {
    fn adds(&self, inputs: &Inputs) -> bool {
        self.op == BinaryOp::Add && !self.mean && are_two_alike(inputs)
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
        let mut whole = Slot::Input(0);
        for i in 1..count {
            let next = &l.inputs.get(i)?.shape;
            let kernel = BinaryKernel::new(self.op, &shape, next, Activation::None)
                .ok_or_else(|| too_many_axes(&[&shape, next]))?;
            shape = broadcast(&shape, next)?;
            let target =
                if i + 1 == count && !self.mean { Slot::Output(0) } else { l.temp(shape.iter().product()) };
            l.call(kernel, vec![whole, Slot::Input(i)], target.clone());
            whole = target;
        }
        if self.mean && count > 1 {
            let share = Slot::Constant(Arc::new(vec![(1.0 / count as f64) as f32]));
            let kernel = BinaryKernel::new(BinaryOp::Mul, &shape, &[1], Activation::None)
                .ok_or_else(|| too_many_axes(&[&shape]))?;
            l.call(kernel, vec![whole, share], Slot::Output(0));
        } else if count == 1 {
            l.alias(0, Slot::Input(0));
        }
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
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

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        flow.pointwise();
        Ok(())
    }
}

fn too_many_axes(shapes: &[&[usize]]) -> Error {
    Error::new("a broadcast over more axes than the engine knows")
        .expected("at most 6 axes after joining")
        .got(shapes.iter().map(|s| show(s)).collect::<Vec<_>>().join(" and "))
        .remedy(LEAVE_OUT)
}
