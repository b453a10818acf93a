//! Pointwise operators of one input, from Relu to Cast.

use super::lower::{Lowering, Slot, evaluate, same_type};
use super::{Build, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Unary;
use crate::tensor::DType;

/// An activation whose parameters are attributes.
#[derive(Debug)]
struct Pointwise(Activation);

/// The operator Clip, whose bounds are inputs since opset 11.
#[derive(Debug)]
struct Clip {
    attributes: Option<(f32, f32)>,
}

/// The operator Cast, which truncates toward zero if it converts to integers.
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
    /// Builds Relu: max(0, x), elementwise.
    relu => Activation::Relu;
    /// Builds Sigmoid: 1 / (1 + e⁻ˣ), elementwise.
    sigmoid => Activation::Sigmoid;
    /// Builds Tanh: the hyperbolic tangent, elementwise.
    tanh => Activation::Tanh;
    /// Builds HardSwish: x·HardSigmoid(x), with α = 1/6 and β = 1/2.
    hard_swish => Activation::HardSwish;
    /// Builds Exp: eˣ, elementwise.
    exp => Activation::Exp;
    /// Builds Sqrt: the square root, elementwise.
    sqrt => Activation::Sqrt;
    /// Builds Abs: the absolute value, elementwise.
    abs => Activation::Abs;
    /// Builds Neg: −x, elementwise.
    neg => Activation::Neg;
    /// Builds Floor: rounds each element down.
    floor => Activation::Floor;
    /// Builds Ceil: rounds each element up.
    ceil => Activation::Ceil;
    /// Builds Reciprocal: 1/x, elementwise.
    reciprocal => Activation::Reciprocal;
    /// Builds Log: the natural logarithm, elementwise.
    log => Activation::Log;
    /// Builds Not: the negation of truth values.
    not => Activation::Not;
    /// Builds Softplus: ln(1 + eˣ), elementwise.
    softplus => Activation::Softplus;
    /// Builds Softsign: x / (1 + |x|), elementwise.
    softsign => Activation::Softsign;
    /// Builds Erf: the error function, elementwise.
    erf => Activation::Erf;
    /// Builds Mish: x·tanh(ln(1 + eˣ)), elementwise.
    mish => Activation::Mish;
    /// Builds Round: to the nearest integer, halves to even.
    round => Activation::Round;
    /// Builds Sign: −1, 0 or 1 for each element.
    sign => Activation::Sign;
    /// Builds Sin: the sine, elementwise.
    sin => Activation::Sin;
    /// Builds Cos: the cosine, elementwise.
    cos => Activation::Cos;
    /// Builds Tan: the tangent, elementwise.
    tan => Activation::Tan;
    /// Builds Asin: the inverse sine, elementwise.
    asin => Activation::Asin;
    /// Builds Acos: the inverse cosine, elementwise.
    acos => Activation::Acos;
    /// Builds Atan: the inverse tangent, elementwise.
    atan => Activation::Atan;
    /// Builds Sinh: the hyperbolic sine, elementwise.
    sinh => Activation::Sinh;
    /// Builds Cosh: the hyperbolic cosine, elementwise.
    cosh => Activation::Cosh;
    /// Builds Asinh: the inverse hyperbolic sine, elementwise.
    asinh => Activation::Asinh;
    /// Builds Acosh: the inverse hyperbolic cosine, elementwise.
    acosh => Activation::Acosh;
    /// Builds Atanh: the inverse hyperbolic tangent, elementwise.
    atanh => Activation::Atanh;
}

/// A truth value for each element.
#[derive(Debug)]
struct Predicate(Activation);

/// Builds IsNaN: whether each element is not a number.
pub(super) fn is_nan(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Predicate(Activation::IsNan)))
}

/// Builds IsInf: whether each element is infinite, of the detected signs.
pub(super) fn is_inf(build: &Build) -> Result<Box<dyn Operator>> {
    let detects = |name| Ok::<_, Error>(if build.attrs.int_or(name, 1)? == 0 { 0.0 } else { 1.0 });
    let (above, below) = (detects("detect_positive")?, detects("detect_negative")?);
    Ok(Box::new(Predicate(Activation::IsInf(above, below))))
}

/// Builds Shrink: moves elements towards 0 by `bias`; those within ±`lambd` become 0.
pub(super) fn shrink(build: &Build) -> Result<Box<dyn Operator>> {
    let (lambda, bias) = (build.attrs.float_or("lambd", 0.5)?, build.attrs.float_or("bias", 0.0)?);
    Ok(Box::new(Pointwise(Activation::Shrink(lambda, bias))))
}

/// Builds Elu: x, or α·(eˣ − 1) for x < 0.
pub(super) fn elu(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::Elu(build.attrs.float_or("alpha", 1.0)?))))
}

/// Builds Selu: γ·x, or γ·α·(eˣ − 1) for x ≤ 0.
pub(super) fn selu(build: &Build) -> Result<Box<dyn Operator>> {
    let alpha = build.attrs.float_or("alpha", 1.673_263_2)?;
    let gamma = build.attrs.float_or("gamma", 1.050_701)?;
    Ok(Box::new(Pointwise(Activation::Selu(alpha, gamma))))
}

/// Builds Celu: max(0, x) + min(0, α·(e^(x/α) − 1)).
pub(super) fn celu(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::Celu(build.attrs.float_or("alpha", 1.0)?))))
}

/// Builds ThresholdedRelu: x if x > α, else 0.
pub(super) fn thresholded_relu(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::ThresholdedRelu(build.attrs.float_or("alpha", 1.0)?))))
}

/// Builds Swish: x·Sigmoid(α·x), elementwise.
pub(super) fn swish(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::Swish(build.attrs.float_or("alpha", 1.0)?))))
}

/// Builds Gelu: x·Φ(x), exact or by the tanh approximation.
pub(super) fn gelu(build: &Build) -> Result<Box<dyn Operator>> {
    let activation = match build.attrs.string("approximate")?.as_deref() {
        None | Some("none") => Activation::Gelu,
        Some("tanh") => Activation::GeluTanh,
        Some(other) => {
            return Err(Error::new("an unknown approximation of Gelu")
                .expected("none or tanh")
                .got(other)
                .invalid_model());
        }
    };
    Ok(Box::new(Pointwise(activation)))
}

/// Builds LeakyRelu: x, or α·x for x < 0.
pub(super) fn leaky_relu(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Pointwise(Activation::LeakyRelu(build.attrs.float_or("alpha", 0.01)?))))
}

/// Builds HardSigmoid: α·x + β, clamped to 0 and 1.
pub(super) fn hard_sigmoid(build: &Build) -> Result<Box<dyn Operator>> {
    let (alpha, beta) = (build.attrs.float_or("alpha", 0.2)?, build.attrs.float_or("beta", 0.5)?);
    Ok(Box::new(Pointwise(Activation::HardSigmoid(alpha, beta))))
}

/// Builds Clip: clamps each element to two bounds.
pub(super) fn clip(build: &Build) -> Result<Box<dyn Operator>> {
    let attributes = if build.opset < 11 {
        Some((build.attrs.float_or("min", f32::MIN)?, build.attrs.float_or("max", f32::MAX)?))
    } else {
        None
    };
    Ok(Box::new(Clip { attributes }))
}

/// The operator CastLike, a cast to the type of the second input.
#[derive(Debug)]
struct CastLike;

/// Builds CastLike: converts to the element type of the second input.
pub(super) fn cast_like(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(CastLike))
}

/// Builds Cast: converts to another element type.
pub(super) fn cast(build: &Build) -> Result<Box<dyn Operator>> {
    let code = build.attrs.int_or("to", 0)?;
    let to = i32::try_from(code).ok().and_then(DType::from_onnx);
    Ok(Box::new(Cast { to: to.ok_or_else(|| unsupported_cast(code))? }))
}

fn unsupported_cast(code: i64) -> Error {
    Error::new("a Cast to an unsupported type")
        .expected("a float type, bool, or an integer type of at least 8 bits")
        .got(format!("type {code}"))
        .unsupported()
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

    fn is_pointwise(&self) -> bool {
        true
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        flow.pointwise();
        Ok(())
    }

    fn activation(&self, _: &Inputs) -> Option<Activation> {
        Some(self.0)
    }
}

impl Operator for Predicate {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        Ok(vec![Fact::new(DType::Bool, &inputs.get(0)?.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        lower_unary(l, self.0);
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        flow.pointwise();
        Ok(())
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

    fn is_pointwise(&self) -> bool {
        true
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        flow.pointwise();
        Ok(())
    }

    fn activation(&self, inputs: &Inputs) -> Option<Activation> {
        self.bounds(inputs).ok().map(|(low, high)| Activation::Clip(low, high))
    }
}

impl Operator for Cast {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        // Integers of 4 bits only store constants: whether a cast to them wraps or clamps is up to the runtime.
        if matches!(self.to, DType::U4 | DType::I4) && x.dtype != self.to {
            return Err(unsupported_cast(self.to.to_onnx().into()));
        }
        Ok(vec![Fact::new(self.to, &x.shape)])
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

    fn is_pointwise(&self) -> bool {
        true
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
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
        let cast = Self::cast(inputs)?;
        let x = inputs.get(0)?;
        let mut outputs = cast.infer(inputs)?;
        // The elements of the second input do not matter, so a constant stays one beside a computed tensor.
        if x.value.is_some() {
            let values = evaluate(&cast, &Inputs { facts: vec![Some(x)] }, &outputs)?;
            for (fact, value) in outputs.iter_mut().zip(values) {
                *fact = Fact { from_shape: x.from_shape, ..Fact::constant(value) };
            }
        }
        Ok(outputs)
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        Self::cast(&l.inputs)?.lower(l)
    }

    fn sources(&self, _: &Inputs, along: usize) -> Option<Vec<(usize, usize)>> {
        Some(vec![(0, along)])
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        // Only the type of the second input is used.
        let labels = flow.input_labels(0);
        flow.set_output(0, labels);
        Ok(())
    }
}
