//! The k largest or smallest elements of an axis, sorted.

use std::cmp::Ordering;

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::movement::GatherGradient;
use crate::kernels::shader::{grid, row, uniform, word};

/// TopK from `[outer, axis, inner]` to `[outer, k, inner]`: elements in descending order, or their indices.
///
/// The order is ascending for `smallest`. Of equal elements, the lower index comes first. NaN counts as larger than
/// all numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct TopKKernel {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis, at most 2²⁴: an `f32` must represent every index exactly.
    pub axis: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
    /// Number of elements to return, at most `axis`.
    pub k: usize,
    /// True to return the smallest elements.
    pub smallest: bool,
    /// True to return indices instead of elements.
    pub indices: bool,
}

impl TopKKernel {
    /// Implements both host versions: comparisons are exact in any precision.
    fn choose<T: Copy + PartialOrd>(&self, x: &[T], index: impl Fn(usize) -> T, output: &mut [T]) {
        #[allow(clippy::eq_op)] // only NaN differs from itself
        let nan = |v: T| v != v;
        let rising = |a: T, b: T| a.partial_cmp(&b).unwrap_or_else(|| nan(a).cmp(&nan(b)));
        for row in 0..self.outer * self.inner {
            let (o, i) = (row / self.inner, row % self.inner);
            let at = |a: usize| x[(o * self.axis + a) * self.inner + i];
            let mut order: Vec<usize> = (0..self.axis).collect();
            // A stable sort keeps the lower index first.
            order.sort_by(|&a, &b| -> Ordering {
                if self.smallest { rising(at(a), at(b)) } else { rising(at(b), at(a)) }
            });
            for (rank, &a) in order.iter().take(self.k).enumerate() {
                output[(o * self.k + rank) * self.inner + i] = if self.indices { index(a) } else { at(a) };
            }
        }
    }
}

uniform! { len: u32, axis: u32, inner: u32, k: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "topk",
    file: "reduction/topk",
    shared: ["nan"],
    doc: "the k largest or smallest elements of an axis",
};

impl Kernel for TopKKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.outer * self.axis * self.inner]
    }

    fn output_len(&self) -> usize {
        self.outer * self.k * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        self.choose(inputs[0], |i| i as f64, output);
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        self.choose(inputs[0], |i| i as f32, output);
    }

    fn dispatch(&self) -> Dispatch {
        // One invocation for each input element.
        let len = self.outer * self.axis * self.inner;
        let params =
            Params { len: word(len), axis: word(self.axis), inner: word(self.inner), k: word(self.k) };
        let flag = |f: bool| f64::from(u8::from(f));
        Dispatch {
            overrides: vec![("SMALLEST", flag(self.smallest)), ("INDICES", flag(self.indices))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn gradient(&self, _input: usize) -> Gradient {
        if self.indices {
            return Gradient::Zero;
        }
        let Self { outer, axis, inner, k: count, .. } = *self;
        let mut builder = GradientBuilder::default();
        let table = builder.call(Self { indices: true, ..self.clone() }, vec![GradientOperand::Input(0)]);
        let gather = GatherGradient { outer, axis, count, inner, own: true };
        let gx = builder.call(gather, vec![GradientOperand::OutputGradient, table]);
        builder.finish(gx)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (smallest, indices) in [(false, false), (true, false), (false, true), (true, true)] {
        for (label, outer, axis, inner, k) in
            [("one element", 1, 1, 1, 1), ("five of 65", 17, 65, 1, 5), ("all of a middle axis", 3, 9, 7, 9)]
        {
            let kernel = TopKKernel { outer, axis, inner, k, smallest, indices };
            let mut case = noise_case(format!("{label}, smallest {smallest}, indices {indices}"), kernel);
            // Coarse steps, so that some elements are equal.
            case.inputs[0].iter_mut().for_each(|x| *x = (*x * 5.0).round());
            cases.push(case);
        }
    }
    cases
}
