//! Pointwise functions of one input, from Relu to Cast.

use super::lower::{Lowering, Slot, same_type};
use super::{Build, Operator};
use crate::dye::flow::Flow;
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Unary;
use crate::tensor::DType;

/// A function with parameters that are known from the attributes.
#[derive(Debug)]
struct Pointwise(Activation);

/// Clip takes its bounds as inputs from opset 11 on.
#[derive(Debug)]
struct Clip {
    attributes: Option<(f32, f32)>,
}

/// The type changes, the numbers stay (toward zero, for integers).
#[derive(Debug)]
struct Cast {
    to: DType,
}

macro_rules! pointwise {
    ($($(#[$doc:meta])* $name:ident => $activation:expr;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name(_: &Build) -> Result<Box<dyn Operator>> {
            Ok(Box::new(Pointwise($activation)))
        }
    )*};
}

pointwise! {
    /// Builds a Relu.
    relu => Activation::Relu;
    /// Builds a Sigmoid.
    sigmoid => Activation::Sigmoid;
    /// Builds a Tanh.
    tanh => Activation::Tanh;
    /// Builds a HardSwish.
    hard_swish => Activation::HardSwish;
    /// Builds an Exp.
    exp => Activation::Exp;
    /// Builds a Sqrt.
    sqrt => Activation::Sqrt;
    /// Builds an Abs.
    abs => Activation::Abs;
    /// Builds a Neg.
    neg => Activation::Neg;
    /// Builds a Floor.
    floor => Activation::Floor;
    /// Builds a Ceil.
    ceil => Activation::Ceil;
    /// Builds a Reciprocal.
    reciprocal => Activation::Reciprocal;
    /// Builds a Log.
    log => Activation::Log;
    /// Builds a Not.
    not => Activation::Not;
    /// Builds a Softplus.
    softplus => Activation::Softplus;
    /// Builds a Softsign.
    softsign => Activation::Softsign;
    /// Builds an Erf.
    erf => Activation::Erf;
    /// Builds a Mish.
    mish => Activation::Mish;
    /// Builds a Round.
    round => Activation::Round;
    /// Builds a Sign.
    sign => Activation::Sign;
}

/// Builds an Elu.
pub(super) fn elu(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::Elu(build.attrs.float_or("alpha", 1.0)?))))
}

/// Builds a Selu.
pub(super) fn selu(build: &Build) -> Result<Box<dyn Operator>> {
    let alpha = build.attrs.float_or("alpha", 1.673_263_2)?;
    let gamma = build.attrs.float_or("gamma", 1.050_701)?;
    Ok(Box::new(Pointwise(Activation::Selu(alpha, gamma))))
}

/// Builds a Celu.
pub(super) fn celu(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::Celu(build.attrs.float_or("alpha", 1.0)?))))
}

/// Builds a ThresholdedRelu.
pub(super) fn thresholded_relu(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::ThresholdedRelu(build.attrs.float_or("alpha", 1.0)?))))
}

/// Builds a Swish.
pub(super) fn swish(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::Swish(build.attrs.float_or("alpha", 1.0)?))))
}

/// Builds a Gelu.
pub(super) fn gelu(build: &Build) -> Result<Box<dyn Operator>> {
    let activation = match build.attrs.string("approximate")?.as_deref() {
        None | Some("none") => Activation::Gelu,
        Some("tanh") => Activation::GeluTanh,
        Some(other) => {
            return Err(Error::new("an unknown approximation of Gelu").expected("none or tanh").got(other));
        }
    };
    Ok(Box::new(Pointwise(activation)))
}

/// Builds a LeakyRelu.
pub(super) fn leaky_relu(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::LeakyRelu(build.attrs.float_or("alpha", 0.01)?))))
}

/// Builds a HardSigmoid.
pub(super) fn hard_sigmoid(build: &Build) -> Result<Box<dyn Operator>> {
    let (alpha, beta) = (build.attrs.float_or("alpha", 0.2)?, build.attrs.float_or("beta", 0.5)?);
    Ok(Box::new(Pointwise(Activation::HardSigmoid(alpha, beta))))
}

/// Builds a Clip.
pub(super) fn clip(build: &Build) -> Result<Box<dyn Operator>> {
    let attributes = if build.opset < 11 {
        Some((build.attrs.float_or("min", f32::MIN)?, build.attrs.float_or("max", f32::MAX)?))
    } else {
        None
    };
    Ok(Box::new(Clip { attributes }))
}

/// A cast to the type of a second input.
#[derive(Debug)]
struct CastLike;

/// Builds a CastLike.
pub(super) fn cast_like(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(CastLike))
}

/// Builds a Cast.
pub(super) fn cast(build: &Build) -> Result<Box<dyn Operator>> {
    let code = build.attrs.int_or("to", 0)?;
    let to = i32::try_from(code).ok().and_then(DType::from_onnx).ok_or_else(|| {
        Error::new("a Cast to a type that the engine does not know")
            .expected("a float, integer or bool type")
            .got(format!("type {code}"))
            .remedy(LEAVE_OUT)
    })?;
    Ok(Box::new(Cast { to }))
}

fn lower_unary(l: &mut Lowering, activation: Activation) {
    let len = l.shape(0).iter().product();
    l.call(Unary { len, activation }, vec![Slot::Input(0)], Slot::Output(0));
}

impl Operator for Pointwise {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        lower_unary(l, self.0);
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        flow.pointwise();
        Ok(())
    }

    fn activation(&self, _: &Inputs) -> Option<Activation> {
        Some(self.0)
    }
}

impl Clip {
    fn bounds(&self, inputs: &Inputs) -> Result<(f32, f32)> {
        if let Some(bounds) = self.attributes {
            return Ok(bounds);
        }
        let bound = |i, what, default: f32| -> Result<f32> {
            Ok(inputs.float(i, what)?.map_or(default, |v| v as f32))
        };
        Ok((bound(1, "the lower bound of Clip", f32::MIN)?, bound(2, "the upper bound of Clip", f32::MAX)?))
    }
}

impl Operator for Clip {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        self.bounds(inputs)?;
        let x = inputs.get(0)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (low, high) = self.bounds(&l.inputs)?;
        lower_unary(l, Activation::Clip(low, high));
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        flow.pointwise();
        Ok(())
    }

    fn activation(&self, inputs: &Inputs) -> Option<Activation> {
        self.bounds(inputs).ok().map(|(low, high)| Activation::Clip(low, high))
    }
}

impl Operator for Cast {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        Ok(vec![Fact::new(self.to, &inputs.get(0)?.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let from = same_type(&l.inputs)?;
        if self.to == DType::Bool && from != DType::Bool {
            lower_unary(l, Activation::Truth);
        } else if from.is_float() && !self.to.is_float() {
            lower_unary(l, Activation::Trunc);
        } else {
            l.alias(0, Slot::Input(0));
        }
        Ok(())
    }

    fn sources(&self, _: &Inputs, along: usize) -> Option<Vec<(usize, usize)>> {
        Some(vec![(0, along)])
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        flow.pointwise();
        Ok(())
    }
}

impl CastLike {
    fn cast(inputs: &Inputs) -> Result<Cast> {
        Ok(Cast { to: inputs.get(1)?.dtype })
    }
}

impl Operator for CastLike {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        Self::cast(inputs)?.infer(inputs)
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        Self::cast(&l.inputs)?.lower(l)
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        // The second input gives its type only.
        let dyed = flow.dyed(0);
        flow.set(0, dyed);
        Ok(())
    }
}
