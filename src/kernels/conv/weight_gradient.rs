//! The gradient of a convolution's weights: products of the output's gradient and the input, summed over all positions.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::host::weight_sums;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::test_cases::plain_convs;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::{Windows, WindowsUniform};

/// The gradient of a convolution's weights, `w[o, c, t] = Σ g[n, o, p] · x[n, c, p·stride + t·dilation − pad]`.
///
/// The sum is over the images `n` and the windows `p`. Inputs: `x [batch, in_channels, h, w]`, and the gradient `g` of
/// the output, `[batch, out_total, oh, ow]`, of which the channels `out_offset .. out_offset + out_channels` are read.
/// Output: `[splits, out_channels, in_channels / groups, kh, kw]`; each split has the sums over consecutive images.
/// Elements that are not finite may also spoil taps that do not read them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WeightGradient {
    /// The convolution, without residual and activation.
    pub(crate) conv: ConvKernel,
    /// Number of sums that share the images.
    pub(crate) splits: usize,
}

/// Rows, and columns, of an invocation's tile.
const TILE: usize = 8;

impl WeightGradient {
    /// Number of elements of a split's sums.
    pub(crate) fn weights(&self) -> usize {
        self.conv.out_channels * self.conv.depth()
    }

    /// Images of a split; the last splits may have fewer or none.
    fn share(&self) -> usize {
        self.conv.batch.div_ceil(self.splits)
    }

    /// Number of tiles down and across a group's matrix, filters × elements of a patch.
    fn tiles(&self) -> [usize; 2] {
        [self.conv.group_out().div_ceil(TILE), self.conv.depth().div_ceil(TILE)]
    }

    /// Number of splits with about this many invocations in total.
    pub(crate) fn enough_splits(&self, invocations: usize) -> usize {
        let tiles = self.conv.groups * self.tiles().iter().product::<usize>();
        (invocations / tiles.max(1)).clamp(1, self.conv.batch.max(1))
    }
}

uniform! {
    len: u32,
    tiles: u32,
    side: u32,
    group_channels: u32,
    group_filters: u32,
    groups: u32,
    batch: u32,
    share: u32,
    channel_step: u32,
    pixel_step: u32,
    image_step: u32,
    filter_step: u32,
    first_filter: u32,
    gradient_image_step: u32,
    points: u32,
    unused: u32,
    windows: WindowsUniform,
}

pub(crate) static ROW: KernelRow = row! {
    name: "conv_weight_gradient",
    file: "conv/weight_gradient",
    shared: ["windows", "outer", "patches"],
    doc: "gradient of a convolution's weights",
};

impl Kernel for WeightGradient {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let conv = &self.conv;
        let x = conv.batch * conv.in_channels * conv.in_plane();
        vec![x, conv.batch * conv.out_total * conv.out_plane()]
    }

    fn output_len(&self) -> usize {
        self.splits * self.weights()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let conv = &self.conv;
        let (windows, depth, taps) = (conv.windows, conv.depth(), conv.taps());
        let ([h, w], [oh, ow], kw) = (windows.in_hw, windows.out_hw, windows.kernel[1]);
        for (at, sum) in output.iter_mut().enumerate() {
            let (split, filter, element) = (at / self.weights(), at / depth % conv.out_channels, at % depth);
            let (channel, tap) = (element / taps, element % taps);
            let channel = filter / conv.group_out() * conv.group_in() + channel;
            *sum = 0.0;
            let images = split * self.share()..((split + 1) * self.share()).min(conv.batch);
            for image in images {
                for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
                    if let (Some(y), Some(x)) = (windows.at(0, oy, tap / kw), windows.at(1, ox, tap % kw)) {
                        let from = image * conv.out_total + conv.out_offset + filter;
                        let gradient = inputs[1][(from * oh + oy) * ow + ox];
                        *sum += gradient * inputs[0][((image * conv.in_channels + channel) * h + y) * w + x];
                    }
                }
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let conv = &self.conv;
        let image = conv.in_channels * conv.in_plane();
        let of_gradient = conv.out_total * conv.out_plane();
        for (split, sums) in output.chunks_mut(self.weights().max(1)).enumerate() {
            let first = (split * self.share()).min(conv.batch);
            let conv = ConvKernel { batch: self.share().min(conv.batch - first), ..conv.clone() };
            weight_sums::run(&conv, &inputs[0][first * image..], &inputs[1][first * of_gradient..], sums);
        }
    }

    fn dispatch(&self) -> Dispatch {
        let conv = &self.conv;
        let [down, across] = self.tiles();
        let len = self.splits * conv.groups * down * across;
        let params = Params {
            len: word(len),
            tiles: word(down * across),
            side: word(conv.depth() + 1),
            group_channels: word(conv.group_in()),
            group_filters: word(conv.group_out()),
            groups: word(conv.groups),
            batch: word(conv.batch),
            share: word(self.share()),
            channel_step: word(conv.in_plane()),
            pixel_step: 1,
            image_step: word(conv.in_channels * conv.in_plane()),
            filter_step: word(conv.out_plane()),
            first_filter: word(conv.out_offset),
            gradient_image_step: word(conv.out_total * conv.out_plane()),
            points: u32::from(conv.windows.are_points()),
            unused: 0,
            windows: conv.windows.words(),
        };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (label, conv) in plain_convs() {
        let splits = conv.batch.min(2);
        cases.push(noise_case(label, WeightGradient { conv: conv.sums(), splits: 1 }));
        if splits > 1 {
            cases.push(noise_case(
                format!("{label}, in splits"),
                WeightGradient { conv: conv.sums(), splits },
            ));
        }
    }
    let (_, conv) = plain_convs().swap_remove(0);
    let large = ConvKernel { batch: 7, in_channels: 19, out_channels: 37, out_total: 37, ..conv.clone() };
    let each =
        ConvKernel { batch: 2, groups: 6, in_channels: 6, out_channels: 12, out_total: 12, ..conv.clone() };
    // More positions than a block of the host holds: in images, and in rows of one image.
    let planes = |batch, hw| ConvKernel {
        batch,
        windows: Windows { in_hw: [hw; 2], out_hw: [hw; 2], ..conv.windows },
        ..conv.clone()
    };
    for (label, conv) in
        [("several blocks of images", planes(9, 40)), ("several blocks of rows", planes(2, 97))]
    {
        cases.push(noise_case(label, WeightGradient { conv, splits: 1 }));
    }
    cases.push(noise_case("splits without images", WeightGradient { conv: large.clone(), splits: 5 }));
    cases.push(noise_case("several blocks of filters", WeightGradient { conv: large, splits: 1 }));
    cases.push(noise_case("a channel a group", WeightGradient { conv: each, splits: 1 }));
    cases
}
