//! The gradient of a copy that repeats elements, as an expansion does, and of every broadcast operand.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::layout;
use crate::kernels::shader::{WORKGROUP, grid, row, uniform, word};

/// Sums the gradients of all copies of an element.
///
/// `gx[gx_offset + Σ i·gx_strides] = Σ_j gy[gy_offset + Σ i·gy_strides + Σ j·gy_strides]`, for every index `i` of the
/// first `kept` axes, over all indices `j` of the other axes. Other elements of the output are unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyGradient {
    /// Axes of the copy, at most six: first those that the input has, then those that repeat it.
    pub shape: Vec<usize>,
    /// Number of axes that the input has.
    pub kept: usize,
    /// Number of elements of the output's gradient.
    pub gy_len: usize,
    /// Position of index 0 in the output's gradient.
    pub gy_offset: usize,
    /// Strides of the output's gradient for each axis.
    pub gy_strides: Vec<isize>,
    /// Number of elements of the input's gradient.
    pub gx_len: usize,
    /// Position of index 0 in the input's gradient.
    pub gx_offset: usize,
    /// Strides of the input's gradient for each axis; 0 for the axes that repeat it.
    pub gx_strides: Vec<isize>,
}

impl CopyGradient {
    /// Returns the gradient of a copy over `shape`: length, position of index 0 and strides of its input and output.
    ///
    /// Axes with a stride of 0 in the input are summed. Returns `None` if more than six axes remain after merging.
    pub(crate) fn new(
        shape: &[usize],
        (gx_len, gx_offset, gx_strides): (usize, usize, &[isize]),
        (gy_len, gy_offset, gy_strides): (usize, usize, &[isize]),
    ) -> Option<Self> {
        let (shape, [gx_strides, gy_strides]) =
            layout::collapse(shape, [gx_strides.to_vec(), gy_strides.to_vec()])?;
        let mut axes: Vec<usize> = (0..shape.len()).collect();
        // A stable sort: the axes that are summed follow.
        axes.sort_by_key(|&axis| gx_strides[axis] == 0);
        let kept = gx_strides.iter().filter(|&&stride| stride != 0).count();
        let [gx_strides, gy_strides] =
            [gx_strides, gy_strides].map(|strides| axes.iter().map(|&axis| strides[axis]).collect());
        let shape = axes.iter().map(|&axis| shape[axis]).collect();
        Some(Self { shape, kept, gy_len, gy_offset, gy_strides, gx_len, gx_offset, gx_strides })
    }

    /// Returns the gradient of a broadcast operand of `len` elements, with these strides over the output's `shape`.
    pub(crate) fn of_broadcast(shape: &[usize], len: usize, strides: &[isize]) -> Option<Self> {
        let dense = layout::broadcast_strides(shape, shape);
        Self::new(shape, (len, 0, strides), (shape.iter().product(), 0, &dense))
    }

    /// Number of sums that are written.
    pub(crate) fn sums(&self) -> usize {
        self.shape[..self.kept].iter().product()
    }

    /// Number of elements of a sum.
    fn count(&self) -> usize {
        self.shape[self.kept..].iter().product()
    }

    /// Returns whether the shader computes each sum by a workgroup.
    fn is_wide(&self) -> bool {
        self.count() >= 4 * WORKGROUP && self.sums() < 1 << 12
    }

    /// Adjacent sums whose elements are adjacent too.
    fn lanes(&self) -> usize {
        match (self.kept, self.gy_strides.get(self.kept.wrapping_sub(1))) {
            (kept @ 1.., Some(1)) => self.shape[kept - 1],
            _ => 1,
        }
    }

    /// Computes adjacent sums, whose first elements start at `start`.
    fn add(&self, gy: &[f32], start: isize, sums: &mut [f64]) {
        let (shape, strides) = (&self.shape[self.kept..], &self.gy_strides[self.kept..]);
        let (len, step) = (shape.last().copied().unwrap_or(1), strides.last().copied().unwrap_or(0));
        let rows = 0..shape.iter().product::<usize>() / len.max(1);
        layout::for_each_row(shape, &[strides], rows, |_, [offset]| {
            let at = |i: usize| (start + offset + i as isize * step) as usize;
            match sums {
                [sum] if step == 1 => *sum += total(&gy[at(0)..][..len]),
                [sum] => *sum += (0..len).map(|i| f64::from(gy[at(i)])).sum::<f64>(),
                _ => (0..len).for_each(|i| {
                    sums.iter_mut().zip(&gy[at(i)..]).for_each(|(sum, &gy)| *sum += f64::from(gy));
                }),
            }
        });
    }
}

/// The sum of adjacent elements, in 16 partial sums.
fn total(x: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 16];
    let (parts, rest) = x.as_chunks::<16>();
    for part in parts {
        lanes.iter_mut().zip(part).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    lanes.iter_mut().zip(rest).for_each(|(sum, &x)| *sum += f64::from(x));
    lanes.iter().sum()
}

uniform! {
    shape: [[u32; 4]; 2],
    gy_strides: [[i32; 4]; 2],
    gx_strides: [[i32; 4]; 2],
    kept: u32,
    axes: u32,
    len: u32,
    count: u32,
    gy_offset: u32,
    gx_offset: u32,
    unused: [u32; 2],
}

pub(crate) static ROW: KernelRow = row! {
    name: "copy_gradient",
    file: "movement/copy_gradient",
    shared: ["quotient"],
    doc: "gradient of a copy that repeats elements",
};

/// Most adjacent sums of a host task.
const LANES: usize = 64;

impl Kernel for CopyGradient {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.gy_len]
    }

    fn output_len(&self) -> usize {
        self.gx_len
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let place = |index: usize, axes: std::ops::Range<usize>| {
            let (mut rest, mut gy, mut gx) = (index, 0, 0);
            for axis in axes.rev() {
                let step = (rest % self.shape[axis]) as isize;
                rest /= self.shape[axis];
                gy += step * self.gy_strides[axis];
                gx += step * self.gx_strides[axis];
            }
            (gy, gx)
        };
        for i in 0..self.sums() {
            let (gy, gx) = place(i, 0..self.kept);
            let first = self.gy_offset as isize + gy;
            let copies =
                (0..self.count()).map(|j| (first + place(j, self.kept..self.shape.len()).0) as usize);
            output[(self.gx_offset as isize + gx) as usize] = copies.map(|at| inputs[0][at]).sum();
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if self.sums() == 0 {
            return;
        }
        let (lanes, shape) = (self.lanes(), &self.shape[..self.kept]);
        let strides = [&self.gy_strides[..self.kept], &self.gx_strides[..self.kept]];
        // Rows of adjacent sums: without any, each sum is a row of its own.
        let (outer, steps) = if lanes == 1 {
            (shape.to_vec(), strides)
        } else {
            (shape[..self.kept - 1].to_vec(), strides.map(|s| &s[..self.kept - 1]))
        };
        let mut starts = Vec::with_capacity(self.sums() / lanes);
        let boxed: Vec<usize> = outer.iter().copied().chain([1]).collect();
        let padded = steps.map(|s| s.iter().copied().chain([0]).collect::<Vec<isize>>());
        layout::for_each_row(&boxed, &[&padded[0], &padded[1]], 0..self.sums() / lanes, |_, at| {
            starts.push(at);
        });
        let parts = lanes.div_ceil(LANES);
        let sums: Vec<Vec<f64>> = (0..starts.len() * parts)
            .into_par_iter()
            .with_min_len(1 + (1 << 12) / (self.count() * lanes.min(LANES)).max(1))
            .map(|task| {
                let first = task % parts * LANES;
                let mut sums = vec![0.0; LANES.min(lanes - first)];
                let start = self.gy_offset as isize + starts[task / parts][0] + first as isize;
                self.add(inputs[0], start, &mut sums);
                sums
            })
            .collect();
        let step = if lanes == 1 { 0 } else { self.gx_strides[self.kept - 1] };
        for (task, sums) in sums.into_iter().enumerate() {
            let start = self.gx_offset as isize + starts[task / parts][1];
            for (lane, sum) in sums.into_iter().enumerate() {
                output[(start + (task % parts * LANES + lane) as isize * step) as usize] = sum as f32;
            }
        }
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            shape: layout::shape_words(&self.shape),
            gy_strides: layout::stride_words(&self.gy_strides),
            gx_strides: layout::stride_words(&self.gx_strides),
            kept: word(self.kept),
            axes: word(self.shape.len()),
            len: word(self.sums()),
            count: word(self.count()),
            gy_offset: word(self.gy_offset),
            gx_offset: word(self.gx_offset),
            unused: [0; 2],
        };
        let invocations = if self.is_wide() { self.sums() * WORKGROUP } else { self.sums() };
        Dispatch {
            overrides: vec![("WIDE", f64::from(u8::from(self.is_wide())))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(invocations),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let broadcast = |label, shape: &[usize], of: &[usize]| {
        let strides = layout::broadcast_strides(of, shape);
        let call = CopyGradient::of_broadcast(shape, of.iter().product(), &strides);
        noise_case(label, call.expect("six axes at most"))
    };
    let part = CopyGradient::new(&[5, 3, 7], (60, 10, &[11, 0, -1]), (500, 9, &[70, 14, 2]));
    vec![
        broadcast("one element", &[1], &[1]),
        broadcast("a scalar of a long array", &[3, 5_001], &[]),
        broadcast("a channel vector of small planes", &[3, 17, 5, 5], &[17, 1, 1]),
        broadcast("a vector of many rows, more than a block of sums", &[700, 131], &[131]),
        broadcast("a column", &[65, 33], &[65, 1]),
        broadcast("six axes that cannot be joined", &[2, 3, 3, 2, 2, 5], &[2, 1, 3, 1, 2, 1]),
        noise_case("a part of either, backwards, with gaps", part.expect("three axes")),
    ]
}
