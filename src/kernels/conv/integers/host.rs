//! Convolution of integers on the host, by implicit GEMM over pairs of channels or by Winograd's methods in floats.

use pulp::{Arch, WithSimd};
use rayon::prelude::*;

use crate::kernels::conv::host::implicit::{ImplicitConv, Numbers, Source};
use crate::kernels::conv::host_algorithm;
use crate::kernels::conv::integers::shape::IntegerConv;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::winograd::host::{F2x2, F4x4};
use crate::kernels::gemm::microkernel::{Arithmetic, PANEL, StripSums, panels};
use crate::kernels::gemm::pairs::{self, Pairs, pair};
use crate::kernels::host::scratch;
use crate::kernels::instructions;
use crate::kernels::kernel::Prepared;

/// Elements of a task that subtracts the zero point.
const CHUNK: usize = 1 << 14;

/// Packs the weights for the fastest algorithm.
///
/// Winograd's methods need at most half of the products, which only fast products of pairs outweigh.
pub(crate) fn prepare(integers: &IntegerConv, constants: [&[f32]; 3]) -> Box<dyn Prepared> {
    let conv = &integers.conv;
    if (F4x4::suits(conv) || F2x2::suits(conv)) && !pairs::are_fast(instructions::arch()) {
        Box::new(HostFloats::new(integers, constants))
    } else {
        Box::new(HostIntegers::new(integers, constants))
    }
}

/// A convolution of integers that is computed in floats.
struct HostFloats {
    integers: IntegerConv,
    sums: Box<dyn Prepared>,
}

impl HostFloats {
    fn new(integers: &IntegerConv, [weights, bias, _]: [&[f32]; 3]) -> Self {
        let sums = host_algorithm::prepare(&integers.conv.sums(), weights, bias);
        Self { integers: integers.clone(), sums }
    }
}

impl Prepared for HostFloats {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (conv, zero) = (&self.integers.conv, self.integers.zero as f32);
        scratch::with(inputs[0].len(), |centered| {
            let images = centered.par_chunks_mut(CHUNK).zip(inputs[0].par_chunks(CHUNK));
            images.for_each(|(centered, x)| {
                centered.iter_mut().zip(x).for_each(|(centered, x)| *centered = x - zero);
            });
            self.sums.run(&[&*centered, inputs[1], inputs[2]], output);
        });
        let plane = conv.out_plane();
        output.par_chunks_mut(plane).enumerate().for_each(|(channel, sums)| {
            let own = (channel % conv.out_total).checked_sub(conv.out_offset);
            if let Some(&scale) = own.and_then(|channel| inputs[3].get(channel)) {
                sums.iter_mut().for_each(|sum| *sum *= scale);
                conv.activation.apply_slice(sums);
            }
        });
    }
}

/// A convolution of integers with its weights packed in panels.
struct HostIntegers {
    conv: ConvKernel,
    implicit: ImplicitConv<ChannelPairs>,
}

impl HostIntegers {
    fn new(integers: &IntegerConv, [weights, bias, scales]: [&[f32]; 3]) -> Self {
        let conv = &integers.conv;
        let panels_of = |numbers: &[f32]| {
            let groups = numbers.chunks(conv.group_out().max(1));
            groups.flat_map(|numbers| panels(numbers, numbers.len(), 1)).collect()
        };
        let numbers =
            ChannelPairs { zero: integers.zero as f32, bias: panels_of(bias), scales: panels_of(scales) };
        let words = words(conv, weights);
        let implicit = ImplicitConv::of(conv, numbers, &words, &vec![0.0; conv.out_channels]);
        Self { conv: conv.clone(), implicit }
    }
}

impl Prepared for HostIntegers {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if !self.implicit.multiply(inputs[0], output) {
            spread_nan(&self.conv, inputs[0], output);
        }
    }
}

/// Joins the weights of adjacent input channels: `[out_channels, pairs of channels, taps]`.
fn words(conv: &ConvKernel, weights: &[f32]) -> Vec<f32> {
    let taps = conv.taps();
    let mut words = Vec::with_capacity(weights.len().div_ceil(2));
    for filter in weights.chunks_exact(conv.depth().max(1)) {
        for both in filter.chunks(2 * taps) {
            let weight = |channel: usize, tap: usize| both.get(channel * taps + tap).map_or(0, |&w| w as i16);
            words.extend((0..taps).map(|tap| pair(weight(0, tap), weight(1, tap))));
        }
    }
    words
}

/// The integers of two adjacent channels in a word, less their zero point.
struct ChannelPairs {
    zero: f32,
    /// Biases in units of the sums, as `[groups][panels][16]`.
    bias: Vec<[f32; PANEL]>,
    /// Scales of the sums, as `[groups][panels][16]`.
    scales: Vec<[f32; PANEL]>,
}

/// A float added to this one has its integer part in the last bits, as two's complement.
const INTEGER: f32 = 12_582_912.0;
/// The bits of a float without its sign.
const MAGNITUDE: u32 = 0x7fff_ffff;

impl Numbers for ChannelPairs {
    const CHANNELS: usize = 2;

    #[inline(always)]
    fn arithmetic(&self) -> impl Arithmetic {
        Pairs
    }

    fn dispatch<W: WithSimd>(&self, arch: Arch, work: W) -> W::Output {
        pairs::dispatch(arch, work)
    }

    #[inline(always)]
    fn fill(&self, source: Source, planes: &mut [f32], room: &mut [f32]) -> bool {
        let (zero, pixels) = (self.zero, source.windows.pixels());
        let both = source.images.len() > pixels;
        if source.windows.are_points() {
            // The planes are parts of the images, with some unused elements behind the last row.
            let first = source.row * source.windows.out_hw[1];
            let low = &source.images[first..pixels];
            let len = planes.len().min(low.len());
            planes[..len].copy_from_slice(&low[..len]);
            planes[len..].fill(zero);
            return match both {
                true => join(planes, &source.images[pixels + first..], zero),
                false => join(planes, &[], zero),
            };
        }
        source.fill(0, zero, planes);
        if both {
            source.fill(1, zero, room);
            return join(planes, room, zero);
        }
        join(planes, &[], zero)
    }

    #[inline(always)]
    fn finish(&self, panel: usize, channel: usize, sums: &mut StripSums) {
        let (bias, scale) = (self.bias[panel][channel], self.scales[panel][channel]);
        for sum in sums.iter_mut() {
            *sum = (sum.to_bits().cast_signed() as f32 + bias) * scale;
        }
    }
}

/// Joins the integers of two channels, or of one if `high` is empty, less their zero point; returns false if one is NaN.
#[inline(always)]
fn join(low: &mut [f32], high: &[f32], zero: f32) -> bool {
    // The largest magnitude in the order of bits, in which NaN is above infinity.
    let (mut most, shift) = (0, INTEGER - zero);
    let len = high.len().min(low.len());
    let (first, rest) = low.split_at_mut(len);
    for (low, &high) in first.iter_mut().zip(&high[..len]) {
        most = most.max(low.to_bits() & MAGNITUDE).max(high.to_bits() & MAGNITUDE);
        let [a, b] = [(*low + shift).to_bits(), (high + shift).to_bits()];
        *low = f32::from_bits(a & 0xffff | b << 16);
    }
    for low in rest {
        most = most.max(low.to_bits() & MAGNITUDE);
        *low = f32::from_bits((*low + shift).to_bits() & 0xffff);
    }
    most <= f32::INFINITY.to_bits()
}

/// Writes NaN to all outputs whose windows cover a NaN, because integers cannot represent it.
fn spread_nan(conv: &ConvKernel, x: &[f32], output: &mut [f32]) {
    let (windows, nan) = (&conv.windows, conv.activation.apply_f32(f32::NAN));
    let covering = |axis: usize, index: usize| -> Vec<usize> {
        let taps = 0..windows.kernel[axis];
        let covers = |&window: &usize| taps.clone().any(|tap| windows.at(axis, window, tap) == Some(index));
        (0..windows.out_hw[axis]).filter(covers).collect()
    };
    let ([_, w], [_, ow]) = (windows.in_hw, windows.out_hw);
    for (at, _) in x.iter().enumerate().filter(|(_, x)| x.is_nan()) {
        let (plane, pixel) = (at / conv.in_plane(), at % conv.in_plane());
        let (image, group) = (plane / conv.in_channels, plane % conv.in_channels / conv.group_in());
        let first = image * conv.out_total + conv.out_offset + group * conv.group_out();
        let (rows, columns) = (covering(0, pixel / w), covering(1, pixel % w));
        for channel in first..first + conv.group_out() {
            for pixel in rows.iter().flat_map(|y| columns.iter().map(move |x| y * ow + x)) {
                output[channel * conv.out_plane() + pixel] = nan;
            }
        }
    }
}
