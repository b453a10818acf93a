//! The gradients of a scale and a shift per channel.

use bytemuck::bytes_of;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::instructions;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{WORKGROUP, grid, row, uniform, word};

/// Sums over each channel, `[c]: Σ gy[o, c, i] · x[o, c, i]` and `[channels + c]: Σ gy[o, c, i]`.
///
/// Inputs: `x` and `gy`, both `[outer, channels, inner]`. Output: `[2, channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelSums {
    /// Product of the dimensions before the channel axis, usually the batch.
    pub outer: usize,
    /// Number of channels of `x`.
    pub channels: usize,
    /// Product of the dimensions after the channel axis, usually the pixels.
    pub inner: usize,
}

uniform! { channels: u32, inner: u32, count: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "channel_sums",
    file: "elementwise/channel_sums",
    shared: ["quotient"],
    doc: "sums of a gradient and of its product with an array over each channel",
};

/// Partial sums of a block.
const LANES: usize = 16;
/// Elements that are added in `f32`.
const BLOCK: usize = 1024;

/// Adds a gradient and its products, `[Σ gy·x, Σ gy]`.
struct Sums<'a> {
    x: &'a [f32],
    gy: &'a [f32],
}

impl WithSimd for Sums<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> [f64; 2] {
        let mut whole = [0.0; 2];
        for (x, gy) in self.x.chunks(BLOCK).zip(self.gy.chunks(BLOCK)) {
            let (mut products, mut sums) = ([0.0f32; LANES], [0.0f32; LANES]);
            let ((xs, x_rest), (gys, gy_rest)) = (x.as_chunks::<LANES>(), gy.as_chunks::<LANES>());
            for (x, gy) in xs.iter().zip(gys) {
                for lane in 0..LANES {
                    products[lane] += gy[lane] * x[lane];
                    sums[lane] += gy[lane];
                }
            }
            for (lane, (x, gy)) in x_rest.iter().zip(gy_rest).enumerate() {
                products[lane] += gy * x;
                sums[lane] += gy;
            }
            whole[0] += products.iter().map(|&p| f64::from(p)).sum::<f64>();
            whole[1] += sums.iter().map(|&s| f64::from(s)).sum::<f64>();
        }
        whole
    }
}

impl ChannelSums {
    /// Sums of one channel, whose elements are contiguous in each plane.
    fn of_planes(&self, channel: usize, x: &[f32], gy: &[f32]) -> [f64; 2] {
        let arch = instructions::arch();
        let mut whole = [0.0; 2];
        for o in 0..self.outer {
            let at = (o * self.channels + channel) * self.inner;
            let plane = Sums { x: &x[at..][..self.inner], gy: &gy[at..][..self.inner] };
            let part = arch.dispatch(plane);
            whole[0] += part[0];
            whole[1] += part[1];
        }
        whole
    }

    /// Sums of adjacent channels, whose elements are contiguous in each row.
    fn of_rows(&self, first: usize, count: usize, x: &[f32], gy: &[f32]) -> Vec<[f64; 2]> {
        let mut sums = vec![[0.0; 2]; count];
        for o in 0..self.outer {
            let at = o * self.channels + first;
            for ((sum, &x), &gy) in sums.iter_mut().zip(&x[at..]).zip(&gy[at..]) {
                sum[0] += f64::from(gy) * f64::from(x);
                sum[1] += f64::from(gy);
            }
        }
        sums
    }
}

impl Kernel for ChannelSums {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.outer * self.channels * self.inner; 2]
    }

    fn output_len(&self) -> usize {
        2 * self.channels
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        output.fill(0.0);
        for (at, (x, gy)) in inputs[0].iter().zip(inputs[1]).enumerate() {
            let channel = at / self.inner % self.channels;
            output[channel] += gy * x;
            output[self.channels + channel] += gy;
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (x, gy) = (inputs[0], inputs[1]);
        let sums: Vec<[f64; 2]> = if self.inner == 1 {
            let block = |first| self.of_rows(first, LANES.min(self.channels - first), x, gy);
            (0..self.channels).into_par_iter().step_by(LANES).flat_map_iter(block).collect()
        } else {
            (0..self.channels).into_par_iter().map(|c| self.of_planes(c, x, gy)).collect()
        };
        let (products, plain) = output.split_at_mut(self.channels);
        for ((product, plain), sums) in products.iter_mut().zip(plain).zip(sums) {
            (*product, *plain) = (sums[0] as f32, sums[1] as f32);
        }
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            channels: word(self.channels),
            inner: word(self.inner),
            count: word(self.outer * self.inner),
        };
        Dispatch {
            overrides: Vec::new(),
            params: bytes_of(&params).to_vec(),
            // One workgroup for each channel.
            workgroups: grid(self.channels * WORKGROUP),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label, outer, channels, inner| noise_case(label, ChannelSums { outer, channels, inner });
    let far = ChannelSums { outer: 3, channels: 5, inner: 4001 };
    let shifted = |seed, by: f32| noise(3 * 5 * 4001, seed).iter().map(|x| x + by).collect();
    vec![
        case("one element", 1, 1, 1),
        case("three images, five channels, odd plane", 3, 5, 7 * 9),
        case("channels last, more than a block of lanes", 67, 37, 1),
        case("a plane over several blocks", 2, 3, 101 * 97),
        case("many channels of a few pixels", 5, 129, 4),
        Case {
            label: "no cancellation".to_owned(),
            kernel: std::sync::Arc::new(far),
            inputs: vec![shifted(1, 3.0), shifted(2, 2.0)],
        },
    ]
}
