//! Local response normalization over adjacent channels, as in AlexNet and GoogLeNet.

use std::sync::Arc;

use std::ops::RangeInclusive;

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::elementwise::calls::{binary, number};
use crate::kernels::elementwise::{Affine, BinaryOp};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow, share};
use crate::kernels::reduction::{PoolKernel, PoolKind};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::Windows;

/// Local response normalization, `y = x / (bias + alpha/size · Σ x²)^beta`.
///
/// The sum covers the existing channels from `c - ⌊(size-1)/2⌋` to `c + ⌈(size-1)/2⌉`. Input and output: `[batch,
/// channels, inner]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LrnKernel {
    /// Number of images in the batch.
    pub batch: usize,
    /// Number of channels of `x`.
    pub channels: usize,
    /// Number of pixels of a channel.
    pub inner: usize,
    /// Channels that a sum covers, at least 1.
    pub size: usize,
    /// Scale of the sum of squares.
    pub alpha: f32,
    /// Exponent of the divisor.
    pub beta: f32,
    /// Constant that keeps the divisor from zero.
    pub bias: f32,
}

impl LrnKernel {
    /// Number of channels before and after channel `c` in its sum.
    fn reach(&self) -> [usize; 2] {
        [(self.size - 1) / 2, self.size / 2]
    }

    /// Range of the channels in the sum of channel `c`.
    fn window(&self, c: usize) -> RangeInclusive<usize> {
        let [before, after] = self.reach();
        c.saturating_sub(before)..=(c + after).min(self.channels - 1)
    }
}

impl LrnKernel {
    /// The mean over `size` channels, of which `before` come before; channels that do not exist count as zeros.
    fn mean(&self, before: usize) -> PoolKernel {
        let (plane, after) = ([self.channels, self.inner], self.size - 1 - before);
        PoolKernel {
            kind: PoolKind::Average { count_include_pad: true },
            planes: self.batch,
            windows: Windows { kernel: [self.size, 1], pad: [before, 0], ..Windows::points(plane) },
            pad_end: [after, 0],
        }
    }
}

uniform! {
    len: u32,
    channels: u32,
    inner: u32,
    before: u32,
    after: u32,
    scale: f32,
    beta: f32,
    bias: f32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "lrn",
    file: "normalization/lrn",
    shared: ["nan"],
    doc: "local response normalization",
};

impl Kernel for LrnKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.output_len()]
    }

    fn output_len(&self) -> usize {
        self.batch * self.channels * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let [alpha, beta, bias] = [self.alpha, self.beta, self.bias].map(f64::from);
        for (at, y) in output.iter_mut().enumerate() {
            let (n, c, i) =
                (at / self.inner / self.channels, at / self.inner % self.channels, at % self.inner);
            let x = |c: usize| inputs[0][(n * self.channels + c) * self.inner + i];
            let sum: f64 = self.window(c).map(|c| x(c) * x(c)).sum();
            *y = x(c) / (bias + alpha / self.size as f64 * sum).powf(beta);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let scale = self.alpha / self.size as f32;
        output.par_chunks_mut(self.inner).enumerate().for_each(|(plane, y)| {
            let (image, c) = (plane / self.channels, plane % self.channels);
            let x = |c: usize| &inputs[0][(image * self.channels + c) * self.inner..][..self.inner];
            y.fill(0.0);
            for neighbour in self.window(c) {
                y.iter_mut().zip(x(neighbour)).for_each(|(y, &x)| *y += x * x);
            }
            y.iter_mut().zip(x(c)).for_each(|(y, &x)| *y = x / (self.bias + scale * *y).powf(self.beta));
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [before, after] = self.reach();
        let params = Params {
            len: word(self.output_len()),
            channels: word(self.channels),
            inner: word(self.inner),
            before: word(before),
            after: word(after),
            scale: self.alpha / self.size as f32,
            beta: self.beta,
            bias: self.bias,
        };
        Dispatch {
            overrides: Vec::new(),
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        Some(Arc::new(Self { batch: share(self.batch, batch, images)?, ..self.clone() }))
    }

    /// With `s = bias + alpha/size · Σ x²`: `gx = gy·s^-beta - 2·alpha·beta·x · mean(gy·x·s^(-beta-1))`, where the mean
    /// covers the sums that contain the channel.
    fn gradient(&self, _input: usize) -> Gradient {
        let len = [self.output_len()];
        let (x, gy) = (GradientOperand::Input(0), GradientOperand::OutputGradient);
        let [before, after] = self.reach();
        let mut builder = GradientBuilder::default();
        let b = &mut builder;
        let call = |b: &mut GradientBuilder, op, x, z| binary(b, op, (x, &len), (z, &len), Activation::None);
        let squares = call(b, BinaryOp::Mul, x.clone(), x.clone());
        let means = b.call(self.mean(before), vec![squares]);
        let scale = Affine { outer: 1, channels: 1, inner: len[0], activation: Activation::None };
        let sums = b.call(scale.clone(), vec![means, number(self.alpha), number(self.bias)]);
        let exponent = (number(-self.beta), &[1][..]);
        let power = binary(b, BinaryOp::Pow, (sums.clone(), &len), exponent, Activation::None);
        let direct = call(b, BinaryOp::Mul, gy, power);
        let weighted = call(b, BinaryOp::Mul, direct.clone(), x.clone());
        let weighted = call(b, BinaryOp::Div, weighted, sums);
        let shared = b.call(self.mean(after), vec![weighted]);
        let factor = (2.0 * f64::from(self.alpha) * f64::from(self.beta)) as f32;
        let shared = b.call(scale, vec![shared, number(factor), number(0.0)]);
        let shared = call(b, BinaryOp::Mul, x, shared);
        let gx = call(b, BinaryOp::Sub, direct, shared);
        builder.finish(gx)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label, batch, channels, inner, size| {
        noise_case(label, LrnKernel { batch, channels, inner, size, alpha: 0.7, beta: 0.75, bias: 1.5 })
    };
    vec![
        case("one element", 1, 1, 1, 5),
        case("an odd window", 3, 17, 5 * 7, 5),
        case("an even window", 2, 9, 65, 4),
        case("a window wider than there are channels", 3, 3, 11, 9),
        case("a window of one", 1, 5, 64, 1),
    ]
}
