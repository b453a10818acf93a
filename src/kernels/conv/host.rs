//! Convolution on the host: the matrix of taps for some hundred pixels at a time, small enough for the
//! cache, and a good GEMM over it.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::Conv;

/// Elements of a host task's matrix of taps: half a mebibyte.
const CACHED: usize = 1 << 17;
/// Host tasks wanted of one image.
const TASKS: usize = 16;

impl Conv {
    /// Writes the matrix of taps, `[depth, count]`, for the output pixels `first..first + count` of an
    /// image's group, whose planes are `x`.
    fn unfold(&self, x: &[f32], first: usize, count: usize, columns: &mut [f32]) {
        let windows = self.windows();
        for (row, column) in columns.chunks_exact_mut(count).enumerate() {
            let (channel, tap) = (row / self.taps(), row % self.taps());
            windows.unfold(&x[channel * self.in_plane()..][..self.in_plane()], 1, tap, first, column);
        }
    }

    /// Pixels and output channels of a host task. They depend on the layer only: enough tasks for all
    /// cores from one image, each with a matrix of taps that stays in a core's cache.
    fn task_size(&self) -> (usize, usize) {
        let pixels = (CACHED / self.depth()).next_multiple_of(16).clamp(64, 1024).min(self.out_plane());
        let tasks = self.out_plane().div_ceil(pixels) * self.groups;
        let splits = TASKS.div_ceil(tasks).min(self.group_out().div_ceil(32));
        (pixels, self.group_out().div_ceil(splits).next_multiple_of(8))
    }

    /// The host's face for maps: a task is some pixels of some channels of an image.
    pub(super) fn cpu_maps(&self, x: &[f32], weights: &[f32], bias: &[f32], y: &mut [f32]) {
        /// Its first pixel, and the piece of each of its channels' planes that it writes.
        struct Task<'a> {
            image: usize,
            group: usize,
            channel: usize,
            pixel: usize,
            pieces: Vec<&'a mut [f32]>,
        }
        let (plane, depth) = (self.out_plane(), self.depth());
        let (pixels, channels) = self.task_size();
        let mut tasks = Vec::new();
        for (image, y) in y.chunks_mut(self.out_total * plane).enumerate() {
            let y = &mut y[self.out_offset * plane..][..self.out_channels * plane];
            for (group, y) in y.chunks_mut(self.group_out() * plane).enumerate() {
                for (chunk, y) in y.chunks_mut(channels * plane).enumerate() {
                    let channel = group * self.group_out() + chunk * channels;
                    let first = tasks.len();
                    tasks.extend((0..plane).step_by(pixels).map(|pixel| Task {
                        image,
                        group,
                        channel,
                        pixel,
                        pieces: Vec::with_capacity(channels),
                    }));
                    for y in y.chunks_mut(plane) {
                        let pieces = tasks[first..].iter_mut().zip(y.chunks_mut(pixels));
                        pieces.for_each(|(task, piece)| task.pieces.push(piece));
                    }
                }
            }
        }
        let group_len = self.group_in() * self.in_plane();
        tasks.into_par_iter().for_each_init(
            || (Vec::new(), vec![0.0; pixels * channels]),
            |(columns, tile), task| {
                let x = &x[(task.image * self.groups + task.group) * group_len..][..group_len];
                let (rows, count) = (task.pieces.len(), task.pieces[0].len());
                let left = if self.pointwise() {
                    let x = &x[task.pixel..];
                    MatRef::from_column_major_slice_with_stride(x, count, depth, plane)
                } else {
                    columns.resize(depth * count, 0.0);
                    self.unfold(x, task.pixel, count, columns);
                    MatRef::from_column_major_slice(columns, count, depth)
                };
                let right = &weights[task.channel * depth..][..rows * depth];
                let right = MatRef::from_column_major_slice(right, depth, rows);
                let tile = &mut tile[..count * rows];
                let product = MatMut::from_column_major_slice_mut(&mut *tile, count, rows);
                matmul(product, Accum::Replace, left, right, 1.0, Par::Seq);
                let sums = tile.chunks_exact(count).zip(&bias[task.channel..]);
                for (y, (sums, bias)) in task.pieces.into_iter().zip(sums) {
                    y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum + bias);
                    self.activation.apply_slice(y);
                }
            },
        );
    }

    /// The host's face for single pixels, a product of matrices: a task is 16 images × some channels.
    /// Fewer images are filled up with zeros, since a GEMM may sum differently for other sizes.
    pub(super) fn cpu_rows(&self, x: &[f32], weights: &[f32], bias: &[f32], y: &mut [f32]) {
        const ROWS: usize = 16;
        let (depth, channels) = (self.depth(), self.group_out().min(64));
        for (x, y) in x.chunks(ROWS * self.in_channels).zip(y.chunks_mut(ROWS * self.out_total)) {
            let mut rows = vec![0.0; ROWS * self.in_channels];
            rows[..x.len()].copy_from_slice(x);
            // By group and chunk of channels: each image's piece.
            let mut tasks: Vec<(usize, usize, Vec<&mut [f32]>)> = Vec::new();
            for (image, y) in y.chunks_mut(self.out_total).enumerate() {
                let y = &mut y[self.out_offset..][..self.out_channels];
                let groups = y.chunks_mut(self.group_out()).enumerate();
                let pieces = groups.flat_map(|(group, y)| {
                    let first = group * self.group_out();
                    let pieces = y.chunks_mut(channels).enumerate();
                    pieces.map(move |(chunk, piece)| (group, first + chunk * channels, piece))
                });
                for (index, (group, channel, piece)) in pieces.enumerate() {
                    if image == 0 {
                        tasks.push((group, channel, Vec::with_capacity(ROWS)));
                    }
                    tasks[index].2.push(piece);
                }
            }
            tasks.into_par_iter().for_each(|(group, channel, pieces)| {
                let mut tile = vec![0.0; pieces[0].len() * ROWS];
                let width = pieces[0].len();
                let left = &weights[channel * depth..][..width * depth];
                let left = MatRef::from_row_major_slice(left, width, depth);
                let right = &rows[group * depth..];
                let right = MatRef::from_column_major_slice_with_stride(right, depth, ROWS, self.in_channels);
                let product = MatMut::from_column_major_slice_mut(&mut tile, width, ROWS);
                matmul(product, Accum::Replace, left, right, 1.0, Par::Seq);
                for (y, sums) in pieces.into_iter().zip(tile.chunks_exact(width)) {
                    let sums = sums.iter().zip(&bias[channel..]);
                    y.iter_mut().zip(sums).for_each(|(y, (sum, bias))| *y = sum + bias);
                    self.activation.apply_slice(y);
                }
            });
        }
    }
}
