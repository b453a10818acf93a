//! Constant channels, as operators compute and consume them.
//!
//! A layer's output is constant in each channel whose filter is zero or multiplies constant channels only. Zero padding
//! and the strides of a transposed convolution make the contribution of a constant channel vary over the output: then
//! the contribution at most positions counts ([`TapShares`]).

use std::collections::HashMap;

use super::window::{ResolvedWindow, TransposedAxis};
use crate::fact::Inputs;
use crate::tensor::{DType, Tensor};

/// Weights and scales below this number are zeros: no output in f32 depends on them.
pub const NEGLIGIBLE: f64 = 1e-20;

/// The number that a channel holds for every input of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelConstant {
    /// The number, which most elements of the channel hold.
    pub value: f64,
    /// True if every element holds it; false if elements at padded borders may differ.
    pub everywhere: bool,
}

/// The effect of an operator on channels that each hold one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Constancy {
    /// Constant channels are not followed.
    Lost,
    /// Every element is copied, averaged or compared within its channel: constants pass unchanged.
    Passed,
    /// Coupled channels become one: constants pass if they are equal.
    Joined,
    /// Constants pass, and elements of this number are added.
    Padded {
        /// The number of the added elements.
        value: f64,
        /// True if elements are added around the channels, false if whole channels are added.
        around: bool,
    },
}

/// The sums that constant input channels contribute to the output channels of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// The sum for each output channel, without the bias.
    pub sums: Vec<f64>,
    /// True for each output channel to which no other input channel contributes.
    pub alone: Vec<bool>,
    /// True for each output channel whose sum holds at every position.
    pub everywhere: Vec<bool>,
    /// The bias of each output channel.
    pub bias: Vec<f64>,
}

impl Contribution {
    /// Creates the contribution of no channel to a layer with this bias.
    pub(super) fn new(bias: Vec<f64>) -> Self {
        let n = bias.len();
        Self { sums: vec![0.0; n], alone: vec![true; n], everywhere: vec![true; n], bias }
    }

    /// Adds the weights from one input channel to output channel `out`, with one weight per tap.
    pub(super) fn add(
        &mut self,
        out: usize,
        constant: Option<ChannelConstant>,
        weights: impl Iterator<Item = f64>,
        taps: &TapShares,
    ) {
        let Some(constant) = constant else {
            self.alone[out] = self.alone[out] && weights.into_iter().all(|w| w.abs() < NEGLIGIBLE);
            return;
        };
        if constant.value == 0.0 && constant.everywhere {
            return;
        }
        for (w, tap) in weights.zip(&taps.0).filter(|(w, _)| w.abs() >= NEGLIGIBLE) {
            self.sums[out] += w * tap.share * constant.value;
            self.everywhere[out] = self.everywhere[out] && tap.uniform && constant.everywhere;
        }
    }

    /// Returns the constant of each output channel to which only constant channels contribute.
    pub fn constants(&self) -> Vec<Option<ChannelConstant>> {
        let one =
            |o: usize| ChannelConstant { value: self.bias[o] + self.sums[o], everywhere: self.everywhere[o] };
        (0..self.sums.len()).map(|o| self.alone[o].then(|| one(o))).collect()
    }
}

/// The share of positions at which a tap of a window lies within the input.
#[derive(Clone, Copy, Debug, PartialEq)]
struct TapShare {
    /// The share among the positions of the most frequent kind: 1 inside a padded plane.
    share: f64,
    /// True if the tap lies within the input at all positions or at none.
    uniform: bool,
}

/// The shares of all taps of a window, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TapShares(Vec<TapShare>);

impl TapShares {
    /// The window of a single element.
    pub(super) fn point() -> Self {
        Self(vec![TapShare { share: 1.0, uniform: true }])
    }

    /// Computes the shares of a convolution's taps.
    pub(super) fn of(w: &ResolvedWindow) -> Self {
        (0..3).fold(Self::point(), |all, a| {
            let within = |o: usize, t: usize| {
                let at = o * w.stride[a] + t * w.dilation[a];
                (w.pad_begin[a]..w.pad_begin[a] + w.input[a]).contains(&at)
            };
            all.times(&axis_shares(w.output[a], w.kernel[a], within))
        })
    }

    /// Computes the shares of a transposed convolution's taps, for the sizes of input and kernel along each axis.
    pub(super) fn transposed(axes: &[TransposedAxis], inputs: &[usize], kernel: &[usize]) -> Self {
        let sizes = axes.iter().zip(inputs.iter().zip(kernel));
        sizes.fold(Self::point(), |all, (axis, (&input, &taps))| {
            let within = |o: usize, t: usize| {
                let at = o as isize + axis.before - (t * axis.dilation) as isize;
                let stride = axis.stride as isize;
                at.rem_euclid(stride) == 0 && (0..input as isize).contains(&at.div_euclid(stride))
            };
            all.times(&axis_shares(axis.output, taps, within))
        })
    }

    /// Multiplies the shares by those of one more axis.
    fn times(&self, axis: &[TapShare]) -> Self {
        let product = |a: &TapShare, b: &TapShare| TapShare {
            share: a.share * b.share,
            uniform: a.uniform && b.uniform,
        };
        Self(self.0.iter().flat_map(|a| axis.iter().map(move |b| product(a, b))).collect())
    }
}

/// Returns the shares of the taps along one axis, where `within` states whether a tap at a position lies in the input.
fn axis_shares(positions: usize, taps: usize, within: impl Fn(usize, usize) -> bool) -> Vec<TapShare> {
    let mut kinds: HashMap<Vec<bool>, usize> = HashMap::new();
    for position in 0..positions {
        *kinds.entry((0..taps).map(|t| within(position, t)).collect()).or_default() += 1;
    }
    let most = kinds.values().copied().max().unwrap_or(0);
    let modal: Vec<&Vec<bool>> = kinds.iter().filter(|&(_, &count)| count == most).map(|(k, _)| k).collect();
    let one = |t: usize| TapShare {
        share: modal.iter().filter(|kind| kind[t]).count() as f64 / modal.len().max(1) as f64,
        uniform: kinds.keys().all(|kind| kind[t]) || kinds.keys().all(|kind| !kind[t]),
    };
    (0..taps).map(one).collect()
}

/// Returns the constant bias of a layer of `n` output channels, which is input 2, or zeros without one.
pub(super) fn plain_bias(inputs: &Inputs, n: usize) -> Option<Vec<f64>> {
    match inputs.optional(2) {
        Some(bias) => Some(bias.value.as_ref()?.to_f64()).filter(|b| b.len() == n),
        None => Some(vec![0.0; n]),
    }
}

/// Returns the vector of these numbers, in the type of input 2, or of the weights without one.
pub(super) fn bias_tensor(inputs: &Inputs, bias: &[f64]) -> Tensor {
    let dtype = inputs.optional(2).or(inputs.optional(1)).map_or(DType::F32, |fact| fact.dtype);
    Tensor::from_f64(dtype, &[bias.len()], bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(all: &TapShares) -> Vec<(f64, bool)> {
        all.0.iter().map(|t| (t.share, t.uniform)).collect()
    }

    fn line(input: usize, output: usize, stride: usize, pad: usize) -> ResolvedWindow {
        let mut w = ResolvedWindow::POINT;
        (w.input[2], w.output[2], w.kernel[2], w.stride[2]) = (input, output, 3, stride);
        (w.pad_begin[2], w.pad_end[2]) = (pad, pad);
        w
    }

    #[test]
    fn taps_in_the_padding_do_not_count_inside() {
        let all = TapShares::of(&line(8, 8, 1, 1));
        assert_eq!(shares(&all), [(1.0, false), (1.0, true), (1.0, false)]);
        let unpadded = TapShares::of(&line(8, 6, 1, 0));
        assert_eq!(shares(&unpadded), [(1.0, true); 3]);
        let alone = TapShares::of(&line(1, 1, 1, 1));
        assert_eq!(
            shares(&alone),
            [(0.0, true), (1.0, true), (0.0, true)],
            "only the centre is in the input"
        );
    }

    #[test]
    fn phases_of_a_transposed_convolution_are_averaged() {
        let axis = TransposedAxis { stride: 2, dilation: 1, before: 0, output: 8 };
        let all = TapShares::transposed(&[axis], &[4], &[2]);
        assert_eq!(shares(&all), [(0.5, false); 2]);
        let plain = TransposedAxis { stride: 1, dilation: 1, before: 1, output: 8 };
        let all = TapShares::transposed(&[plain], &[8], &[3]);
        assert_eq!(shares(&all), [(1.0, false), (1.0, true), (1.0, false)]);
    }

    #[test]
    fn a_channel_is_constant_if_all_its_inputs_are() {
        let mut sum = Contribution::new(vec![0.5, 0.5]);
        let two = Some(ChannelConstant { value: 2.0, everywhere: true });
        let points = TapShares::point();
        sum.add(0, two, [3.0].into_iter(), &points);
        sum.add(0, None, [1e-30].into_iter(), &points);
        sum.add(1, two, [3.0].into_iter(), &points);
        sum.add(1, None, [1e-3].into_iter(), &points);
        assert_eq!(sum.constants(), [Some(ChannelConstant { value: 6.5, everywhere: true }), None]);
        assert_eq!(sum.sums, [6.0, 6.0]);
    }
}
