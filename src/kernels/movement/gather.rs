//! ONNX's Gather and GatherElements: selects elements along an axis by a table of indices.
//!
//! With tables made for them, GatherND and the scatter operators use this kernel too. It only moves data, like
//! [`Copy`](super::copy::Copy), so the channel analysis runs it on labels.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::movement::gather_gradient::GatherGradient;
use crate::kernels::shader::{grid, row, uniform, word};

/// Selects along an axis, `y[o, k, i] = x[o, table[k], i]`, from `[outer, axis, inner]` to `[outer, count, inner]`.
///
/// With `own`, every element has its own index, `table[o, k, i]`. Inputs: x, table. A negative index counts from the
/// end; an index beyond the axis yields NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct GatherKernel {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis, at most 2²⁴: an `f32` must represent every index exactly.
    pub axis: usize,
    /// Length of the axis in the output.
    pub count: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
    /// True if every element has its own index.
    pub own: bool,
}

impl GatherKernel {
    /// Returns the call over units of `unit` adjacent elements; `None` if elements of a unit have different indices.
    pub fn of_units(&self, unit: usize) -> Option<Self> {
        let whole = unit == 1 || !self.own && self.inner.is_multiple_of(unit);
        whole.then(|| Self { inner: self.inner / unit, ..self.clone() })
    }

    /// Moves elements of any type; `missing` stands for indices beyond the axis.
    pub fn apply<T: Copy>(&self, x: &[T], table: &[f64], missing: T, output: &mut [T]) {
        let rows = output.chunks_mut(self.inner.max(1)).enumerate();
        rows.for_each(|(row, y)| self.row(x, table, missing, row, y));
    }

    /// Writes one row of the output: the elements of one index.
    fn row<T: Copy>(&self, x: &[T], table: &[f64], missing: T, row: usize, y: &mut [T]) {
        let place = |index: f64| {
            let index = if index < 0.0 { index + self.axis as f64 } else { index };
            let inside = index >= 0.0 && index < self.axis as f64;
            inside.then(|| (row / self.count * self.axis + index as usize) * self.inner)
        };
        if self.own {
            for (i, (y, &index)) in y.iter_mut().zip(&table[row * self.inner..]).enumerate() {
                *y = place(index).map_or(missing, |at| x[at + i]);
            }
            return;
        }
        match place(table[row % self.count]) {
            Some(at) => y.copy_from_slice(&x[at..at + y.len()]),
            None => y.fill(missing),
        }
    }
}

uniform! { len: u32, axis: u32, count: u32, inner: u32, missing: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "gather",
    file: "movement/gather",
    shared: [],
    doc: "elements along an axis, selected by a table of indices",
};

impl Kernel for GatherKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let table = if self.own { self.output_len() } else { self.count };
        vec![self.outer * self.axis * self.inner, table]
    }

    fn output_len(&self) -> usize {
        self.outer * self.count * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        self.apply(inputs[0], inputs[1], f64::NAN, output);
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let table: Vec<f64> = inputs[1].iter().map(|&i| i.into()).collect();
        let inner = self.inner.max(1);
        let rows = (1 << 14) / inner + 1;
        output.par_chunks_mut(rows * inner).enumerate().for_each(|(task, y)| {
            for (row, y) in y.chunks_mut(inner).enumerate() {
                self.row(inputs[0], &table, f32::NAN, task * rows + row, y);
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.output_len()),
            axis: word(self.axis),
            count: word(self.count),
            inner: word(self.inner),
            missing: f32::NAN,
        };
        Dispatch {
            overrides: vec![("OWN", f64::from(u8::from(self.own)))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn gradient(&self, input: usize) -> Gradient {
        if input != 0 {
            return Gradient::Zero;
        }
        let Self { outer, axis, count, inner, own } = *self;
        let mut builder = GradientBuilder::default();
        let inputs = vec![GradientOperand::OutputGradient, GradientOperand::Input(1)];
        let gx = builder.call(GatherGradient { outer, axis, count, inner, own }, inputs);
        builder.finish(gx)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, (outer, axis, count, inner): (usize, usize, usize, usize), own| {
        let kernel = GatherKernel { outer, axis, count, inner, own };
        let [x, table] = kernel.input_lens()[..] else { unreachable!("two inputs") };
        // Indices from −axis to axis − 1.
        let place = |t: usize| ((t * 13) % (2 * axis)) as f32 - axis as f32;
        let inputs = vec![noise(x, 1), (0..table).map(place).collect()];
        Case { label: label.to_owned(), kernel: std::sync::Arc::new(kernel), inputs }
    };
    vec![
        case("one element", (1, 1, 1, 1), false),
        case("rows of a table", (1, 65, 17, 7), false),
        case("channels", (3, 5, 9, 67), false),
        case("an index each", (3, 5, 4, 7), true),
        case("an index each, along the last axis", (17, 9, 33, 1), true),
    ]
}
