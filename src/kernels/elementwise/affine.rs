//! Per-channel scale and shift: batch normalization that is not folded into a convolution.

use std::sync::Arc;

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::elementwise::activation_gradient::ActivationGradient;
use crate::kernels::elementwise::channel_sums::ChannelSums;
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow, share};
use crate::kernels::movement::Copy;
use crate::kernels::shader::{grid, row, uniform, word};

/// Scales and shifts each channel, `y[o, c, i] = act(x[o, c, i] · scale[c] + shift[c])`.
///
/// Inputs: `x [outer, channels, inner]`, `scale [channels]`, `shift [channels]`. Output: as `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// Product of the dimensions before the channel axis, usually the batch.
    pub outer: usize,
    /// Number of channels of `x`.
    pub channels: usize,
    /// Product of the dimensions after the channel axis, usually the pixels.
    pub inner: usize,
    /// Activation applied to each result.
    pub activation: Activation,
}

uniform! { len: u32, channels: u32, inner: u32, act_a: f32, act_b: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "affine",
    file: "elementwise/affine",
    shared: ["nan", "activation"],
    doc: "per-channel scale and shift",
};

impl Kernel for Affine {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.output_len(), self.channels, self.channels]
    }

    fn output_len(&self) -> usize {
        self.outer * self.channels * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for o in 0..self.outer {
            for c in 0..self.channels {
                for i in 0..self.inner {
                    let at = (o * self.channels + c) * self.inner + i;
                    output[at] = self.activation.apply_f64(inputs[0][at] * inputs[1][c] + inputs[2][c]);
                }
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let planes = output.par_chunks_mut(self.inner).zip(inputs[0].par_chunks(self.inner));
        planes.with_min_len(1 + (1 << 12) / self.inner).enumerate().for_each(|(plane, (y, x))| {
            let (scale, shift) = (inputs[1][plane % self.channels], inputs[2][plane % self.channels]);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * scale + shift);
            self.activation.apply_slice(y);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        let params = Params {
            len: word(self.output_len()),
            channels: word(self.channels),
            inner: word(self.inner),
            act_a,
            act_b,
        };
        Dispatch {
            overrides: vec![("ACT", self.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        Some(Arc::new(Self { outer: share(self.outer, batch, images)?, ..self.clone() }))
    }

    fn gradient(&self, input: usize) -> Gradient {
        let plain = Self { activation: Activation::None, ..self.clone() };
        let mut builder = GradientBuilder::default();
        let gy = GradientOperand::OutputGradient;
        let gy = ActivationGradient::through(&mut builder, self.activation, plain.clone(), gy);
        let gradient = if input == 0 {
            let zeros = GradientOperand::Constant(Arc::new(vec![0.0; self.channels]));
            builder.call(plain, vec![gy, GradientOperand::Input(1), zeros])
        } else {
            let Self { outer, channels, inner, .. } = *self;
            let sums =
                builder.call(ChannelSums { outer, channels, inner }, vec![GradientOperand::Input(0), gy]);
            builder.call(Copy::range(2 * channels, (input - 1) * channels, channels), vec![sums])
        };
        builder.finish(gradient)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::ELEMENTWISE
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label, outer, channels, inner, activation| {
        noise_case(label, Affine { outer, channels, inner, activation })
    };
    vec![
        case("one element", 1, 1, 1, Activation::None),
        case("three images, five channels, odd plane", 3, 5, 7 * 9, Activation::Relu),
        case("channels last", 6, 17, 1, Activation::LeakyRelu(0.1)),
        case("a plane over several chunks", 2, 3, 101 * 97, Activation::Clip(-0.5, 0.5)),
        case("as many elements as a workgroup", 1, 8, 8, Activation::Sigmoid),
    ]
}
