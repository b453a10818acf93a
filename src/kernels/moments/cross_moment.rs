//! Cross-moments of target outputs and patches, accumulated over images on the device: `Σ y pᵀ`.
//!
//! Together with the second moments `Σ p pᵀ` ([`super::gram`]) they form the normal equations of a layer's least
//! squares. The sums use the splits and blocks of the Gram kernel, and their bits do not depend on the batch.

use bytemuck::bytes_of;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::moments::gram::{DEPTH, GramKernel, TILE, UNFOLDED};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::{Windows, WindowsUniform};

/// Adds `Σ weights[n / slices] · y pᵀ` over the images `n` and the windows' patches `p`, each with a final 1.
///
/// Inputs: `x` as in [`GramKernel`]; `y`, `[batch, filters, positions]`, or `[batch, positions, filters]` if `x` is
/// channels-last; `weights [samples]` as in [`GramKernel`]. Output: `[groups, splits, filters of a group, side]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossMoment {
    /// The patches of `x`.
    pub patches: GramKernel,
    /// Channels of `y`, over all groups.
    pub filters: usize,
}

impl CrossMoment {
    /// Shape of the output.
    pub fn shape(&self) -> [usize; 4] {
        let x = &self.patches;
        [x.groups, x.splits(), self.group_filters(), x.side()]
    }

    fn group_filters(&self) -> usize {
        self.filters / self.patches.groups
    }

    /// Strides of `y` along filters, positions and images.
    fn steps(&self) -> [usize; 3] {
        let positions = self.patches.windows.positions();
        let [filter, position] = if self.patches.channels_last { [1, self.filters] } else { [positions, 1] };
        [filter, position, self.filters * positions]
    }

    /// Number of tiles down and across a matrix.
    fn tiles(&self) -> [usize; 2] {
        [self.group_filters().div_ceil(TILE), self.patches.side().div_ceil(TILE)]
    }

    /// Adds the sum of one image over the positions of a split to `sums`. `room` is scratch memory for patches and
    /// targets.
    fn cpu_image(
        &self,
        [x, y]: [&[f32]; 2],
        weight: f32,
        split: usize,
        room: &mut [Vec<f32>; 2],
        sums: &mut [f32],
    ) {
        let (side, filters) = (self.patches.side(), self.group_filters());
        let [filter_step, position_step, _] = self.steps();
        let positions = self.patches.positions(split);
        let [columns, wanted] = room;
        for first in positions.clone().step_by(UNFOLDED) {
            let count = UNFOLDED.min(positions.end - first);
            self.patches.unfold(x, first, count, columns);
            wanted.resize(filters * count, 0.0);
            for (filter, row) in wanted.chunks_exact_mut(count).enumerate() {
                let from = &y[filter * filter_step + first * position_step..];
                row.iter_mut().zip(from.iter().step_by(position_step)).for_each(|(t, &s)| *t = weight * s);
            }
            let patches = MatRef::from_row_major_slice(&*columns, side, count);
            let wanted = MatRef::from_row_major_slice(&*wanted, filters, count);
            const ROWS: usize = 32;
            sums.par_chunks_mut(ROWS * side).enumerate().for_each(|(panel, sums)| {
                let rows = sums.len() / side;
                let mut sums = MatMut::from_row_major_slice_mut(sums, rows, side);
                let mut product = faer::Mat::<f32>::zeros(rows, side);
                for from in (0..count).step_by(DEPTH) {
                    let depth = DEPTH.min(count - from);
                    let left = wanted.subrows(panel * ROWS, rows).subcols(from, depth);
                    let right = patches.subcols(from, depth).transpose();
                    matmul(product.as_mut(), Accum::Add, left, right, 1.0, Par::Seq);
                }
                sums += &product;
            });
        }
    }
}

uniform! {
    len: u32,
    tiles: u32,
    splits: u32,
    share: u32,
    side: u32,
    group_channels: u32,
    group_filters: u32,
    batch: u32,
    slices: u32,
    channel_step: u32,
    pixel_step: u32,
    image_step: u32,
    filter_step: u32,
    position_step: u32,
    y_image_step: u32,
    points: u32,
    windows: WindowsUniform,
}

pub(crate) static ROW: KernelRow = row! {
    name: "cross_moment",
    file: "moments/cross_moment",
    shared: ["windows", "outer", "patches"],
    doc: "cross-moments of target outputs and patches, accumulated",
};

impl Kernel for CrossMoment {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let y = self.patches.batch * self.filters * self.patches.windows.positions();
        let [x, weights] = [self.patches.input_lens()[0], self.patches.samples];
        vec![x, y, weights]
    }

    fn output_len(&self) -> usize {
        self.shape().iter().product()
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (side, filters) = (self.patches.side(), self.group_filters());
        let [filter_step, position_step, image_step] = self.steps();
        for (index, sums) in output.chunks_exact_mut(filters * side).enumerate() {
            let (group, split) = (index / self.patches.splits(), index % self.patches.splits());
            for (image, weight) in self.patches.weighted(inputs[2]) {
                for position in self.patches.positions(split) {
                    let patch = self.patches.patch(inputs[0], image, group, position);
                    for (filter, sums) in sums.chunks_exact_mut(side).enumerate() {
                        let at = (group * filters + filter) * filter_step + position * position_step;
                        let wanted = weight * inputs[1][image * image_step + at];
                        sums.iter_mut().zip(&patch).for_each(|(sum, p)| *sum += wanted * p);
                    }
                }
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let x = &self.patches;
        let [channel_step, _, x_step] = x.steps();
        let [filter_step, _, y_step] = self.steps();
        let matrix = self.group_filters() * x.side();
        let matrices = output.par_chunks_mut(matrix).enumerate();
        matrices.for_each_init(Default::default, |room, (index, sums)| {
            let (group, split) = (index / x.splits(), index % x.splits());
            let first = group * (x.channels / x.groups) * channel_step;
            let first_y = group * self.group_filters() * filter_step;
            for (image, weight) in x.weighted(inputs[2]) {
                let seen = &inputs[0][image * x_step..][..x_step][first..];
                let wanted = &inputs[1][image * y_step..][..y_step][first_y..];
                self.cpu_image([seen, wanted], weight, split, room, sums);
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let x = &self.patches;
        let [channel_step, pixel_step, image_step] = x.steps().map(word);
        let [filter_step, position_step, y_image_step] = self.steps().map(word);
        let [down, across] = self.tiles();
        let len = x.groups * x.splits() * down * across;
        let windows = &x.windows;
        let params = Params {
            len: word(len),
            tiles: word(down * across),
            splits: word(x.splits()),
            share: word(x.share()),
            side: word(x.side()),
            group_channels: word(x.channels / x.groups),
            group_filters: word(self.group_filters()),
            batch: word(x.batch),
            slices: word(x.slices),
            channel_step,
            pixel_step,
            image_step,
            filter_step,
            position_step,
            y_image_step,
            points: u32::from(windows.are_points()),
            windows: windows.words(),
        };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let cross = |filters, batch, channels, windows| CrossMoment {
        patches: GramKernel {
            batch,
            samples: batch,
            slices: 1,
            groups: 1,
            channels,
            channels_last: false,
            windows,
        },
        filters,
    };
    // Weight 1: every image counts.
    let case = |label: &str, kernel: CrossMoment| {
        let samples = kernel.patches.samples;
        let mut case = noise_case(label, kernel);
        case.inputs[2] = vec![1.0; samples];
        case
    };
    let three = Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([7, 7]) };
    let grouped = |groups, filters| CrossMoment {
        patches: GramKernel { groups, ..cross(filters, 2, 12, three).patches },
        filters,
    };
    let last = |filters, groups, windows| CrossMoment {
        patches: GramKernel { channels_last: true, groups, ..cross(filters, 2, 12, windows).patches },
        filters,
    };
    let mut filled = case("images of weight 0, full of NaN", cross(3, 4, 5, three));
    filled.inputs[2] = vec![0.0, 1.0, 0.0, -0.5];
    filled.inputs[0].chunks_mut(5 * 49).step_by(2).for_each(|x| x.fill(f32::NAN));
    filled.inputs[1].chunks_mut(3 * 49).step_by(2).for_each(|y| y.fill(f32::NAN));
    let two = cross(4, 6, 5, three);
    let two = CrossMoment { patches: GramKernel { samples: 3, slices: 2, ..two.patches }, ..two };
    let mut sliced = case("two images a sample", two);
    sliced.inputs[2] = vec![1.0, 0.5, 0.0];
    sliced.inputs[0][4 * 5 * 49..].fill(f32::NAN);
    vec![
        case("one filter, one channel, one pixel", cross(1, 1, 1, Windows::points([1, 1]))),
        case("no multiples of a tile", cross(11, 3, 13, Windows::points([7, 7]))),
        case("exactly two tiles each way", cross(16, 2, 15, Windows::points([4, 4]))),
        case("several blocks and splits", cross(40, 2, 30, Windows::points([41, 40]))),
        case("3×3, padded", cross(9, 3, 6, three)),
        case(
            "stride 2, asymmetric padding, odd sizes",
            cross(5, 2, 3, Windows { in_hw: [9, 11], out_hw: [5, 5], stride: [2, 2], pad: [1, 0], ..three }),
        ),
        case(
            "dilated, strides of both axes unlike",
            cross(
                3,
                2,
                4,
                Windows {
                    in_hw: [13, 12],
                    out_hw: [11, 3],
                    kernel: [2, 3],
                    stride: [1, 3],
                    dilation: [3, 2],
                    pad: [1, 2],
                },
            ),
        ),
        case("three groups", grouped(3, 6)),
        case("a channel a group, two filters each", grouped(12, 24)),
        case("rows of a matrix", cross(33, 17, 9, Windows::points([1, 1]))),
        case("channels last", last(10, 1, Windows::points([1, 530]))),
        case("channels last, windows and groups", last(8, 2, three)),
        filled,
        sliced,
        Case {
            label: "no image that counts".to_owned(),
            inputs: vec![noise(2 * 3 * 4, 1), noise(2 * 5 * 4, 2), vec![0.0; 2]],
            kernel: std::sync::Arc::new(cross(5, 2, 3, Windows::points([2, 2]))),
        },
    ]
}
