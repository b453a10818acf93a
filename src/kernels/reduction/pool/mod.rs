//! Maximum and average pooling over windows.

pub(crate) mod average_gradient;
pub(crate) mod max_gradient;

use std::sync::Arc;

use bytemuck::bytes_of;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

pub use self::average_gradient::AveragePoolGradient;
pub use self::max_gradient::MaxPoolGradient;
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::host::padded_rows::PaddedRows;
use crate::kernels::host::scratch;
use crate::kernels::instructions;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow, share};
use crate::kernels::shader::{grid, row, uniform, word, words};
use crate::kernels::window::{Windows, WindowsUniform};

/// The function of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element; NaN if the window holds one, minus infinity if it covers only padding.
    Max,
    /// The mean of the window's elements.
    Average {
        /// True if padding counts as zeros. Elements beyond the padding, which rounding up of sizes (`ceil_mode`) may
        /// include, never count.
        count_include_pad: bool,
    },
}

/// Pooling from `[planes, h, w]` to `[planes, oh, ow]`. Global pooling uses a window as large as the plane.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolKernel {
    /// The function of each window.
    pub kind: PoolKind,
    /// Number of planes: images times channels.
    pub planes: usize,
    /// Placement of the windows on a plane.
    pub windows: Windows,
    /// Padding after the last row and column.
    pub pad_end: [usize; 2],
}

/// The larger of two numbers, or NaN if either is NaN.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

/// Input indices that a window covers along one axis.
#[derive(Clone)]
struct AxisWindow {
    /// Indices that exist in the input.
    real: std::iter::StepBy<std::ops::Range<usize>>,
    /// Number of elements that count, including padding if it counts.
    padded: usize,
}

impl PoolKernel {
    /// The maximum over every 2×2 elements of planes of a given size; an odd last row or column is skipped.
    pub(crate) fn by_twos(planes: usize, in_hw: [usize; 2]) -> Self {
        Self { kind: PoolKind::Max, planes, windows: Windows::by_twos(in_hw), pad_end: [0, 0] }
    }

    /// Returns whether the call takes the maximum over every 2×2 elements. An odd last row or column may be padded or
    /// skipped.
    pub fn is_by_twos(&self) -> bool {
        *self == Self { pad_end: self.pad_end, ..Self::by_twos(self.planes, self.windows.in_hw) }
    }

    /// The window of output index `o` along `axis` (0 for rows, 1 for columns).
    fn span(&self, axis: usize, o: usize) -> AxisWindow {
        let Windows { in_hw, kernel, stride, dilation, pad, .. } = self.windows;
        let (size, pad, step) = (in_hw[axis], pad[axis], dilation[axis]);
        // Coordinates start at the padding.
        let first = o * stride[axis];
        let past = first + kernel[axis] * step;
        let within = |end: usize| past.min(end).saturating_sub(first).div_ceil(step);
        let skipped = pad.saturating_sub(first).div_ceil(step);
        let start = first + skipped * step;
        let end = past.min(pad + size).max(start);
        AxisWindow {
            real: (start - pad..end - pad).step_by(step),
            padded: within(pad + size + self.pad_end[axis]),
        }
    }

    /// Number of elements of a window that count.
    fn counted(&self, rows: &AxisWindow, columns: &AxisWindow) -> usize {
        match self.kind {
            PoolKind::Average { count_include_pad: true } => rows.padded * columns.padded,
            _ => rows.real.len() * columns.real.len(),
        }
    }

    /// The override `FOURS` of the shader: 0 unless it can compute four maxima at a time.
    fn fours(&self) -> u32 {
        let Windows { in_hw: [_, row], kernel: [_, width], stride, dilation, pad, .. } = self.windows;
        let two_apart = stride[1] == 2 && dilation[1] == 1 && matches!(width, 2 | 3);
        match pad[1] {
            pad @ (0 | 1) if self.kind == PoolKind::Max && two_apart && row.is_multiple_of(4) => {
                pad as u32 + 1
            }
            _ => 0,
        }
    }

    fn in_plane(&self) -> usize {
        self.windows.pixels()
    }

    fn out_plane(&self) -> usize {
        self.windows.positions()
    }
}

/// Most taps of a window whose maximum is computed tap by tap.
const MAX_TAPS: usize = 64;
/// Most windows that are processed together.
const LANES: usize = 16;
/// Least number of elements for a host task.
const TASK: usize = 1 << 15;

impl PoolKernel {
    /// Computes maxima tap by tap over adjacent windows.
    fn cpu_max(&self, x: &[f32], output: &mut [f32]) {
        let (arch, windows, plane) = (instructions::arch(), self.windows, self.out_plane());
        let padded = PaddedRows::of(&windows, 0, plane);
        let taps: Vec<usize> = (0..windows.taps()).map(|tap| padded.tap(&windows, tap)).collect();
        let planes = output.par_chunks_mut(plane).zip(x.par_chunks(self.in_plane()));
        planes.with_min_len(1 + TASK / (plane * taps.len())).for_each(|(y, x)| {
            scratch::with(padded.len() + LANES, |room| {
                arch.dispatch(Maxima { windows, padded, x, taps: &taps, y, room });
            });
        });
    }

    /// Computes windows of any function and size.
    fn cpu_any(&self, x: &[f32], output: &mut [f32]) {
        let columns: Vec<AxisWindow> = (0..self.windows.out_hw[1]).map(|ox| self.span(1, ox)).collect();
        let planes = output.par_chunks_mut(self.out_plane()).zip(x.par_chunks(self.in_plane()));
        planes.for_each(|(y, x)| {
            for (oy, y) in y.chunks_mut(self.windows.out_hw[1]).enumerate() {
                let rows = self.span(0, oy);
                for (y, columns) in y.iter_mut().zip(&columns) {
                    let window = rows.real.clone().flat_map(|iy| {
                        columns.real.clone().map(move |ix| x[iy * self.windows.in_hw[1] + ix])
                    });
                    *y = match self.kind {
                        PoolKind::Max => window
                            .fold(f32::NEG_INFINITY, |max, v| if v > max || v.is_nan() { v } else { max }),
                        PoolKind::Average { .. } => {
                            let count = self.counted(&rows, columns);
                            (window.map(f64::from).sum::<f64>() / count as f64) as f32
                        }
                    };
                }
            }
        });
    }
}

/// Computes the maxima of a plane.
struct Maxima<'a> {
    windows: Windows,
    padded: PaddedRows,
    x: &'a [f32],
    /// Positions of the taps in the padded rows.
    taps: &'a [usize],
    y: &'a mut [f32],
    room: &'a mut [f32],
}

impl WithSimd for Maxima<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.padded.fill(&self.windows, self.x, f32::NEG_INFINITY, self.room);
        let step = self.windows.stride[0] * self.padded.row_len();
        for (row, y) in self.y.chunks_exact_mut(self.windows.out_hw[1]).enumerate() {
            for (part, y) in y.chunks_mut(S::F32_LANES).enumerate() {
                let first = row * step + part * S::F32_LANES;
                let mut most = simd.splat_f32s(f32::NEG_INFINITY);
                for tap in self.taps {
                    let seen = S::as_simd_f32s(&self.room[first + tap..][..S::F32_LANES]).0[0];
                    // A NaN is not equal to itself; it stays because no number is greater.
                    let same = simd.equal_f32s(seen, seen);
                    let newer = simd.or_m32s(simd.greater_than_f32s(seen, most), simd.not_m32s(same));
                    most = simd.select_f32s(newer, seen, most);
                }
                simd.partial_store_f32s(y, most);
            }
        }
    }
}

uniform! {
    len: u32,
    out_plane: u32,
    lowest: f32,
    across: u32,
    windows: WindowsUniform,
    pad_end: [u32; 2],
    unused: [u32; 2],
}

pub(crate) static ROW: KernelRow = row! {
    name: "pool",
    file: "reduction/pool",
    shared: ["windows", "quotient", "nan"],
    doc: "maximum or average pooling",
};

impl Kernel for PoolKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.planes * self.in_plane()]
    }

    fn output_len(&self) -> usize {
        self.planes * self.out_plane()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let windows = self.windows;
        let [[h, w], [oh, ow]] = [windows.in_hw, windows.out_hw].map(|hw| hw.map(|n| n as isize));
        // Index along an axis that tap `t` of window `o` reads.
        let at = |axis: usize, o: isize, t: usize| {
            o * windows.stride[axis] as isize + (t * windows.dilation[axis]) as isize
                - windows.pad[axis] as isize
        };
        for plane in 0..self.planes as isize {
            for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
                let (mut max, mut sum, mut real, mut padded) = (f64::NEG_INFINITY, 0.0, 0, 0);
                for (ty, tx) in
                    (0..windows.kernel[0]).flat_map(|ty| (0..windows.kernel[1]).map(move |tx| (ty, tx)))
                {
                    let (y, x) = (at(0, oy, ty), at(1, ox, tx));
                    if y < h + self.pad_end[0] as isize && x < w + self.pad_end[1] as isize {
                        padded += 1;
                    }
                    if (0..h).contains(&y) && (0..w).contains(&x) {
                        let v = inputs[0][((plane * h + y) * w + x) as usize];
                        max = larger(max, v);
                        sum += v;
                        real += 1;
                    }
                }
                output[((plane * oh + oy) * ow + ox) as usize] = match self.kind {
                    PoolKind::Max => max,
                    PoolKind::Average { count_include_pad } => {
                        sum / f64::from(if count_include_pad { padded } else { real })
                    }
                };
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        if self.kind == PoolKind::Max && self.windows.taps() <= MAX_TAPS {
            self.cpu_max(inputs[0], output);
        } else {
            self.cpu_any(inputs[0], output);
        }
    }

    fn dispatch(&self) -> Dispatch {
        let (fours, across) = (self.fours(), self.windows.out_hw[1].div_ceil(4));
        let len = match fours {
            0 => self.output_len(),
            _ => self.planes * self.windows.out_hw[0] * across,
        };
        let params = Params {
            len: word(len),
            out_plane: word(self.out_plane()),
            lowest: f32::NEG_INFINITY,
            across: word(across),
            windows: self.windows.words(),
            pad_end: words(self.pad_end),
            unused: [0; 2],
        };
        let kind = match self.kind {
            PoolKind::Max => 0.0,
            PoolKind::Average { count_include_pad: false } => 1.0,
            PoolKind::Average { count_include_pad: true } => 2.0,
        };
        Dispatch {
            overrides: vec![("KIND", kind), ("FOURS", fours.into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        Some(Arc::new(Self { planes: share(self.planes, batch, images)?, ..self.clone() }))
    }

    fn gradient(&self, _input: usize) -> Gradient {
        let mut builder = GradientBuilder::default();
        let Self { kind, planes, windows, pad_end } = *self;
        let gy = GradientOperand::OutputGradient;
        let gx = match kind {
            PoolKind::Max => {
                let inputs = vec![GradientOperand::Input(0), GradientOperand::Output, gy];
                builder.call(MaxPoolGradient { planes, windows }, inputs)
            }
            PoolKind::Average { count_include_pad } => {
                builder.call(AveragePoolGradient { planes, windows, pad_end, count_include_pad }, vec![gy])
            }
        };
        builder.finish(gx)
    }

    fn tolerance(&self) -> Tolerance {
        match self.kind {
            PoolKind::Max => Tolerance::EXACT,
            PoolKind::Average { .. } => Tolerance::SUMS,
        }
    }
}

/// Planes and windows for the tests of pooling and its gradients: label, planes, windows and padding at the end.
fn shapes() -> [(&'static str, usize, Windows, [usize; 2]); 9] {
    let twos = Windows::by_twos([8, 8]);
    [
        ("2×2 with stride 2", 3, twos, [0, 0]),
        ("one element", 1, Windows::points([1, 1]), [0, 0]),
        ("a whole odd plane", 17, Windows { in_hw: [7, 9], out_hw: [1, 1], kernel: [7, 9], ..twos }, [0, 0]),
        (
            "windows that overlap, padded on one side",
            3,
            Windows { in_hw: [9, 7], out_hw: [4, 4], kernel: [3, 3], pad: [0, 1], ..twos },
            [0, 1],
        ),
        // (5 - 3) / 2 + 1 = 2 is rounded up to 3 for 6 rows: the last window exceeds the plane.
        (
            "rounded up, beyond the padding",
            3,
            Windows { in_hw: [6, 7], out_hw: [3, 4], kernel: [3, 3], ..twos },
            [0, 1],
        ),
        (
            "overlapping, over whole quads, padded",
            3,
            Windows { in_hw: [13, 16], out_hw: [7, 8], kernel: [3, 3], pad: [1, 1], ..twos },
            [1, 0],
        ),
        (
            "tall windows over whole quads, the last one sticks out",
            23,
            Windows { in_hw: [6, 12], out_hw: [2, 6], kernel: [5, 3], stride: [1, 2], ..twos },
            [0, 0],
        ),
        (
            "over whole quads, to odd rows, padded on both sides",
            3,
            Windows { in_hw: [4, 8], out_hw: [3, 5], pad: [1, 1], ..twos },
            [1, 1],
        ),
        (
            "dilated, asymmetric",
            3,
            Windows {
                in_hw: [11, 10],
                out_hw: [10, 6],
                kernel: [3, 2],
                stride: [1, 2],
                dilation: [2, 3],
                pad: [2, 1],
            },
            [1, 2],
        ),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let kinds = [
        PoolKind::Max,
        PoolKind::Average { count_include_pad: false },
        PoolKind::Average { count_include_pad: true },
    ];
    let every = |kind| {
        shapes().map(|(label, planes, windows, pad_end)| {
            noise_case(format!("{label}, {kind:?}"), PoolKernel { kind, planes, windows, pad_end })
        })
    };
    kinds.into_iter().flat_map(every).collect()
}
