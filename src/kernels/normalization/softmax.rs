//! Softmax over one axis, and its logarithm.
//!
//! The maximum is subtracted first: the quotient is unchanged, and no exponential overflows.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::elementwise::calls::binary;
use crate::kernels::elementwise::{BinaryOp, Unary};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::kernels::shader::{grid, row, uniform, word};

/// Softmax, `e^(x - max) / Σ e^(x - max)`, over the middle axis of `[outer, axis, inner]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxKernel {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis.
    pub axis: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
    /// True to return the logarithm.
    pub log: bool,
}

uniform! { len: u32, axis: u32, inner: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "softmax",
    file: "normalization/softmax",
    shared: [],
    doc: "softmax or log-softmax over an axis",
};

impl Kernel for SoftmaxKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.output_len()]
    }

    fn output_len(&self) -> usize {
        self.outer * self.axis * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (o, i) in (0..self.outer).flat_map(|o| (0..self.inner).map(move |i| (o, i))) {
            let at = |a: usize| (o * self.axis + a) * self.inner + i;
            let max = (0..self.axis).map(|a| inputs[0][at(a)]).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..self.axis).map(|a| (inputs[0][at(a)] - max).exp()).sum();
            for a in 0..self.axis {
                let shifted = inputs[0][at(a)] - max;
                output[at(a)] = if self.log { shifted - sum.ln() } else { shifted.exp() / sum };
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let block = self.axis * self.inner;
        output.par_chunks_mut(block).zip(inputs[0].par_chunks(block)).for_each(|(y, x)| {
            for i in 0..self.inner {
                let column = || x.iter().skip(i).step_by(self.inner);
                let max = column().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
                let sum = column().map(|&x| f64::from((x - max).exp())).sum::<f64>();
                let (log_sum, scale) = (sum.ln() as f32, sum.recip() as f32);
                for (y, &x) in y.iter_mut().skip(i).step_by(self.inner).zip(column()) {
                    *y = if self.log { x - max - log_sum } else { (x - max).exp() * scale };
                }
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let len = self.outer * self.inner;
        let params = Params { len: word(len), axis: word(self.axis), inner: word(self.inner) };
        Dispatch {
            overrides: vec![("LOG", f64::from(u8::from(self.log)))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    /// `gx = y · (gy - Σ gy·y)`, or `gx = gy - e^y · Σ gy` for the logarithm.
    fn gradient(&self, _input: usize) -> Gradient {
        let Self { outer, axis, inner, log } = *self;
        let (long, short) = ([outer, axis, inner], [outer, 1, inner]);
        let (y, gy) = (GradientOperand::Output, GradientOperand::OutputGradient);
        let sum = ReduceKernel { op: ReduceOp::Sum, outer, axis, inner };
        let mut builder = GradientBuilder::default();
        let b = &mut builder;
        let plain = Activation::None;
        let gx = if log {
            let probability = b.call(Unary { len: self.output_len(), activation: Activation::Exp }, vec![y]);
            let total = b.call(sum, vec![gy.clone()]);
            let shared = binary(b, BinaryOp::Mul, (probability, &long), (total, &short), plain);
            binary(b, BinaryOp::Sub, (gy, &long), (shared, &long), plain)
        } else {
            let weighted = binary(b, BinaryOp::Mul, (gy.clone(), &long), (y.clone(), &long), plain);
            let total = b.call(sum, vec![weighted]);
            let excess = binary(b, BinaryOp::Sub, (gy, &long), (total, &short), plain);
            binary(b, BinaryOp::Mul, (y, &long), (excess, &long), plain)
        };
        builder.finish(gx)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let shapes = [
        ("one element", 1, 1, 1),
        ("classes of three images", 3, 1000, 1),
        ("channels of every pixel", 3, 5, 67),
        ("a row of 17", 65, 17, 1),
    ];
    let mut cases = Vec::new();
    for log in [false, true] {
        for (label, outer, axis, inner) in shapes {
            let kernel = SoftmaxKernel { outer, axis, inner, log };
            cases.push(noise_case(format!("{label}, log {log}"), kernel.clone()));
            let large = noise(kernel.output_len(), 5).iter().map(|x| 1e3 * x).collect();
            let (label, kernel) = (format!("{label}, large, log {log}"), std::sync::Arc::new(kernel));
            cases.push(Case { label, kernel, inputs: vec![large] });
        }
    }
    cases
}
