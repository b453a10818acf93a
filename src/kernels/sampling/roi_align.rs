//! ONNX's RoiAlign: regions of images, resampled to one size.

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word, words};

/// Samples regions of `x [batch, channels, h, w]` by linear interpolation, as ONNX Runtime does.
///
/// Inputs: x, `regions [regions, 4]` (left, top, right, bottom) and `images [regions]`, the image of each region. Output:
/// `[regions, channels, oh, ow]`. A region of an image that does not exist yields NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct RoiAlign {
    /// Number of images in the batch.
    pub batch: usize,
    /// Channels of each image.
    pub channels: usize,
    /// Height and width of an image.
    pub input: [usize; 2],
    /// Number of regions of all images.
    pub regions: usize,
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Factor from coordinates of regions to those of `x`.
    pub scale: f32,
    /// Samples of a bin along each axis; 0 for the bin's size, rounded up.
    pub samples: usize,
    /// True if coordinates refer to centres of pixels. If not, regions are at least one pixel large.
    pub half_pixel: bool,
    /// True for the largest weighted element of a bin's samples instead of their mean.
    pub max: bool,
}

/// One axis of a region. Single precision decides the number of samples, as in ONNX Runtime.
struct AxisBins {
    start: f32,
    bin: f32,
    samples: usize,
}

/// The elements before and after a coordinate, and the weight of the later one; `None` outside of the axis.
fn between(at: f32, size: usize) -> Option<(usize, usize, f64)> {
    let last = size - 1;
    if at.is_nan() || at < -1.0 || at > size as f32 {
        return None;
    }
    let at = at.max(0.0);
    let low = at as usize;
    if low >= last { Some((last, last, 0.0)) } else { Some((low, low + 1, f64::from(at - low as f32))) }
}

impl RoiAlign {
    fn bins(&self, from: f32, to: f32, count: usize) -> AxisBins {
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let start = from * self.scale - offset;
        let mut len = to * self.scale - offset - start;
        if !self.half_pixel {
            len = len.max(1.0);
        }
        let bin = len / count as f32;
        let samples = if self.samples > 0 { self.samples } else { bin.ceil().max(0.0) as usize };
        AxisBins { start, bin, samples }
    }

    /// Coordinate of a sample of a bin.
    fn coordinate(bins: &AxisBins, bin: usize, sample: usize) -> f32 {
        bins.start + bin as f32 * bins.bin + (sample as f32 + 0.5) * bins.bin / bins.samples as f32
    }

    /// Implements both host versions: positions in single precision, as in ONNX Runtime, and sums in double precision.
    fn value<T: Copy + Into<f64>>(&self, x: &[T], regions: &[T], images: &[T], at: usize) -> f64 {
        let [oh, ow] = self.output;
        let (plane, bin) = (at / (oh * ow), at % (oh * ow));
        let (region, channel) = (plane / self.channels, plane % self.channels);
        let image: f64 = images[region].into();
        if !(image >= 0.0 && image < self.batch as f64) {
            return f64::NAN;
        }
        let edge = |i: usize| regions[region * 4 + i].into() as f32;
        let (across, down) = (self.bins(edge(0), edge(2), ow), self.bins(edge(1), edge(3), oh));
        let [height, width] = self.input;
        let x = &x[(image as usize * self.channels + channel) * height * width..][..height * width];
        let (mut sum, mut most) = (0.0, None::<f64>);
        for row in 0..down.samples {
            let rows = between(Self::coordinate(&down, bin / ow, row), height);
            for column in 0..across.samples {
                let columns = between(Self::coordinate(&across, bin % ow, column), width);
                let parts = match (rows, columns) {
                    (Some((top, bottom, v)), Some((left, right, u))) => {
                        let part = |r: usize, c: usize, weight: f64| weight * x[r * width + c].into();
                        [
                            part(top, left, (1.0 - v) * (1.0 - u)),
                            part(top, right, (1.0 - v) * u),
                            part(bottom, left, v * (1.0 - u)),
                            part(bottom, right, v * u),
                        ]
                    }
                    _ => [0.0; 4],
                };
                sum += parts.iter().sum::<f64>();
                for part in parts {
                    most = Some(most.map_or(part, |m| if part > m || part.is_nan() { part } else { m }));
                }
            }
        }
        match self.max {
            true => most.unwrap_or(0.0),
            false => sum / (down.samples * across.samples).max(1) as f64,
        }
    }
}

uniform! {
    len: u32,
    channels: u32,
    input: [u32; 2],
    output: [u32; 2],
    batch: f32,
    scale: f32,
    samples: u32,
    missing: f32,
    unused: [u32; 2],
}

pub(crate) static ROW: KernelRow = row! {
    name: "roi_align",
    file: "sampling/roi_align",
    shared: ["nan"],
    doc: "regions of images, resampled to one size",
};

impl Kernel for RoiAlign {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let x = self.batch * self.channels * self.input.iter().product::<usize>();
        vec![x, self.regions * 4, self.regions]
    }

    fn output_len(&self) -> usize {
        self.regions * self.channels * self.output.iter().product::<usize>()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (at, y) in output.iter_mut().enumerate() {
            *y = self.value(inputs[0], inputs[1], inputs[2], at);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        output.par_iter_mut().enumerate().for_each(|(at, y)| {
            *y = self.value(inputs[0], inputs[1], inputs[2], at) as f32;
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.output_len()),
            channels: word(self.channels),
            input: words(self.input),
            output: words(self.output),
            batch: self.batch as f32,
            scale: self.scale,
            samples: word(self.samples),
            missing: f32::NAN,
            unused: [0; 2],
        };
        let flag = |f: bool| f64::from(u8::from(f));
        Dispatch {
            overrides: vec![("HALF_PIXEL", flag(self.half_pixel)), ("MAX", flag(self.max))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn tolerance(&self) -> Tolerance {
        // A rounding of a coordinate moves a sample between elements.
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (half_pixel, max) in [(false, false), (true, false), (false, true), (true, true)] {
        let sizes = [
            ("one element", 1, 1, [1, 1], [1, 1], 1),
            ("two samples of each bin", 2, 3, [9, 7], [3, 5], 2),
            ("as many samples as the bin has pixels", 3, 2, [11, 13], [2, 3], 0),
        ];
        for (label, batch, channels, input, output, samples) in sizes {
            let regions = 7;
            let kernel =
                RoiAlign { batch, channels, input, regions, output, scale: 0.5, samples, half_pixel, max };
            // Regions inside, across a border, outside, of no size, and turned around.
            let [h, w] = input.map(|n| n as f32 * 2.0);
            let boxes = [
                [0.1 * w, 0.2 * h, 0.83 * w, 0.71 * h],
                [-0.3 * w, -0.4 * h, 0.45 * w, 0.61 * h],
                [0.52 * w, 0.37 * h, 1.31 * w, 1.43 * h],
                [-3.1 * w, -2.2 * h, -2.3 * w, -2.1 * h],
                [0.31 * w, 0.42 * h, 0.31 * w, 0.42 * h],
                [0.77 * w, 0.66 * h, 0.21 * w, 0.13 * h],
                [-0.03 * w, -0.02 * h, 1.01 * w, 1.02 * h],
            ];
            let images = (0..regions).map(|r| (r * 2 % batch) as f32).collect();
            let inputs = vec![noise(kernel.input_lens()[0], 1), boxes.concat(), images];
            let label = format!("{label}, half pixels {half_pixel}, max {max}");
            cases.push(Case { label, kernel: std::sync::Arc::new(kernel), inputs });
        }
    }
    cases
}
