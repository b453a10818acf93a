//! The gradient of the elements that a scatter writes.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Reads the gradient of each written place, `gx[o, k, i] = gy[o, table[o, k, i], i]`.
///
/// It is 0 for an element that a later one of the same index replaced.
///
/// Shapes and the table are those of [`ScatterKernel`](super::ScatterKernel). Inputs: `gy`, table. The gradient of an
/// index beyond the axis is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterGradient {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis, at most 2²⁴: an `f32` must represent every index exactly.
    pub axis: usize,
    /// Number of elements that were written along the axis.
    pub count: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
    /// True if an index counts from the start of the output: the index along the axis plus `o · axis`. `inner` is 1.
    pub flat: bool,
}

impl ScatterGradient {
    /// The place along the axis that an index means; `None` beyond it.
    fn place(&self, o: usize, index: f64) -> Option<usize> {
        let index = match self.flat {
            true => index - (o * self.axis) as f64,
            false if index < 0.0 => index + self.axis as f64,
            false => index,
        };
        (index >= 0.0 && index < self.axis as f64).then_some(index as usize)
    }
}

uniform! { len: u32, axis: u32, count: u32, inner: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "scatter_gradient",
    file: "movement/scatter_gradient",
    shared: ["quotient"],
    doc: "gradient of the elements that a scatter writes",
};

impl Kernel for ScatterGradient {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.outer * self.axis * self.inner, self.output_len()]
    }

    fn output_len(&self) -> usize {
        self.outer * self.count * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (at, gx) in output.iter_mut().enumerate() {
            let (o, k, i) = (at / self.inner / self.count, at / self.inner % self.count, at % self.inner);
            let place = |k: usize| self.place(o, inputs[1][(o * self.count + k) * self.inner + i]);
            let replaced = (k + 1..self.count).any(|later| place(later) == place(k));
            *gx = match place(k) {
                Some(a) if !replaced => inputs[0][(o * self.axis + a) * self.inner + i],
                _ => 0.0,
            };
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (from, to) = (self.count * self.inner, self.axis * self.inner);
        output.par_chunks_mut(from.max(1)).enumerate().for_each(|(o, gx)| {
            let (gy, table) = (&inputs[0][o * to..][..to], &inputs[1][o * from..][..from]);
            // From the last element to the first, so that the first one met at a place was written last.
            let mut read = vec![false; to];
            for (at, gx) in gx.iter_mut().enumerate().rev() {
                let place = self.place(o, table[at].into()).map(|a| a * self.inner + at % self.inner);
                *gx = match place {
                    Some(place) if !std::mem::replace(&mut read[place], true) => gy[place],
                    _ => 0.0,
                };
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.output_len()),
            axis: word(self.axis),
            count: word(self.count),
            inner: word(self.inner),
        };
        Dispatch {
            overrides: vec![("FLAT", f64::from(u8::from(self.flat)))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, (outer, axis, count, inner): (usize, usize, usize, usize), flat, step: usize| {
        let kernel = ScatterGradient { outer, axis, count, inner, flat };
        let [gy, len] = kernel.input_lens()[..] else { unreachable!("two inputs") };
        let place = |t: usize| {
            let along = t * step % axis;
            let start = if flat { t / count * axis } else { 0 };
            // Every other index counts from the end, unless it is flat.
            (start + along) as f32 - if flat || t.is_multiple_of(2) { 0.0 } else { axis as f32 }
        };
        let inputs = vec![noise(gy, 1), (0..len).map(place).collect()];
        Case { label: label.to_owned(), kernel: std::sync::Arc::new(kernel), inputs }
    };
    let mut beyond = case("indices beyond the axis", (2, 5, 9, 3), false, 3);
    beyond.inputs[1].iter_mut().step_by(4).for_each(|index| *index += 6.0);
    vec![
        case("one element", (1, 1, 1, 1), false, 1),
        case("every place, in another order", (3, 17, 17, 5), false, 7),
        case("several elements for one place", (2, 5, 33, 3), false, 3),
        case("planes with flat indices", (67, 20, 6, 1), true, 3),
        case("last of equal flat indices", (3, 4, 9, 1), true, 3),
        beyond,
    ]
}
