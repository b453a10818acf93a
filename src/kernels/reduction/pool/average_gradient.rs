//! The gradient of average pooling.

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::{AxisWindow, PoolKernel, PoolKind, TASK, shapes};
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word, words};
use crate::kernels::window::{Windows, WindowsUniform};

/// Adds the gradient of each window to its elements, divided by the number of those that count.
///
/// Input: `gy [planes, oh, ow]`. Output: `[planes, h, w]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AveragePoolGradient {
    /// Number of planes: images times channels.
    pub planes: usize,
    /// Placement of the windows on a plane.
    pub windows: Windows,
    /// Padding after the last row and column.
    pub pad_end: [usize; 2],
    /// True if padding counts as zeros, as in [`PoolKind::Average`].
    pub count_include_pad: bool,
}

impl AveragePoolGradient {
    /// The call that is differentiated.
    fn pool(&self) -> PoolKernel {
        let Self { planes, windows, pad_end, count_include_pad } = *self;
        PoolKernel { kind: PoolKind::Average { count_include_pad }, planes, windows, pad_end }
    }
}

uniform! { windows: WindowsUniform, pad_end: [u32; 2], len: u32, unused: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "average_pool_gradient",
    file: "reduction/average_pool_gradient",
    shared: ["windows", "quotient", "covering"],
    doc: "gradient of average pooling",
};

impl Kernel for AveragePoolGradient {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.planes * self.windows.positions()]
    }

    fn output_len(&self) -> usize {
        self.planes * self.windows.pixels()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        output.fill(0.0);
        let [[h, w], [oh, ow]] = [self.windows.in_hw, self.windows.out_hw];
        // The mean of ones on a plane is the share of an element times the number of elements in the window.
        let mut means = vec![0.0; oh * ow];
        PoolKernel { planes: 1, ..self.pool() }.reference(&[&vec![1.0; h * w]], &mut means);
        for (at, gy) in inputs[0].iter().enumerate() {
            let (plane, window) = (at / (oh * ow), at % (oh * ow));
            let taps = |axis: usize, o: usize| -> Vec<usize> {
                (0..self.windows.kernel[axis]).filter_map(|tap| self.windows.at(axis, o, tap)).collect()
            };
            let (rows, columns) = (taps(0, window / ow), taps(1, window % ow));
            let share = means[window] / (rows.len() * columns.len()) as f64;
            for (y, x) in rows.iter().flat_map(|y| columns.iter().map(move |x| (y, x))) {
                output[(plane * h + y) * w + x] += share * gy;
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (pool, [_, w], [oh, ow]) = (self.pool(), self.windows.in_hw, self.windows.out_hw);
        if output.is_empty() || oh * ow == 0 {
            return output.fill(0.0);
        }
        let spans = |axis: usize| -> Vec<AxisWindow> {
            (0..self.windows.out_hw[axis]).map(|o| pool.span(axis, o)).collect()
        };
        let (rows, columns) = (spans(0), spans(1));
        let planes = output.par_chunks_mut(self.windows.pixels()).zip(inputs[0].par_chunks(oh * ow));
        planes.with_min_len(1 + TASK / (oh * ow * self.windows.taps())).for_each(|(gx, gy)| {
            gx.fill(0.0);
            for (rows, gy) in rows.iter().zip(gy.chunks_exact(ow)) {
                for (columns, gy) in columns.iter().zip(gy) {
                    let share = gy / pool.counted(rows, columns) as f32;
                    for row in rows.real.clone() {
                        let gx = &mut gx[row * w..][..w];
                        columns.real.clone().for_each(|column| gx[column] += share);
                    }
                }
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            windows: self.windows.words(),
            pad_end: words(self.pad_end),
            len: word(self.output_len()),
            unused: 0,
        };
        Dispatch {
            overrides: vec![("PADDED", f64::from(u8::from(self.count_include_pad)))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let every = |count_include_pad| {
        shapes().map(|(label, planes, windows, pad_end)| {
            let kernel = AveragePoolGradient { planes, windows, pad_end, count_include_pad };
            noise_case(format!("{label}, padding counts: {count_include_pad}"), kernel)
        })
    };
    [false, true].into_iter().flat_map(every).collect()
}
