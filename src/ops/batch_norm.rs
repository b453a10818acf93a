//! The operators BatchNormalization and LRN.

use std::sync::Arc;

use super::axes::split_at_channels;
use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::coupling::{ChannelLabels, Inexact, Propagation, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Affine;
use crate::kernels::normalization::LrnKernel;
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

/// Builds BatchNormalization: γ·(x − μ)/√(σ² + ε) + β by stored statistics.
pub(super) fn batch_norm(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    // Before opset 14, further outputs (means and variances) ask for the training mode.
    let attribute = build.opset >= 14;
    let training = match attribute {
        true => attrs.int_or("training_mode", 0)? != 0,
        false => build.outputs > 1,
    };
    if training {
        let (expected, got) = match attribute {
            true => ("training_mode = 0".to_owned(), "training_mode = 1".to_owned()),
            false => ("one output before opset 14".to_owned(), format!("{} outputs", build.outputs)),
        };
        return Err(Error::new("BatchNormalization in training mode")
            .expected(expected)
            .got(got)
            .remedy(
                "export the network in evaluation mode (PyTorch: model.eval()); if it standardizes weights, with \
                 torch.onnx.export(…, dynamo=True), which computes them",
            )
            .unsupported());
    }
    if build.outputs > 1 {
        return Err(Error::new("BatchNormalization has outputs that only the training mode computes")
            .expected("one output with training_mode = 0")
            .got(format!("{} outputs", build.outputs))
            .remedy("export the network in evaluation mode (PyTorch: model.eval())")
            .invalid_model());
    }
    if build.opset < 9 && attrs.int_or("spatial", 1)? != 1 {
        return Err(Error::new("BatchNormalization with spatial = 0 is not supported")
            .remedy("export the network at opset 9 or later")
            .unsupported());
    }
    Ok(Box::new(BatchNorm { epsilon: f64::from(attrs.float_or("epsilon", 1e-5)?) }))
}

/// Builds LRN: local response normalization over neighbouring channels.
pub(super) fn lrn(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let size = attrs.int_or("size", 0)?;
    if size < 1 {
        return Err(Error::new("the attribute size does not fit")
            .expected("1 or more")
            .got(size.to_string())
            .invalid_model());
    }
    Ok(Box::new(Lrn {
        size: size as usize,
        alpha: attrs.float_or("alpha", 1e-4)?,
        beta: attrs.float_or("beta", 0.75)?,
        bias: attrs.float_or("bias", 1.0)?,
    }))
}

/// Returns a constant operand in single precision.
fn single(values: Vec<f64>) -> Slot {
    Slot::Constant(Arc::new(values.into_iter().map(|x| x as f32).collect()))
}

impl BatchNorm {
    /// Emits the scale γ/√(σ² + ε) and the shift β − μ·scale of computed γ or β.
    fn computed_scale_shift(&self, l: &mut Lowering, channels: usize) -> Result<(Slot, Slot)> {
        let statistic = |i: usize| l.inputs.constant(i, "a statistic of BatchNormalization");
        let (mean, variance) = match (statistic(3)?, statistic(4)?) {
            (Some(mean), Some(variance)) => (mean.to_f64(), variance.to_f64()),
            _ => return Err(Error::new("the statistics of BatchNormalization are missing").invalid_model()),
        };
        let inverse = variance.iter().map(|v| 1.0 / (v + self.epsilon).sqrt()).collect();
        let none = Activation::None;
        let per_channel = Affine { outer: 1, channels, inner: 1, activation: none };
        let zeros = single(vec![0.0; channels]);
        let scale = l.temp(channels);
        l.call(per_channel.clone(), vec![Slot::Input(1), single(inverse), zeros], scale.clone());
        // β + scale·(−μ): an affine map of the scale by each channel's −μ and β.
        let shift = l.temp(channels);
        let negative = single(mean.iter().map(|m| -m).collect());
        l.call(per_channel, vec![scale.clone(), negative, Slot::Input(2)], shift.clone());
        Ok((scale, shift))
    }
}

impl Operator for BatchNorm {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let (_, channels, _) = split_at_channels(&x.shape)?;
        for i in 1..5 {
            let parameter = inputs.get(i)?;
            if parameter.shape != [channels] {
                return Err(Error::new("a parameter of BatchNormalization does not fit")
                    .expected(channels.to_string())
                    .got(show(&parameter.shape))
                    .with_kind(ErrorKind::InvalidModel));
            }
        }
        inputs.constant(3, "the mean of BatchNormalization")?;
        inputs.constant(4, "the variance of BatchNormalization")?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (outer, channels, inner) = split_at_channels(l.shape(0))?;
        let (scale, shift) = match self.scale_shift(&l.inputs) {
            Some((scale, shift)) => (single(scale), single(shift)),
            None => self.computed_scale_shift(l, channels)?,
        };
        l.call(
            Affine { outer, channels, inner, activation: l.fused.activation },
            vec![Slot::Input(0), scale, shift],
            Slot::Output(0),
        );
        Ok(())
    }

    fn parameters(&self) -> Vec<usize> {
        vec![1, 2]
    }

    fn epsilon(&self) -> Option<f64> {
        Some(self.epsilon)
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let labels = flow.axis_labels(0, 1);
        for i in 1..5 {
            if flow.is_constant(i) {
                flow.label_constant(i, 0, &labels, Role::PerChannel);
            } else {
                let own = flow.axis_labels(i, 0);
                flow.unite_all(&own, &labels);
            }
        }
        let x = flow.input_labels(0);
        flow.set_output(0, x);
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
        split_at_channels(&x.shape)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (batch, channels, inner) = split_at_channels(l.shape(0))?;
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

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let labels = flow.axis_labels(0, 1);
        let x = ChannelLabels::along(flow.inputs.get(0)?.shape.as_slice(), 1, &labels);
        flow.mix(&x, &[1], Inexact::Passes, "LRN mixes neighbouring channels");
        flow.set_output(0, x);
        Ok(())
    }
}
