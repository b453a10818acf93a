//! Gradients of convolutions, as calls of convolutions, copies and sums.
//!
//! The gradient of `x` is a convolution of the output's gradient with flipped filters, whose input and output channels
//! are exchanged. If the stride `s` is more than 1, the pixels with each remainder modulo `s` along an axis depend on
//! different taps ([`Phase`]). Each set of pixels is then a convolution of its own, with a part of the taps: no product
//! has an inserted zero as its factor, and all together compute as many products as the forward pass.

use std::sync::Arc;

use crate::kernels::activation::Activation;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::weight_gradient::WeightGradient;
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::Kernel;
use crate::kernels::movement::{Copy, Fill};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::kernels::window::Windows;

/// The pixels `first`, `first + stride`, … along an axis, and the windows that read them.
#[derive(Clone, Copy)]
struct Phase {
    /// First pixel, and number of pixels.
    first: usize,
    count: usize,
    /// First tap that reads the pixels, distance to the next such tap, and number of these taps.
    tap: usize,
    step: usize,
    taps: usize,
    /// Dilation and padding of the convolution of the output's gradient.
    dilation: usize,
    pad: usize,
    /// Windows at the start of the axis that read no pixel of the phase.
    skipped: usize,
}

impl Phase {
    /// The phases of an axis that some window reads.
    fn all(windows: &Windows, axis: usize) -> Vec<Self> {
        let (stride, dilation) = (windows.stride[axis], windows.dilation[axis]);
        let (size, kernel, pad) = (windows.in_hw[axis], windows.kernel[axis], windows.pad[axis]);
        let common = gcd(stride, dilation);
        let phase = |first: usize| {
            // Pixel `first + j·stride` is tap `k` of window `j + (first + pad − k·dilation) / stride`.
            let ahead = |tap: usize| (first + pad) as isize - (tap * dilation) as isize;
            let tap = (0..kernel).find(|&tap| ahead(tap).rem_euclid(stride as isize) == 0)?;
            let step = stride / common;
            let (taps, dilation) = ((kernel - tap).div_ceil(step), dilation / common);
            let pad = ((taps - 1) * dilation) as isize - ahead(tap) / stride as isize;
            let skipped = (-pad).max(0) as usize;
            let phase = Self {
                first,
                count: (size - first).div_ceil(stride),
                tap,
                step,
                taps,
                dilation,
                pad: pad.max(0) as usize,
                skipped,
            };
            (skipped < windows.out_hw[axis]).then_some(phase)
        };
        (0..stride.min(size)).filter_map(phase).collect()
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A copy of at most five axes.
fn copy(shape: &[usize], src: (usize, usize, &[isize]), dst: (usize, usize, &[isize])) -> Copy {
    Copy::new(shape, src.0, src.1, src.2, dst.0, dst.1, dst.2).expect("five axes at most")
}

impl ConvKernel {
    /// Returns whether the output is the sum alone, as in the networks that are trained.
    fn is_linear(&self) -> bool {
        !self.residual && self.activation == Activation::None
    }

    /// The gradient of an input. `convolution` creates the calls that compute the gradient of `x`.
    pub(crate) fn gradient_by<K: Kernel>(
        &self,
        input: usize,
        convolution: impl Fn(ConvKernel) -> K,
    ) -> Gradient {
        match input {
            _ if !self.is_linear() => Gradient::Unknown,
            0 => self.input_gradient(convolution),
            1 => {
                let mut calls = GradientBuilder::default();
                let kernel = WeightGradient { conv: self.clone(), splits: 1 };
                let result =
                    calls.call(kernel, vec![GradientOperand::Input(0), GradientOperand::OutputGradient]);
                calls.finish(result)
            }
            _ => self.bias_gradient(),
        }
    }

    fn input_gradient<K: Kernel>(&self, convolution: impl Fn(ConvKernel) -> K) -> Gradient {
        let windows = &self.windows;
        let mut calls = GradientBuilder::default();
        let (plane, of) = (self.out_plane(), self.out_total * self.out_plane());
        let own = self.out_channels * plane;
        let mut gradient = GradientOperand::OutputGradient;
        if self.out_total != self.out_channels {
            let part = (self.batch * of, self.out_offset * plane, &[of as isize, 1][..]);
            let part = copy(&[self.batch, own], part, (self.batch * own, 0, &[own as isize, 1]));
            gradient = calls.call(part, vec![gradient]);
        }
        let [down, across] = [0, 1].map(|axis| Phase::all(windows, axis));
        let phases: Vec<[Phase; 2]> =
            down.iter().flat_map(|&y| across.iter().map(move |&x| [y, x])).collect();
        let len = self.batch * self.in_channels * self.in_plane();
        if windows.stride == [1, 1]
            && let [only] = phases[..]
        {
            let result = self.phase_gradient(only, &gradient, &mut calls, &convolution);
            return calls.finish(result);
        }
        // Pixels that no window reads are zero.
        let complete = [(0, down), (1, across)]
            .iter()
            .all(|(axis, phases)| phases.len() == windows.stride[*axis].min(windows.in_hw[*axis]));
        let mut result =
            (!complete || phases.is_empty()).then(|| calls.call(Fill { len, value: 0.0 }, vec![]));
        for phase in phases {
            let computed = self.phase_gradient(phase, &gradient, &mut calls, &convolution);
            let ([y, x], [_, w]) = (phase, windows.in_hw);
            let shape = [self.batch * self.in_channels, y.count, x.count];
            let pixels = y.count * x.count;
            let strides = [self.in_plane(), windows.stride[0] * w, windows.stride[1]].map(|n| n as isize);
            let spread = copy(
                &shape,
                (shape[0] * pixels, 0, &[pixels as isize, x.count as isize, 1]),
                (len, y.first * w + x.first, &strides),
            );
            match &result {
                Some(into) => calls.call_into(spread, vec![computed], into),
                None => result = Some(calls.call(spread, vec![computed])),
            }
        }
        calls.finish(result.expect("a fill or a phase"))
    }

    /// Adds the calls that compute the gradient of a phase's pixels, `[batch, in_channels, rows, columns]`.
    fn phase_gradient<K: Kernel>(
        &self,
        phase: [Phase; 2],
        gradient: &GradientOperand,
        calls: &mut GradientBuilder,
        convolution: &impl Fn(ConvKernel) -> K,
    ) -> GradientOperand {
        let windows = &self.windows;
        let [oh, ow] = windows.out_hw;
        let seen = [0, 1].map(|axis| windows.out_hw[axis] - phase[axis].skipped);
        let mut gradient = gradient.clone();
        if seen != windows.out_hw {
            let planes = self.batch * self.out_channels;
            let rest = copy(
                &[planes, seen[0], seen[1]],
                (
                    planes * oh * ow,
                    phase[0].skipped * ow + phase[1].skipped,
                    &[(oh * ow) as isize, ow as isize, 1],
                ),
                (planes * seen[0] * seen[1], 0, &[(seen[0] * seen[1]) as isize, seen[1] as isize, 1]),
            );
            gradient = calls.call(rest, vec![gradient]);
        }
        let filters = calls.call(self.flipped(phase), vec![GradientOperand::Input(1)]);
        let conv = ConvKernel {
            batch: self.batch,
            groups: self.groups,
            in_channels: self.out_channels,
            out_channels: self.in_channels,
            windows: Windows {
                in_hw: seen,
                out_hw: phase.map(|axis| axis.count),
                kernel: phase.map(|axis| axis.taps),
                stride: [1, 1],
                dilation: phase.map(|axis| axis.dilation),
                pad: phase.map(|axis| axis.pad),
            },
            out_offset: 0,
            out_total: self.in_channels,
            residual: false,
            activation: Activation::None,
        };
        let bias = GradientOperand::Constant(Arc::new(vec![0.0; self.in_channels]));
        calls.call(convolution(conv), vec![gradient, filters, bias])
    }

    /// The copy of the weights' taps of a phase, flipped, with input and output channels of each group exchanged.
    fn flipped(&self, [y, x]: [Phase; 2]) -> Copy {
        let (ins, outs, taps, kw) = (self.group_in(), self.group_out(), self.taps(), self.windows.kernel[1]);
        let shape = [self.groups, ins, outs, y.taps, x.taps];
        let last = (y.tap + (y.taps - 1) * y.step) * kw + x.tap + (x.taps - 1) * x.step;
        let of = [outs * ins * taps, taps, ins * taps].map(|n| n as isize);
        let back = [y.step * kw, x.step].map(|n| -(n as isize));
        let kept = y.taps * x.taps;
        let dense = [ins * outs * kept, outs * kept, kept, x.taps, 1].map(|n| n as isize);
        copy(
            &shape,
            (self.out_channels * ins * taps, last, &[of[0], of[1], of[2], back[0], back[1]]),
            (self.in_channels * outs * kept, 0, &dense),
        )
    }

    /// The sum of the output's gradient over pixels and images.
    fn bias_gradient(&self) -> Gradient {
        let mut calls = GradientBuilder::default();
        let mut result = GradientOperand::OutputGradient;
        let sum = |outer, axis, inner| ReduceKernel { op: ReduceOp::Sum, outer, axis, inner };
        if self.out_plane() > 1 {
            let planes = sum(self.batch * self.out_total, self.out_plane(), 1);
            result = calls.call(planes, vec![result]);
        }
        if self.batch > 1 {
            result = calls.call(sum(1, self.batch, self.out_total), vec![result]);
        }
        if self.out_total != self.out_channels {
            let source = (self.out_total, self.out_offset, &[1][..]);
            let own = copy(&[self.out_channels], source, (self.out_channels, 0, &[1]));
            result = calls.call(own, vec![result]);
        }
        calls.finish(result)
    }
}
