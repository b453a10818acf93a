//! Reductions over one axis.

mod gradient;

use std::sync::Arc;

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::gradient::Gradient;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow, share};
use crate::kernels::shader::{grid, row, uniform, word};

/// The function that an axis is reduced by.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceOp {
    Mean,
    Sum,
    /// The largest element; NaN if there is one.
    Max,
    /// The smallest element; NaN if there is one.
    Min,
    Prod,
    /// The root of the sum of squares.
    L2,
    SumSquare,
    /// The sum of absolute values.
    L1,
}

impl ReduceOp {
    /// All functions; the index is the number in the shader.
    pub const ALL: [Self; 8] =
        [Self::Mean, Self::Sum, Self::Max, Self::Min, Self::Prod, Self::L2, Self::SumSquare, Self::L1];

    /// The result of an empty reduction.
    fn start(self) -> f64 {
        match self {
            Self::Max => f64::NEG_INFINITY,
            Self::Min => f64::INFINITY,
            Self::Prod => 1.0,
            _ => 0.0,
        }
    }

    /// Adds an element to a partial result.
    fn step(self, acc: f64, x: f64) -> f64 {
        match self {
            Self::Mean | Self::Sum => acc + x,
            Self::Max if x > acc || x.is_nan() => x,
            Self::Min if x < acc || x.is_nan() => x,
            Self::Max | Self::Min => acc,
            Self::Prod => acc * x,
            Self::L2 | Self::SumSquare => acc + x * x,
            Self::L1 => acc + x.abs(),
        }
    }

    /// Merges two partial results.
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Mean | Self::Sum | Self::L2 | Self::SumSquare | Self::L1 => a + b,
            Self::Max | Self::Min | Self::Prod => self.step(a, b),
        }
    }

    /// The final result after `count` elements.
    fn end(self, acc: f64, count: usize) -> f64 {
        match self {
            Self::Mean => acc / count as f64,
            Self::L2 => acc.sqrt(),
            _ => acc,
        }
    }
}

/// Reduces the middle axis of `[outer, axis, inner]` to `[outer, inner]`. Adjacent axes can be merged into one.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceKernel {
    /// The function that is computed.
    pub op: ReduceOp,
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis.
    pub axis: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
}

/// Least number of elements for a host task.
const TASK: usize = 1 << 14;
/// Partial results of a row.
const LANES: usize = 16;

impl ReduceKernel {
    /// Reduces a row in `LANES` partial results, which are merged at the end.
    fn row(&self, x: &[f32]) -> f64 {
        let mut lanes = [self.op.start(); LANES];
        let (parts, rest) = x.as_chunks::<LANES>();
        for part in parts {
            lanes.iter_mut().zip(part).for_each(|(acc, &x)| *acc = self.op.step(*acc, x.into()));
        }
        lanes.iter_mut().zip(rest).for_each(|(acc, &x)| *acc = self.op.step(*acc, x.into()));
        lanes.into_iter().reduce(|a, b| self.op.join(a, b)).unwrap_or(self.op.start())
    }
}

uniform! { len: u32, axis: u32, inner: u32, start: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "reduce",
    file: "reduction/reduce",
    shared: ["nan"],
    doc: "reduction of an axis",
};

impl Kernel for ReduceKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.outer * self.axis * self.inner]
    }

    fn output_len(&self) -> usize {
        self.outer * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (at, y) in output.iter_mut().enumerate() {
            let (o, i) = (at / self.inner, at % self.inner);
            let mut elements = (0..self.axis).map(|a| inputs[0][(o * self.axis + a) * self.inner + i]);
            *y = match self.op {
                ReduceOp::Sum => elements.sum(),
                ReduceOp::Mean => elements.sum::<f64>() / self.axis as f64,
                ReduceOp::Prod => elements.product(),
                ReduceOp::SumSquare => elements.map(|x| x * x).sum(),
                ReduceOp::L1 => elements.map(f64::abs).sum(),
                ReduceOp::L2 => elements.map(|x| x * x).sum::<f64>().sqrt(),
                ReduceOp::Max | ReduceOp::Min if elements.any(f64::is_nan) => f64::NAN,
                op => (0..self.axis)
                    .map(|a| inputs[0][(o * self.axis + a) * self.inner + i])
                    .fold(op.start(), if op == ReduceOp::Max { f64::max } else { f64::min }),
            };
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let rows = output.par_chunks_mut(self.inner).enumerate();
        rows.with_min_len(1 + TASK / (self.axis * self.inner).max(1)).for_each(|(o, y)| {
            let x = &inputs[0][o * self.axis * self.inner..][..self.axis * self.inner];
            if let [y] = y {
                *y = self.op.end(self.row(x), self.axis) as f32;
                return;
            }
            let mut acc = vec![self.op.start(); self.inner];
            for x in x.chunks(self.inner) {
                acc.iter_mut().zip(x).for_each(|(acc, &x)| *acc = self.op.step(*acc, x.into()));
            }
            y.iter_mut().zip(acc).for_each(|(y, acc)| *y = self.op.end(acc, self.axis) as f32);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.output_len()),
            axis: word(self.axis),
            inner: word(self.inner),
            start: self.op.start() as f32,
        };
        Dispatch {
            overrides: vec![("OP", (self.op as u32).into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        Some(Arc::new(Self { outer: share(self.outer, batch, images)?, ..self.clone() }))
    }

    fn gradient(&self, _input: usize) -> Gradient {
        gradient::of(self)
    }

    fn tolerance(&self) -> Tolerance {
        match self.op {
            ReduceOp::Max | ReduceOp::Min => Tolerance::EXACT,
            _ => Tolerance::SUMS,
        }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let shapes = [
        ("one element", 1, 1, 1),
        ("rows", 17, 65, 1),
        ("columns", 1, 9, 67),
        ("a middle axis", 3, 5, 7),
        ("a plane of several blocks", 5, 1001, 1),
    ];
    let every = |op| {
        shapes.map(|(label, outer, axis, inner)| {
            noise_case(format!("{label}, {op:?}"), ReduceKernel { op, outer, axis, inner })
        })
    };
    ReduceOp::ALL.into_iter().flat_map(every).collect()
}
