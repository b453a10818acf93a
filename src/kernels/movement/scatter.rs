//! ONNX's MaxUnpool, and ScatterElements by computed indices: writes elements along an axis to computed places.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::movement::scatter_gradient::ScatterGradient;
use crate::kernels::shader::{grid, row, uniform, word};

/// Writes `y[o, table[o, k, i], i] = x[o, k, i]`, from `[outer, count, inner]` into `[outer, axis, inner]`.
///
/// If several elements have one index, the kernel writes the last of them. Places without an element keep their value. A
/// negative index counts from the end. An index beyond the axis writes NaN to the first place.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterKernel {
    /// Product of the dimensions before the axis.
    pub outer: usize,
    /// Length of the axis, at most 2²⁴: an `f32` must represent every index exactly.
    pub axis: usize,
    /// Number of elements that are written along the axis.
    pub count: usize,
    /// Product of the dimensions after the axis.
    pub inner: usize,
    /// True if an index counts from the start of the output: the index along the axis plus `o · axis`. `inner` is 1.
    pub flat: bool,
}

impl ScatterKernel {
    /// Writes the elements of one index of the outer dimensions.
    fn block<T: Copy>(&self, x: &[T], table: &[f64], nan: T, o: usize, y: &mut [T]) {
        for (at, (&x, &index)) in x.iter().zip(table).enumerate() {
            let index = match self.flat {
                true => index - (o * self.axis) as f64,
                false if index < 0.0 => index + self.axis as f64,
                false => index,
            };
            let i = at % self.inner;
            match index >= 0.0 && index < self.axis as f64 {
                true => y[index as usize * self.inner + i] = x,
                false => y[i] = nan,
            }
        }
    }
}

uniform! { len: u32, axis: u32, count: u32, inner: u32, missing: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "scatter",
    file: "movement/scatter",
    shared: [],
    doc: "elements along an axis, written to computed places",
};

impl Kernel for ScatterKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.outer * self.count * self.inner; 2]
    }

    fn output_len(&self) -> usize {
        self.outer * self.axis * self.inner
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (from, to) = (self.count * self.inner, self.axis * self.inner);
        for o in 0..self.outer {
            let (x, table) = (&inputs[0][o * from..][..from], &inputs[1][o * from..][..from]);
            self.block(x, table, f64::NAN, o, &mut output[o * to..][..to]);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (from, to) = (self.count * self.inner, self.axis * self.inner);
        output.par_chunks_mut(to.max(1)).enumerate().for_each(|(o, y)| {
            let table: Vec<f64> = inputs[1][o * from..][..from].iter().map(|&i| i.into()).collect();
            self.block(&inputs[0][o * from..][..from], &table, f32::NAN, o, y);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let len = self.outer * self.inner;
        let params = Params {
            len: word(len),
            axis: word(self.axis),
            count: word(self.count),
            inner: word(self.inner),
            missing: f32::NAN,
        };
        Dispatch {
            overrides: vec![("FLAT", f64::from(u8::from(self.flat)))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn gradient(&self, input: usize) -> Gradient {
        if input != 0 {
            return Gradient::Zero;
        }
        let Self { outer, axis, count, inner, flat } = *self;
        let mut builder = GradientBuilder::default();
        let inputs = vec![GradientOperand::OutputGradient, GradientOperand::Input(1)];
        let gx = builder.call(ScatterGradient { outer, axis, count, inner, flat }, inputs);
        builder.finish(gx)
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, (outer, axis, count, inner): (usize, usize, usize, usize), flat, step: usize| {
        let kernel = ScatterKernel { outer, axis, count, inner, flat };
        let len = kernel.input_lens()[0];
        let place = |t: usize| {
            let along = t * step % axis;
            let start = if flat { t / count * axis } else { 0 };
            // Every other index counts from the end, unless it is flat.
            (start + along) as f32 - if flat || t.is_multiple_of(2) { 0.0 } else { axis as f32 }
        };
        let inputs = vec![noise(len, 1), (0..len).map(place).collect()];
        Case { label: label.to_owned(), kernel: std::sync::Arc::new(kernel), inputs }
    };
    vec![
        case("one element", (1, 1, 1, 1), false, 1),
        case("every place, in another order", (3, 17, 17, 5), false, 7),
        case("several elements for one place", (2, 5, 33, 3), false, 3),
        case("planes with flat indices", (67, 20, 6, 1), true, 3),
        case("last of equal flat indices", (3, 4, 9, 1), true, 3),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_beyond_the_axis_writes_nan() {
        for (flat, table) in [(true, [0.0, 1.0, 3.0, 1.0]), (false, [0.0, 1.0, 3.0, -4.0])] {
            let kernel = ScatterKernel { outer: 2, axis: 3, count: 2, inner: 1, flat };
            let mut y = [0.0; 6];
            kernel.reference(&[&[1.0, 2.0, 3.0, 4.0], &table], &mut y);
            assert_eq!(y[..3], [1.0, 2.0, 0.0]);
            assert!(y[3].is_nan(), "the second index of the second line is beyond it: {y:?}");
        }
    }
}
