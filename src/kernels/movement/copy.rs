//! Data movement: the kernel behind Transpose, Slice, Concat, Split, Pad, Expand, Gather of a range, DepthToSpace and
//! others.
//!
//! Both arrays are traversed by strides, so all of these are one loop. The channel analysis runs it on labels in
//! place of numbers, so [`Copy::apply`] is generic.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::layout;
use crate::kernels::movement::copy_gradient::CopyGradient;
use crate::kernels::movement::fill::Fill;
use crate::kernels::shader::{grid, row, uniform, word};
use crate::tensor::strides;

/// Copies a box of elements between strided layouts; created by [`Copy::new`].
///
/// `output[dst_offset + Σ i·dst_strides] = x[src_offset + Σ i·src_strides]` for every index `i` of `shape`. Other
/// elements of the output are unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// Axes of the box, at most six, after merging axes that both arrays step through alike.
    pub shape: Vec<usize>,
    /// Number of elements of the input.
    pub src_len: usize,
    /// Position of index 0 in the input.
    pub src_offset: usize,
    /// Strides of the input for each axis; may be 0 or negative.
    pub src_strides: Vec<isize>,
    /// Number of elements of the output buffer.
    pub dst_len: usize,
    /// Position of index 0 in the output.
    pub dst_offset: usize,
    /// Strides of the output for each axis.
    pub dst_strides: Vec<isize>,
}

impl Copy {
    /// Creates a call without padding. Returns `None` if more than six axes remain after merging.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        shape: &[usize],
        src_len: usize,
        src_offset: usize,
        src_strides: &[isize],
        dst_len: usize,
        dst_offset: usize,
        dst_strides: &[isize],
    ) -> Option<Self> {
        let (shape, [src_strides, dst_strides]) =
            layout::collapse(shape, [src_strides.to_vec(), dst_strides.to_vec()])?;
        Some(Self { shape, src_len, src_offset, src_strides, dst_len, dst_offset, dst_strides })
    }

    /// Creates a call that copies `len` adjacent elements from `first` on into an output of their own.
    pub(crate) fn range(src_len: usize, first: usize, len: usize) -> Self {
        Self {
            shape: vec![len],
            src_len,
            src_offset: first,
            src_strides: vec![1],
            dst_len: len,
            dst_offset: 0,
            dst_strides: vec![1],
        }
    }

    /// Number of elements that are moved.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether no element is moved.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the copy over units of `unit` adjacent elements; `None` if it splits a unit.
    pub fn of_units(&self, unit: usize) -> Option<Self> {
        if unit == 1 || self.is_empty() {
            return Some(self.clone());
        }
        let whole = |n: usize| n.is_multiple_of(unit).then_some(n / unit);
        let mut copy = self.clone();
        for strides in [&mut copy.src_strides, &mut copy.dst_strides] {
            if strides.pop() != Some(1) {
                return None;
            }
            for stride in strides.iter_mut() {
                let units = whole(stride.unsigned_abs())? as isize;
                *stride = units * stride.signum();
            }
            strides.push(1);
        }
        let row = copy.shape.last_mut()?;
        *row = whole(*row)?;
        for n in [&mut copy.src_len, &mut copy.src_offset, &mut copy.dst_len, &mut copy.dst_offset] {
            *n = whole(*n)?;
        }
        Some(copy)
    }

    /// Returns the copy from the output's elements back to the input's, in the input's order.
    fn reversed(&self) -> Self {
        let mut axes: Vec<usize> = (0..self.shape.len()).collect();
        axes.sort_by_key(|&axis| std::cmp::Reverse(self.src_strides[axis].unsigned_abs()));
        Self {
            shape: axes.iter().map(|&axis| self.shape[axis]).collect(),
            src_len: self.dst_len,
            src_offset: self.dst_offset,
            src_strides: axes.iter().map(|&axis| self.dst_strides[axis]).collect(),
            dst_len: self.src_len,
            dst_offset: self.src_offset,
            dst_strides: axes.iter().map(|&axis| self.src_strides[axis]).collect(),
        }
    }

    /// Returns whether different indices of all axes with a stride read different elements.
    fn reads_are_distinct(&self) -> bool {
        let mut axes: Vec<(usize, usize)> =
            self.src_strides.iter().map(|stride| stride.unsigned_abs()).zip(self.shape.clone()).collect();
        axes.sort_unstable();
        let mut reach = 0;
        axes.into_iter().filter(|&(stride, _)| stride != 0).all(|(stride, size)| {
            let beyond = stride > reach;
            reach += stride * (size - 1);
            beyond
        })
    }

    /// Copies elements of any type.
    pub fn apply<T: std::marker::Copy>(&self, src: &[T], dst: &mut [T]) {
        if self.is_empty() {
            return;
        }
        let row_len = self.shape.last().copied().unwrap_or(1);
        let [src_step, dst_step] =
            [&self.src_strides, &self.dst_strides].map(|s| s.last().copied().unwrap_or(1));
        let rows = self.len() / row_len;
        layout::for_each_row(&self.shape, &[&self.src_strides, &self.dst_strides], 0..rows, |_, [s, d]| {
            let (s, d) = (self.src_offset as isize + s, self.dst_offset as isize + d);
            if (src_step, dst_step) == (1, 1) {
                dst[d as usize..][..row_len].copy_from_slice(&src[s as usize..][..row_len]);
            } else {
                for i in 0..row_len as isize {
                    dst[(d + i * dst_step) as usize] = src[(s + i * src_step) as usize];
                }
            }
        });
    }
}

uniform! {
    shape: [[u32; 4]; 2],
    src_strides: [[i32; 4]; 2],
    dst_strides: [[i32; 4]; 2],
    axes: u32,
    len: u32,
    src_offset: u32,
    dst_offset: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "copy",
    file: "movement/copy",
    shared: ["quotient"],
    doc: "copy between strided layouts",
};

impl Kernel for Copy {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.src_len]
    }

    fn output_len(&self) -> usize {
        self.dst_len
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for i in 0..self.len() {
            let (mut rest, mut s, mut d) = (i, self.src_offset as isize, self.dst_offset as isize);
            for axis in (0..self.shape.len()).rev() {
                let index = (rest % self.shape[axis]) as isize;
                rest /= self.shape[axis];
                s += index * self.src_strides[axis];
                d += index * self.dst_strides[axis];
            }
            output[d as usize] = inputs[0][s as usize];
        }
    }

    /// Uses all cores if the output is written from end to end, as in a transposition.
    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let dense =
            self.dst_offset == 0 && self.len() == self.dst_len && self.dst_strides == strides(&self.shape);
        if !dense || self.is_empty() {
            return self.apply(inputs[0], output);
        }
        let row_len = self.shape.last().copied().unwrap_or(1);
        let step = self.src_strides.last().copied().unwrap_or(1);
        let rows_of_task = (1 << 14) / row_len + 1;
        output.par_chunks_mut(rows_of_task * row_len).enumerate().for_each(|(task, y)| {
            let first = task * rows_of_task;
            let rows = first..first + y.len() / row_len;
            layout::for_each_row(&self.shape, &[&self.src_strides], rows, |row, [s]| {
                let y = &mut y[(row - first) * row_len..][..row_len];
                let s = self.src_offset as isize + s;
                if step == 1 {
                    y.copy_from_slice(&inputs[0][s as usize..][..row_len]);
                } else if step == 0 {
                    y.fill(inputs[0][s as usize]);
                } else {
                    let at = |i: usize| (s + i as isize * step) as usize;
                    y.iter_mut().enumerate().for_each(|(i, y)| *y = inputs[0][at(i)]);
                }
            });
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            shape: layout::shape_words(&self.shape),
            src_strides: layout::stride_words(&self.src_strides),
            dst_strides: layout::stride_words(&self.dst_strides),
            axes: word(self.shape.len()),
            len: word(self.len()),
            src_offset: word(self.src_offset),
            dst_offset: word(self.dst_offset),
        };
        Dispatch { overrides: Vec::new(), params: bytes_of(&params).to_vec(), workgroups: grid(self.len()) }
    }

    fn gradient(&self, _input: usize) -> Gradient {
        if self.is_empty() {
            return Gradient::Zero;
        }
        let source = (self.src_len, self.src_offset, &self.src_strides[..]);
        let target = (self.dst_len, self.dst_offset, &self.dst_strides[..]);
        if source == target && self.len() == self.src_len {
            return GradientBuilder::default().finish(GradientOperand::OutputGradient);
        }
        if !self.reads_are_distinct() {
            return Gradient::Unknown;
        }
        let Some(repeats) = CopyGradient::new(&self.shape, source, target) else { return Gradient::Unknown };
        let mut builder = GradientBuilder::default();
        let gy = vec![GradientOperand::OutputGradient];
        let whole = repeats.sums() == self.src_len;
        let gx = match (whole, repeats.sums() == self.len()) {
            (true, true) => builder.call(self.reversed(), gy),
            (true, false) => builder.call(repeats, gy),
            (false, distinct) => {
                let gx = builder.call(Fill { len: self.src_len, value: 0.0 }, vec![]);
                if distinct {
                    builder.call_into(self.reversed(), gy, &gx);
                } else {
                    builder.call_into(repeats, gy, &gx);
                }
                gx
            }
        };
        builder.finish(gx)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label, shape: &[usize], src: (usize, usize, &[isize]), dst: (usize, usize, &[isize])| {
        let copy = Copy::new(shape, src.0, src.1, src.2, dst.0, dst.1, dst.2);
        noise_case(label, copy.expect("six axes at most"))
    };
    vec![
        case("one element", &[1], (1, 0, &[1]), (1, 0, &[1])),
        case("all of it", &[3, 5, 7], (105, 0, &[35, 7, 1]), (105, 0, &[35, 7, 1])),
        case("a transposition", &[17, 65], (1105, 0, &[1, 17]), (1105, 0, &[65, 1])),
        case("backwards", &[33], (33, 32, &[-1]), (33, 0, &[1])),
        case("every other column, backwards", &[5, 3], (30, 5, &[6, -2]), (15, 0, &[3, 1])),
        case("an expansion", &[3, 5, 7], (5, 0, &[0, 1, 0]), (105, 0, &[35, 7, 1])),
        case(
            "into the middle of a concatenation",
            &[3, 5, 9],
            (135, 0, &[45, 9, 1]),
            (3 * 17 * 9, 36, &[153, 9, 1]),
        ),
        case(
            "depth to space",
            &[3, 5, 2, 5, 2, 4],
            (1200, 0, &[400, 4, 200, 20, 100, 1]),
            (1200, 0, &[400, 80, 40, 8, 1, 2]),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_by_units_is_the_same_move() {
        // Channels 3, 1 of [2, 4, 6], to channels 1, 2 of [2, 3, 6].
        let copy = Copy::new(&[2, 2, 6], 48, 18, &[24, -12, 1], 36, 6, &[18, 6, 1]).unwrap();
        let mut plain = vec![99; 36];
        copy.apply(&(0..48).map(|i| i / 6).collect::<Vec<_>>(), &mut plain);
        let mut by_units = vec![99; 6];
        copy.of_units(6).unwrap().apply(&(0..8).collect::<Vec<_>>(), &mut by_units);
        assert_eq!(by_units, [99, 3, 1, 99, 7, 5]);
        assert_eq!(plain, by_units.iter().flat_map(|&label| [label; 6]).collect::<Vec<_>>());
        // Neither four elements of one channel with two of the next nor every second element form units.
        assert_eq!(copy.of_units(4), None);
        assert_eq!(Copy::new(&[3], 6, 0, &[2], 3, 0, &[1]).unwrap().of_units(3), None);
    }
}
