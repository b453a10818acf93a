//! Second moments of a layer's input patches, accumulated over images on the device: `Σ p pᵀ`.
//!
//! `p` is a window's patch of an activation with a constant 1 as its last element. The last row of the sum therefore
//! holds the sums of the elements, and its last element counts the windows. With windows of one pixel this is the
//! second moment of the channels.
//!
//! The kernel *accumulates*: it adds to its output. The positions of an image are split among several outputs, so
//! that a GPU has enough work if the matrix is small; the split depends on the layer only. Sums over up to some
//! thousand positions of one image are computed first and then added to the output, image after image, so the bits do
//! not depend on the batch. Both fast versions compute only the lower triangle.

use bytemuck::bytes_of;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::{Windows, WindowsUniform};

/// Adds `Σ weights[n / slices] · p pᵀ` over the images `n` and the windows' patches `p`, each with a final 1.
///
/// Inputs: `x`, `[batch, channels, h, w]` or `[batch, h, w, channels]`, and `weights [samples]`: 1 for a sample that
/// counts, 0 for one that fills up the batch. Each sample has `slices` consecutive images, for example frames or
/// windows. Images of weight 0 are skipped, including their NaNs. Output: `[groups, splits, side, side]`, the lower
/// triangle of each matrix with the diagonal; the rest is unchanged. Elements of `p` are ordered by channel of the
/// group, then tap.
#[derive(Clone, Debug, PartialEq)]
pub struct GramKernel {
    /// Number of images: the size of the first axis of `x`.
    pub batch: usize,
    /// Number of samples in a batch, each with a weight.
    pub samples: usize,
    /// Number of consecutive images that share a weight.
    pub slices: usize,
    /// Groups of channels, each with matrices of its own.
    pub groups: usize,
    /// Channels of `x`, over all groups.
    pub channels: usize,
    /// True if the channels of a pixel are adjacent.
    pub channels_last: bool,
    /// Placement of the windows on each channel's plane.
    pub windows: Windows,
}

/// Rows, and columns, of an invocation's tile.
pub(crate) const TILE: usize = 8;
/// Invocations that fill a GPU.
const INVOCATIONS: usize = 8192;
/// Fewest positions of a split, if there are several.
const LEAST_SHARE: usize = 256;
/// Most positions whose patches the host unfolds at once.
pub(crate) const UNFOLDED: usize = 2048;
/// Positions of one product on the host.
pub(crate) const DEPTH: usize = 512;

/// How the shader reads `x`, with the shader's numbers.
#[derive(Clone, Copy)]
enum FetchMode {
    Any = 0,
    Quads = 1,
    Lanes = 2,
    Threes = 3,
}

/// Elements of a triangle, including the diagonal.
fn triangle(side: usize) -> usize {
    side * (side + 1) / 2
}

impl GramKernel {
    /// Rows, and columns, of a matrix: the elements of a patch and the constant 1.
    pub fn side(&self) -> usize {
        self.group_channels() * self.windows.taps() + 1
    }

    /// Outputs that share the positions of every image; depends on the layer only.
    pub fn splits(&self) -> usize {
        let most = (self.windows.positions() / LEAST_SHARE).max(1);
        (INVOCATIONS / (self.groups * self.tiles()).max(1)).clamp(1, most)
    }

    /// Shape of the output.
    pub fn shape(&self) -> [usize; 4] {
        [self.groups, self.splits(), self.side(), self.side()]
    }

    fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Images that count, with their weights.
    pub(crate) fn weighted<T: Copy + Default + PartialEq>(
        &self,
        weights: &[T],
    ) -> impl Iterator<Item = (usize, T)> {
        (0..self.batch).map(|n| (n, weights[n / self.slices])).filter(|(_, weight)| *weight != T::default())
    }

    /// Tiles of 8 × 8 in a matrix's lower triangle.
    fn tiles(&self) -> usize {
        triangle(self.side().div_ceil(TILE))
    }

    /// Positions of a split, a multiple of four; the last split may have fewer.
    pub(crate) fn share(&self) -> usize {
        self.windows.positions().div_ceil(self.splits()).next_multiple_of(4)
    }

    /// How the shader reads `x`.
    fn fetch_mode(&self) -> FetchMode {
        let windows = &self.windows;
        let side_by_side = Windows { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], ..*windows };
        if *windows == side_by_side {
            FetchMode::Threes
        } else if !windows.are_points() {
            FetchMode::Any
        } else if !self.channels_last && windows.pixels().is_multiple_of(4) {
            FetchMode::Quads
        } else if self.channels_last && self.group_channels().is_multiple_of(4) {
            FetchMode::Lanes
        } else {
            FetchMode::Any
        }
    }

    /// Rows of a host task: few, so that little of the upper triangle is computed if the matrix is small.
    fn panel(&self) -> usize {
        if self.side() < 512 { 64 } else { 128 }
    }

    /// Range of the positions of a split.
    pub(crate) fn positions(&self, split: usize) -> std::ops::Range<usize> {
        let end = |split: usize| (split * self.share()).min(self.windows.positions());
        end(split)..end(split + 1)
    }

    /// Strides of `x` along channels, pixels and images.
    pub(crate) fn steps(&self) -> [usize; 3] {
        let pixels = self.windows.pixels();
        let [channel, pixel] = if self.channels_last { [1, self.channels] } else { [pixels, 1] };
        [channel, pixel, self.channels * pixels]
    }

    /// Unfolds `count` windows from `first` on of an image's group, whose first element is `x[0]`. Each row holds one
    /// element of all patches; the last row is ones.
    pub(crate) fn unfold(&self, x: &[f32], first: usize, count: usize, columns: &mut Vec<f32>) {
        let (side, taps) = (self.side(), self.windows.taps());
        let [channel_step, pixel_step, _] = self.steps();
        columns.resize(side * count, 0.0);
        let rows = columns.par_chunks_exact_mut(count).enumerate();
        rows.with_min_len(64).for_each(|(row, column)| {
            if row == side - 1 {
                column.fill(1.0);
            } else {
                let plane = &x[row / taps * channel_step..];
                self.windows.unfold(plane, pixel_step, row % taps, first, column);
            }
        });
    }

    /// A group's patch at a position of an image, by definition, with a final 1.
    pub(crate) fn patch(&self, x: &[f64], image: usize, group: usize, position: usize) -> Vec<f64> {
        let (taps, windows) = (self.windows.taps(), self.windows);
        let [channel_step, pixel_step, image_step] = self.steps();
        let [ow, kw, w] = [windows.out_hw[1], windows.kernel[1], windows.in_hw[1]];
        let element = |row: usize| {
            let (channel, tap) = (group * self.group_channels() + row / taps, row % taps);
            let (y, x_at) = (windows.at(0, position / ow, tap / kw), windows.at(1, position % ow, tap % kw));
            y.zip(x_at).map_or(0.0, |(y, x_at)| {
                x[image * image_step + channel * channel_step + (y * w + x_at) * pixel_step]
            })
        };
        (0..self.side() - 1).map(element).chain([1.0]).collect()
    }

    /// Adds the sum of one image over the positions of a split to `sums`. `columns` is scratch memory for patches.
    fn cpu_image(&self, x: &[f32], weight: f32, split: usize, columns: &mut Vec<f32>, sums: &mut [f32]) {
        let side = self.side();
        let positions = self.positions(split);
        for first in positions.clone().step_by(UNFOLDED) {
            let count = UNFOLDED.min(positions.end - first);
            self.unfold(x, first, count, columns);
            let columns = MatRef::from_row_major_slice(&*columns, side, count);
            let panels = sums.par_chunks_mut(self.panel() * side).enumerate();
            panels.for_each_init(Vec::new, |tile, (panel, sums)| {
                let (top, rows) = (panel * self.panel(), sums.len() / side);
                let width = top + rows;
                tile.resize(rows * width, 0.0);
                let mut product = MatMut::from_row_major_slice_mut(&mut *tile, rows, width);
                for from in (0..count).step_by(DEPTH) {
                    let columns = columns.subcols(from, DEPTH.min(count - from));
                    let (left, right) = (columns.subrows(top, rows), columns.subrows(0, width));
                    let accum = if from == 0 { Accum::Replace } else { Accum::Add };
                    matmul(product.as_mut(), accum, left, right.transpose(), 1.0, Par::Seq);
                }
                for (row, (sums, tile)) in sums.chunks_exact_mut(side).zip(tile.chunks(width)).enumerate() {
                    let lower = sums[..=top + row].iter_mut().zip(tile);
                    lower.for_each(|(sum, part)| *sum += weight * part);
                }
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
    batch: u32,
    slices: u32,
    channel_step: u32,
    pixel_step: u32,
    image_step: u32,
    points: u32,
    windows: WindowsUniform,
}

pub(crate) static ROW: KernelRow = row! {
    name: "gram",
    file: "moments/gram",
    shared: ["windows", "outer", "patches"],
    doc: "second moments of channels or patches, accumulated",
};

impl Kernel for GramKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.batch * self.channels * self.windows.pixels(), self.samples]
    }

    fn output_len(&self) -> usize {
        self.shape().iter().product()
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let side = self.side();
        for (index, sums) in output.chunks_exact_mut(side * side).enumerate() {
            let (group, split) = (index / self.splits(), index % self.splits());
            for (image, weight) in self.weighted(inputs[1]) {
                for position in self.positions(split) {
                    let patch = self.patch(inputs[0], image, group, position);
                    for (row, column) in (0..side).flat_map(|r| (0..=r).map(move |c| (r, c))) {
                        sums[row * side + column] += weight * patch[row] * patch[column];
                    }
                }
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let [channel_step, _, image_step] = self.steps();
        let matrices = output.par_chunks_mut(self.side().pow(2)).enumerate();
        matrices.for_each_init(Vec::new, |columns, (index, sums)| {
            let (group, split) = (index / self.splits(), index % self.splits());
            let first = group * self.group_channels() * channel_step;
            for (image, weight) in self.weighted(inputs[1]) {
                let x = &inputs[0][image * image_step..][..image_step][first..];
                self.cpu_image(x, weight, split, columns, sums);
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [channel_step, pixel_step, image_step] = self.steps().map(word);
        let mode = self.fetch_mode();
        let tiles = match mode {
            FetchMode::Threes => triangle(self.group_channels() + 1),
            FetchMode::Any | FetchMode::Quads | FetchMode::Lanes => self.tiles(),
        };
        let len = self.groups * self.splits() * tiles;
        let windows = &self.windows;
        let params = Params {
            len: word(len),
            tiles: word(tiles),
            splits: word(self.splits()),
            share: word(self.share()),
            side: word(self.side()),
            group_channels: word(self.group_channels()),
            batch: word(self.batch),
            slices: word(self.slices),
            channel_step,
            pixel_step,
            image_step,
            points: u32::from(windows.are_points()),
            windows: windows.words(),
        };
        Dispatch {
            overrides: vec![("FETCH", f64::from(mode as u8))],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let gram = |batch, channels, windows| GramKernel {
        batch,
        samples: batch,
        slices: 1,
        groups: 1,
        channels,
        channels_last: false,
        windows,
    };
    // Weight 1: every image counts.
    let case = |label: &str, kernel: GramKernel| {
        let samples = kernel.samples;
        let mut case = noise_case(label, kernel);
        case.inputs[1] = vec![1.0; samples];
        case
    };
    let three = Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([7, 7]) };
    let mut filled = case("images of weight 0, full of NaN", gram(4, 5, three));
    filled.inputs[1] = vec![0.0, 1.0, 0.0, 1.0];
    filled.inputs[0].chunks_mut(5 * 49).step_by(2).for_each(|x| x.fill(f32::NAN));
    let mut positive = case("sums far from zero, in splits", gram(2, 19, Windows::points([40, 41])));
    positive.inputs[0].iter_mut().for_each(|x| *x += 3.0);
    let mut weighted = case("a weight that is not one", gram(3, 3, Windows::points([5, 1])));
    weighted.inputs[1] = vec![0.5, -2.0, 1.0];
    let mut sliced = case(
        "three images a sample",
        GramKernel { samples: 3, slices: 3, ..gram(9, 5, Windows::points([7, 3])) },
    );
    sliced.inputs[1] = vec![1.0, 0.0, 0.5];
    sliced.inputs[0][3 * 5 * 21..6 * 5 * 21].fill(f32::NAN);
    let whole = GramKernel { samples: 4, slices: 9, ..gram(9, 3, three) };
    vec![
        case("one channel, one pixel", gram(1, 1, Windows::points([1, 1]))),
        case("channels that are no multiple of a tile", gram(3, 13, Windows::points([7, 7]))),
        case("vectors of four positions, several blocks", gram(2, 300, Windows::points([26, 26]))),
        case("exactly two tiles", gram(2, 15, Windows::points([4, 4]))),
        case("many tiles and one split", gram(1, 130, Windows::points([14, 14]))),
        case("3×3, padded", gram(3, 6, three)),
        case(
            "3×3 in splits that begin within rows",
            gram(2, 2, Windows { in_hw: [27, 31], out_hw: [27, 31], ..three }),
        ),
        case(
            "3×3 without padding, several blocks",
            gram(2, 96, Windows { in_hw: [30, 21], out_hw: [28, 19], pad: [0, 0], ..three }),
        ),
        case(
            "stride 2, asymmetric padding, odd sizes",
            gram(2, 3, Windows { in_hw: [9, 11], out_hw: [5, 5], stride: [2, 2], pad: [1, 0], ..three }),
        ),
        case(
            "7×7 with stride 2",
            gram(
                1,
                3,
                Windows {
                    in_hw: [43, 41],
                    out_hw: [22, 21],
                    kernel: [7, 7],
                    stride: [2, 2],
                    pad: [3, 3],
                    ..three
                },
            ),
        ),
        case(
            "dilated, strides of both axes unlike",
            gram(
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
        case(
            "padding wider than the image",
            gram(1, 2, Windows { in_hw: [2, 1], out_hw: [6, 5], pad: [3, 3], ..three }),
        ),
        case(
            "1×1 with stride 2",
            gram(2, 9, Windows { out_hw: [4, 4], stride: [2, 2], ..Windows::points([7, 7]) }),
        ),
        case(
            "three groups",
            GramKernel { groups: 3, ..gram(2, 15, Windows { in_hw: [20, 19], out_hw: [20, 19], ..three }) },
        ),
        case("a channel a group", GramKernel { groups: 9, ..gram(2, 9, three) }),
        case(
            "channels last, in vectors of four",
            GramKernel { channels_last: true, groups: 2, ..gram(2, 24, Windows::points([6, 5])) },
        ),
        case(
            "channels last, in splits",
            GramKernel { channels_last: true, ..gram(2, 11, Windows::points([1, 530])) },
        ),
        case(
            "channels last, windows and groups",
            GramKernel { channels_last: true, groups: 2, ..gram(2, 6, three) },
        ),
        case("rows of a matrix", gram(17, 33, Windows::points([1, 1]))),
        filled,
        positive,
        weighted,
        sliced,
        case("images that all have the first weight", whole),
        Case {
            label: "no image that counts".to_owned(),
            inputs: vec![noise(2 * 3 * 4, 1), vec![0.0; 2]],
            kernel: std::sync::Arc::new(gram(2, 3, Windows::points([2, 2]))),
        },
    ]
}
