//! ONNX's GridSample: images sampled at the positions of a grid.
//!
//! The formulas are those of ONNX Runtime, in this order: position, rounding (nearest), reflection of positions outside
//! of the image, then the taps around the position, each reflected again, or clamped to the border.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// The interpolation between elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridSampling {
    /// The nearest element; ties go to the even index.
    Nearest,
    /// Weighted by distance along each axis.
    Linear,
    /// Cubic convolution with the coefficient −0.75, of planes only.
    Cubic,
}

/// The value at positions outside of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridPadding {
    /// Zero beyond the borders.
    Zeros,
    /// The nearest element of the border.
    Border,
    /// The image, mirrored at its borders.
    Reflection,
}

/// Samples `x [batch, channels, d, h, w]` at the `positions` of `grid [batch, positions, dims]`.
///
/// Output: `[batch, channels, positions]`. A position has the coordinates x, y and, for `dims` 3, z: −1 and 1 are the
/// borders of the image. A NaN among them yields NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct GridSample {
    /// Number of images in the batch.
    pub batch: usize,
    /// Channels of each image.
    pub channels: usize,
    /// Depth (1 for planes), height and width.
    pub input: [usize; 3],
    /// Number of positions for each image.
    pub positions: usize,
    /// Coordinates of a position: 2 for planes, 3 for volumes.
    pub dims: usize,
    /// The interpolation between elements.
    pub sampling: GridSampling,
    /// Value outside of the image.
    pub padding: GridPadding,
    /// True if −1 and 1 are the centres of the outermost elements, not their outer edges.
    pub align_corners: bool,
}

/// Coefficient of the cubic convolution.
const CUBIC: f64 = -0.75;
/// Most taps of a position along an axis.
const AXIS_TAPS: usize = 4;

/// The elements along one axis that a position reads, with their weights; `None` for a zero in their place.
type AxisTaps = [(Option<usize>, f64); AXIS_TAPS];

impl GridSample {
    fn elements(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of taps along an axis.
    fn axis_taps(&self) -> usize {
        match self.sampling {
            GridSampling::Nearest => 1,
            GridSampling::Linear => 2,
            GridSampling::Cubic => 4,
        }
    }

    /// The coordinates before which and after which reflection applies.
    fn bounds(&self, size: f64) -> (f64, f64) {
        if self.align_corners { (0.0, size - 1.0) } else { (-0.5, size - 0.5) }
    }

    /// Mirrors a coordinate at the bounds until it is inside.
    fn reflected(&self, at: f64, size: f64) -> f64 {
        let (low, high) = self.bounds(size);
        let span = high - low;
        if span <= 0.0 {
            return 0.0;
        }
        let beyond = if at < low { low - at } else { (at - high).max(0.0) };
        let turns = (beyond / span).floor();
        let rest = beyond - turns * span;
        let from_low = (turns % 2.0 == 0.0) == (at < low);
        match beyond > 0.0 {
            true => {
                if from_low {
                    low + rest
                } else {
                    high - rest
                }
            }
            false => at,
        }
    }

    /// Index of a whole coordinate; `None` for a zero outside of the axis.
    fn place(&self, at: f64, size: usize) -> Option<usize> {
        let (len, last) = (size as f64, size as f64 - 1.0);
        let inside = match self.padding {
            GridPadding::Zeros => at,
            GridPadding::Border => at.clamp(0.0, last),
            GridPadding::Reflection => self.reflected(at, len).clamp(0.0, last),
        };
        (0.0..=last).contains(&inside).then_some(inside as usize)
    }

    /// The taps along one axis for a grid coordinate, which is not NaN.
    fn along(&self, coordinate: f64, size: usize) -> AxisTaps {
        let len = size as f64;
        let mut at = match self.align_corners {
            true => (coordinate + 1.0) / 2.0 * (len - 1.0),
            false => ((coordinate + 1.0) * len - 1.0) / 2.0,
        };
        if self.sampling == GridSampling::Nearest {
            // Single precision decides ties, as in ONNX Runtime.
            let (coordinate, len) = (coordinate as f32, size as f32);
            let near = match self.align_corners {
                true => (coordinate + 1.0) / 2.0 * (len - 1.0),
                false => ((coordinate + 1.0) * len - 1.0) / 2.0,
            };
            at = f64::from(near.round_ties_even());
        }
        if self.padding == GridPadding::Reflection {
            at = self.reflected(at, len);
        }
        let (first, part) = (at.floor(), at - at.floor());
        let tap = |step: f64, weight: f64| (self.place(first + step, size), weight);
        let none = (None, 0.0);
        match self.sampling {
            GridSampling::Nearest => [tap(0.0, 1.0), none, none, none],
            GridSampling::Linear => [tap(0.0, 1.0 - part), tap(1.0, part), none, none],
            GridSampling::Cubic => {
                let near = |d: f64| ((CUBIC + 2.0) * d - (CUBIC + 3.0)) * d * d + 1.0;
                let far = |d: f64| ((CUBIC * d - 5.0 * CUBIC) * d + 8.0 * CUBIC) * d - 4.0 * CUBIC;
                [
                    tap(-1.0, far(part + 1.0)),
                    tap(0.0, near(part)),
                    tap(1.0, near(1.0 - part)),
                    tap(2.0, far(2.0 - part)),
                ]
            }
        }
    }

    /// The taps of a position along depth, height and width; `None` if a coordinate is NaN.
    fn taps(&self, position: &[f64]) -> Option<[AxisTaps; 3]> {
        if position.iter().any(|c| c.is_nan()) {
            return None;
        }
        let [depth, height, width] = self.input;
        let mut whole = [(None, 0.0); AXIS_TAPS];
        whole[0] = (Some(0), 1.0);
        let deep = position.get(2).map_or(whole, |&z| self.along(z, depth));
        Some([deep, self.along(position[1], height), self.along(position[0], width)])
    }

    /// Implements both host versions: a weighted sum in `f64`.
    fn sample<T: Copy + Into<f64>>(&self, x: &[T], taps: &Option<[AxisTaps; 3]>) -> f64 {
        let Some([deep, down, across]) = taps else { return f64::NAN };
        let [_, height, width] = self.input;
        let count = self.axis_taps();
        let mut sum = 0.0;
        for &(d, deep) in &deep[..if self.dims == 3 { count } else { 1 }] {
            for &(h, down) in &down[..count] {
                for &(w, across) in &across[..count] {
                    if let (Some(d), Some(h), Some(w)) = (d, h, w) {
                        sum += deep * down * across * x[(d * height + h) * width + w].into();
                    }
                }
            }
        }
        sum
    }
}

uniform! {
    len: u32,
    channels: u32,
    positions: u32,
    dims: u32,
    input: [u32; 3],
    missing: f32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "grid_sample",
    file: "sampling/grid_sample",
    shared: ["nan"],
    doc: "images sampled at the positions of a grid",
};

impl Kernel for GridSample {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.batch * self.channels * self.elements(), self.batch * self.positions * self.dims]
    }

    fn output_len(&self) -> usize {
        self.batch * self.channels * self.positions
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (at, y) in output.iter_mut().enumerate() {
            let (channel, position) = (at / self.positions, at % self.positions);
            let grid = (channel / self.channels * self.positions + position) * self.dims;
            let taps = self.taps(&inputs[1][grid..grid + self.dims]);
            *y = self.sample(&inputs[0][channel * self.elements()..][..self.elements()], &taps);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (grid, image) = (self.positions * self.dims, self.channels * self.positions);
        for (n, y) in output.chunks_mut(image.max(1)).enumerate() {
            let positions = inputs[1][n * grid..][..grid].par_chunks(self.dims);
            let taps: Vec<Option<[AxisTaps; 3]>> = positions
                .map(|position| {
                    let wide: Vec<f64> = position.iter().map(|&c| c.into()).collect();
                    self.taps(&wide)
                })
                .collect();
            y.par_chunks_mut(self.positions).enumerate().for_each(|(c, y)| {
                let x = &inputs[0][(n * self.channels + c) * self.elements()..][..self.elements()];
                y.iter_mut().zip(&taps).for_each(|(y, taps)| *y = self.sample(x, taps) as f32);
            });
        }
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.output_len()),
            channels: word(self.channels),
            positions: word(self.positions),
            dims: word(self.dims),
            input: self.input.map(word),
            missing: f32::NAN,
        };
        let padding = match self.padding {
            GridPadding::Zeros => 0.0,
            GridPadding::Border => 1.0,
            GridPadding::Reflection => 2.0,
        };
        Dispatch {
            overrides: vec![
                ("TAPS", self.axis_taps() as f64),
                ("PADDING", padding),
                ("ALIGN_CORNERS", f64::from(u8::from(self.align_corners))),
            ],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn tolerance(&self) -> Tolerance {
        // A rounding of the position moves a sample between elements.
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for sampling in [GridSampling::Nearest, GridSampling::Linear, GridSampling::Cubic] {
        for padding in [GridPadding::Zeros, GridPadding::Border, GridPadding::Reflection] {
            for align_corners in [false, true] {
                let sizes = [
                    (1, 1, [1, 1, 1], 1),
                    (2, 3, [1, 5, 7], 67),
                    (1, 5, [1, 1, 9], 13),
                    (2, 2, [3, 4, 5], 33),
                ];
                for (batch, channels, input, positions) in sizes {
                    let dims = if input[0] > 1 { 3 } else { 2 };
                    if dims == 3 && sampling == GridSampling::Cubic {
                        continue;
                    }
                    let kernel = GridSample {
                        batch,
                        channels,
                        input,
                        positions,
                        dims,
                        sampling,
                        padding,
                        align_corners,
                    };
                    let [x, grid] = kernel.input_lens()[..] else { unreachable!("two inputs") };
                    // Up to three sizes outside of the image, and no position near a tie.
                    let place = |(i, v): (usize, &f32)| {
                        let size = [input[2], input[1], input[0]][i % dims] as f32;
                        let at = (v * 3.5 * size).round() + 0.3;
                        match align_corners {
                            true => at / (size - 1.0).max(0.5) * 2.0 - 1.0,
                            false => (at * 2.0 + 1.0) / size - 1.0,
                        }
                    };
                    let positions = noise(grid, 2).iter().enumerate().map(place).collect();
                    let label = format!("{input:?}, {sampling:?}, {padding:?}, corners {align_corners}");
                    let inputs = vec![noise(x, 1), positions];
                    cases.push(Case { label, kernel: std::sync::Arc::new(kernel), inputs });
                }
            }
        }
    }
    cases
}
