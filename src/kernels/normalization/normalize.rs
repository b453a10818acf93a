//! Normalizes rows to mean 0 and variance 1, for InstanceNormalization, GroupNormalization, LayerNormalization and
//! their variants. Scale and bias are left to [`Affine`](crate::kernels::elementwise::Affine).

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::elementwise::calls::{binary, number};
use crate::kernels::elementwise::{Affine, BinaryOp};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::kernels::shader::{WORKGROUP, grid, row, uniform, word};

/// Computes `(x - mean) / √(variance + epsilon)` over each row of `[rows, len]`.
///
/// Without `centred`, the mean is taken as 0 (root mean square normalization).
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    /// Number of rows of `x`.
    pub rows: usize,
    /// Number of elements of a row.
    pub len: usize,
    /// Constant added to the variance.
    pub epsilon: f32,
    /// True if the mean is subtracted.
    pub centred: bool,
}

uniform! { rows: u32, len: u32, epsilon: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "normalize",
    file: "normalization/normalize",
    shared: [],
    doc: "rows normalized to mean 0 and variance 1",
};

impl Kernel for Normalize {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.output_len()]
    }

    fn output_len(&self) -> usize {
        self.rows * self.len
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (y, x) in output.chunks_mut(self.len.max(1)).zip(inputs[0].chunks(self.len.max(1))) {
            let n = self.len as f64;
            let mean = if self.centred { x.iter().sum::<f64>() / n } else { 0.0 };
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let scale = 1.0 / (variance + f64::from(self.epsilon)).sqrt();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let rows = output.par_chunks_mut(self.len).zip(inputs[0].par_chunks(self.len));
        rows.with_min_len(1 + (1 << 12) / self.len).for_each(|(y, x)| {
            let n = self.len as f64;
            let sum = |f: &dyn Fn(f64) -> f64| x.iter().map(|&x| f(x.into())).sum::<f64>();
            let mean = if self.centred { sum(&|x| x) / n } else { 0.0 };
            let variance = sum(&|x| (x - mean) * (x - mean)) / n;
            let (mean, scale) = (mean as f32, (variance + f64::from(self.epsilon)).sqrt().recip() as f32);
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params { rows: word(self.rows), len: word(self.len), epsilon: self.epsilon };
        Dispatch {
            overrides: vec![("CENTRED", f64::from(u8::from(self.centred)))],
            params: bytes_of(&params).to_vec(),
            // One workgroup for each row.
            workgroups: grid(self.rows * WORKGROUP),
        }
    }

    /// `gx = (gy - mean(gy) - y · mean(gy·y)) / √(variance + epsilon)`, without `mean(gy)` if not centred.
    fn gradient(&self, _input: usize) -> Gradient {
        let (long, short) = ([self.rows, self.len], [self.rows, 1]);
        let (x, y, gy) =
            (GradientOperand::Input(0), GradientOperand::Output, GradientOperand::OutputGradient);
        let reduce = |op| ReduceKernel { op, outer: self.rows, axis: self.len, inner: 1 };
        let mut builder = GradientBuilder::default();
        let b = &mut builder;
        let plain = Activation::None;
        let deviation = if self.centred {
            let mean = b.call(reduce(ReduceOp::Mean), vec![x.clone()]);
            binary(b, BinaryOp::Sub, (x, &long), (mean, &short), plain)
        } else {
            x
        };
        let squares = b.call(reduce(ReduceOp::SumSquare), vec![deviation]);
        let root = Affine { outer: 1, channels: 1, inner: self.rows, activation: Activation::Sqrt };
        let share = (1.0 / self.len as f64) as f32;
        let deviation = b.call(root, vec![squares, number(share), number(self.epsilon)]);
        let weighted = binary(b, BinaryOp::Mul, (gy.clone(), &long), (y.clone(), &long), plain);
        let slope = b.call(reduce(ReduceOp::Mean), vec![weighted]);
        let scaled = binary(b, BinaryOp::Mul, (y, &long), (slope, &short), plain);
        let mut rest = binary(b, BinaryOp::Sub, (gy.clone(), &long), (scaled, &long), plain);
        if self.centred {
            let mean = b.call(reduce(ReduceOp::Mean), vec![gy]);
            rest = binary(b, BinaryOp::Sub, (rest, &long), (mean, &short), plain);
        }
        let gx = binary(b, BinaryOp::Div, (rest, &long), (deviation, &short), plain);
        builder.finish(gx)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let row = |rows, len, centred| Normalize { rows, len, epsilon: 1e-5, centred };
    let far = noise(3 * 700, 4).iter().map(|x| 30.0 + x).collect();
    let far_row = row(3, 700, true);
    vec![
        noise_case("one element", row(1, 1, true)),
        noise_case("fewer elements than a workgroup", row(17, 7, true)),
        noise_case("exactly a workgroup, not centred", row(5, 64, false)),
        noise_case("a long row", row(3, 5_001, true)),
        noise_case("more rows than a dimension takes", row(65_537, 2, true)),
        Case {
            label: "a mean far from zero".to_owned(),
            kernel: std::sync::Arc::new(far_row),
            inputs: vec![far],
        },
    ]
}
