//! Pointwise functions of two or three inputs with NumPy broadcasting, from Add to Where.

use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::dye::flow::Flow;
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs, broadcast};
use crate::kernels::activation::Activation;
use crate::kernels::binary::{Binary as BinaryKernel, BinaryOp};
use crate::kernels::select::Select;
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
}

/// Builds a Mod.
pub(super) fn modulo(build: &Build) -> Result<Box<dyn Operator>> {
    if build.attrs.int_or("fmod", 0)? != 0 {
        return Err(Error::new("Mod with fmod is not supported").expected("fmod = 0").got("fmod = 1"));
    }
    Ok(Box::new(Binary(BinaryOp::Mod)))
}

/// Builds a Where.
pub(super) fn select(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Where))
}

impl Operator for Binary {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let dtype = match self.0 {
            BinaryOp::Equal | BinaryOp::Less | BinaryOp::Greater | BinaryOp::And | BinaryOp::Or => {
                DType::Bool
            }
            _ => a.dtype,
        };
        Ok(vec![Fact::new(dtype, &broadcast(&a.shape, &b.shape)?)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (a, b) = (l.inputs.get(0)?, l.inputs.get(1)?);
        let op = match self.0 {
            BinaryOp::Div if !a.dtype.is_float() => BinaryOp::IntDiv,
            op => op,
        };
        let kernel = BinaryKernel::new(op, &a.shape, &b.shape, Activation::None)
            .ok_or_else(|| too_many_axes(&[&a.shape, &b.shape]))?;
        l.call(kernel, vec![Slot::Input(0), Slot::Input(1)], Slot::Output(0));
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
}
