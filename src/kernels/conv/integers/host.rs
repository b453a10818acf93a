//! Convolution of integers on the host, by implicit GEMM over pairs of channels.

use pulp::{Arch, WithSimd};

use crate::kernels::conv::host::implicit::{ImplicitConv, Numbers, Source};
use crate::kernels::conv::integers::kernel::IntegerConv;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::gemm::microkernel::{Arithmetic, PANEL, StripSums, panels};
use crate::kernels::gemm::pairs::{self, Pairs, pair};
use crate::kernels::kernel::Prepared;

/// A convolution of integers with its weights packed in panels.
pub(crate) struct HostIntegers {
    conv: ConvKernel,
    implicit: ImplicitConv<ChannelPairs>,
}

impl HostIntegers {
    pub(crate) fn new(integers: &IntegerConv, [weights, bias, scales]: [&[f32]; 3]) -> Self {
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
        source.fill(0, self.zero, planes);
        if source.images.len() > source.windows.pixels() {
            source.fill(1, self.zero, room);
        } else {
            room.fill(self.zero);
        }
        // The largest magnitude in the order of bits, in which NaN is above infinity.
        let (mut most, shift) = (0, INTEGER - self.zero);
        for (low, &high) in planes.iter_mut().zip(&*room) {
            let both = [low.to_bits() & 0x7fff_ffff, high.to_bits() & 0x7fff_ffff];
            most = most.max(both[0]).max(both[1]);
            let [a, b] = [(*low + shift).to_bits(), (high + shift).to_bits()];
            *low = f32::from_bits(a & 0xffff | b << 16);
        }
        most <= f32::INFINITY.to_bits()
    }

    #[inline(always)]
    fn finish(&self, panel: usize, channel: usize, sums: &mut StripSums) {
        let (bias, scale) = (self.bias[panel][channel], self.scales[panel][channel]);
        for sum in sums.iter_mut() {
            *sum = (sum.to_bits().cast_signed() as f32 + bias) * scale;
        }
    }
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
