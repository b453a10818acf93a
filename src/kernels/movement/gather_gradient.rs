//! The gradient of a selection by a table of indices.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Adds the gradients of the elements that read each input element, `gx[o, a, i] = Σ_{k: table[k] = a} gy[o, k, i]`.
///
/// Shapes and the table are those of [`GatherKernel`](super::GatherKernel): with `own`, the table is as large as `gy`.
/// Inputs: `gy`, table. An index beyond the axis adds nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct GatherGradient {
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

impl GatherGradient {
    /// Adds the gradients of one index of the outer dimensions.
    fn block<T: Copy + std::ops::AddAssign>(
        &self,
        gy: &[T],
        place: impl Fn(usize) -> Option<usize>,
        gx: &mut [T],
    ) {
        let inner = self.inner.max(1);
        for (k, gy) in gy.chunks(inner).enumerate() {
            if self.own {
                for (i, &gy) in gy.iter().enumerate() {
                    if let Some(a) = place(k * inner + i) {
                        gx[a * inner + i] += gy;
                    }
                }
            } else if let Some(a) = place(k) {
                gx[a * inner..][..inner].iter_mut().zip(gy).for_each(|(gx, &gy)| *gx += gy);
            }
        }
    }

    /// The place along the axis that an index means; `None` beyond it.
    fn place(&self, index: f64) -> Option<usize> {
        let index = if index < 0.0 { index + self.axis as f64 } else { index };
        (index >= 0.0 && index < self.axis as f64).then_some(index as usize)
    }
}

uniform! { len: u32, axis: u32, count: u32, inner: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "gather_gradient",
    file: "movement/gather_gradient",
    shared: ["quotient"],
    doc: "gradient of a gather",
};

impl Kernel for GatherGradient {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let gy = self.outer * self.count * self.inner;
        vec![gy, if self.own { gy } else { self.count }]
    }

    fn output_len(&self) -> usize {
        self.outer * self.axis * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        output.fill(0.0);
        for (at, gy) in inputs[0].iter().enumerate() {
            let (row, i) = (at / self.inner, at % self.inner);
            let index = inputs[1][if self.own { at } else { row % self.count }];
            if let Some(a) = self.place(index) {
                output[(row / self.count * self.axis + a) * self.inner + i] += gy;
            }
        }
    }

    /// Adds in `f64`, so that the order of many equal indices does not matter.
    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (from, to) = (self.count * self.inner, self.axis * self.inner);
        output.par_chunks_mut(to.max(1)).enumerate().for_each(|(o, gx)| {
            let gy: Vec<f64> = inputs[0][o * from..][..from].iter().map(|&gy| gy.into()).collect();
            let table = if self.own { &inputs[1][o * from..][..from] } else { inputs[1] };
            let mut sums = vec![0.0; to];
            self.block(&gy, |at| self.place(table[at].into()), &mut sums);
            gx.iter_mut().zip(sums).for_each(|(gx, sum)| *gx = sum as f32);
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
            overrides: vec![("OWN", f64::from(u8::from(self.own)))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, (outer, axis, count, inner): (usize, usize, usize, usize), own| {
        let kernel = GatherGradient { outer, axis, count, inner, own };
        let [gy, table] = kernel.input_lens()[..] else { unreachable!("two inputs") };
        // Indices from −axis to axis + 1, the last two beyond the axis.
        let place = |t: usize| ((t * 13) % (2 * axis + 2)) as f32 - axis as f32;
        let inputs = vec![noise(gy, 1), (0..table).map(place).collect()];
        Case { label: label.to_owned(), kernel: std::sync::Arc::new(kernel), inputs }
    };
    vec![
        case("one element", (1, 1, 1, 1), false),
        case("many rows for one of a table", (1, 17, 165, 7), false),
        case("channels", (3, 5, 9, 67), false),
        case("an index each", (3, 5, 4, 7), true),
        case("an index each, along the last axis", (17, 9, 33, 1), true),
    ]
}
