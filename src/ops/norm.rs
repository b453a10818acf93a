//! BatchNormalization and LRN.

use std::sync::Arc;

use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::dye::Dyed;
use crate::dye::flow::{Flow, Role};
use crate::dye::mix::Inexact;
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::elementwise::Affine;
use crate::kernels::normalization::Lrn as LrnKernel;
use crate::tensor::show;

#[derive(Debug)]
struct BatchNorm {
    epsilon: f64,
}

#[derive(Debug)]
struct Lrn {
    size: usize,
    alpha: f32,
    beta: f32,
    bias: f32,
}

/// Builds a BatchNormalization.
pub(super) fn batch_norm(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    if build.opset >= 14 && attrs.int_or("training_mode", 0)? != 0 {
        return Err(Error::new("BatchNormalization in training mode")
            .expected("training_mode = 0")
            .got("training_mode = 1")
            .remedy(
                "export the network in evaluation mode (PyTorch: model.eval()); where it standardizes weights, with \
                 torch.onnx.export(…, dynamo=True), which computes them",
            ));
    }
    if build.opset < 9 && attrs.int_or("spatial", 1)? != 1 {
        return Err(Error::new("BatchNormalization with spatial = 0 is not supported")
            .remedy("export the network at opset 9 or later"));
    }
    Ok(Box::new(BatchNorm { epsilon: f64::from(attrs.float_or("epsilon", 1e-5)?) }))
}

/// Builds an LRN.
pub(super) fn lrn(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let size = attrs.int_or("size", 0)?;
    if size < 1 {
        return Err(Error::new("the attribute size does not fit")
            .expected("1 or more")
            .got(size.to_string()));
    }
    Ok(Box::new(Lrn {
        size: size as usize,
        alpha: attrs.float_or("alpha", 1e-4)?,
        beta: attrs.float_or("beta", 0.75)?,
        bias: attrs.float_or("bias", 1.0)?,
    }))
}

/// (outer, channels, inner) of a tensor whose channels stand on axis 1.
fn planes(shape: &[usize]) -> Result<(usize, usize, usize)> {
    match shape {
        [n, c, rest @ ..] => Ok((*n, *c, rest.iter().product())),
        _ => Err(Error::new("a tensor without a channel axis").expected("N×C×…").got(show(shape))),
    }
}

impl Operator for BatchNorm {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let (_, channels, _) = planes(&x.shape)?;
        for i in 1..5 {
            let parameter = inputs.get(i)?;
            if parameter.shape != [channels] {
                return Err(Error::new("a parameter of BatchNormalization does not fit")
                    .expected(channels.to_string())
                    .got(show(&parameter.shape)));
            }
            inputs.constant(i, "a parameter of BatchNormalization")?;
        }
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (outer, channels, inner) = planes(l.shape(0))?;
        let (scale, shift) = self
            .scale_shift(&l.inputs)
            .ok_or_else(|| Error::new("the parameters of BatchNormalization must be constant floats"))?;
        let single = |v: Vec<f64>| Slot::Constant(Arc::new(v.into_iter().map(|x| x as f32).collect()));
        l.call(
            Affine { outer, channels, inner, activation: l.fused.activation },
            vec![Slot::Input(0), single(scale), single(shift)],
            Slot::Output(0),
        );
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let labels = flow.along(0, 1);
        for i in 1..5 {
            flow.cut(i, 0, &labels, Role::Passenger);
        }
        let dyed = flow.dyed(0);
        flow.set(0, dyed);
        Ok(())
    }

    fn scale_shift(&self, inputs: &Inputs) -> Option<(Vec<f64>, Vec<f64>)> {
        let parameter = |i| Some(inputs.optional(i)?.value.as_ref()?.to_f64());
        let (gamma, beta, mean, variance) = (parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?);
        let scale: Vec<f64> =
            gamma.iter().zip(&variance).map(|(g, v)| g / (v + self.epsilon).sqrt()).collect();
        let shift = beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
        Some((scale, shift))
    }
}

impl Operator for Lrn {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        planes(&x.shape)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (batch, channels, inner) = planes(l.shape(0))?;
        let kernel = LrnKernel {
            batch,
            channels,
            inner,
            size: self.size,
            alpha: self.alpha,
            beta: self.beta,
            bias: self.bias,
        };
        l.call(kernel, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let labels = flow.along(0, 1);
        let x = Dyed::along(flow.inputs.get(0)?.shape.as_slice(), 1, &labels);
        flow.mix(&x, &[1], Inexact::Passes, "LRN mixes neighbouring channels");
        flow.set(0, x);
        Ok(())
    }
}
