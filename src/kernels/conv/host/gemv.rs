//! Products of few rows with a constant matrix on the host, such as a classifier's last layer.
//!
//! Each weight is used once a row, so weights are read in place and never packed. Sums run along the depth, each lane
//! of a vector by itself; their order depends on the depth only.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::kernels::conv::host::direct::TASK;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::instructions;

/// Output channels of a task.
const CHANNELS: usize = 64;
/// Depth of a partial sum: its rows and a task's weights fit the cache.
const DEPTH: usize = 2048;
/// Rows, and channels, of a tile.
const TILE: usize = 4;

impl ConvKernel {
    /// Computes the convolution on the host if its planes are single pixels.
    pub(crate) fn cpu_rows(&self, x: &[f32], weights: &[f32], bias: &[f32], y: &mut [f32]) {
        let arch = instructions::arch();
        let (depth, groups) = (self.depth(), self.group_out());
        // For each group and chunk of channels, each image's part.
        let mut tasks: Vec<(usize, usize, Vec<&mut [f32]>)> = Vec::new();
        for (image, y) in y.chunks_mut(self.out_total).enumerate() {
            let y = &mut y[self.out_offset..][..self.out_channels];
            let pieces = y.chunks_mut(groups).enumerate().flat_map(|(group, y)| {
                let pieces = y.chunks_mut(CHANNELS).enumerate();
                pieces.map(move |(chunk, piece)| (group, group * groups + chunk * CHANNELS, piece))
            });
            for (index, (group, channel, piece)) in pieces.enumerate() {
                if image == 0 {
                    tasks.push((group, channel, Vec::with_capacity(self.batch)));
                }
                tasks[index].2.push(piece);
            }
        }
        let work = |(group, channel, mut pieces): (usize, usize, Vec<&mut [f32]>)| {
            let rows: Vec<&[f32]> =
                x.chunks_exact(self.in_channels).map(|x| &x[group * depth..][..depth]).collect();
            let width = pieces[0].len();
            let weights: Vec<&[f32]> = weights[channel * depth..].chunks_exact(depth).take(width).collect();
            for piece in &mut pieces {
                piece.copy_from_slice(&bias[channel..][..width]);
            }
            arch.dispatch(Dots { rows: &rows, weights: &weights, depth, sums: &mut pieces });
            pieces.into_iter().for_each(|piece| self.activation.apply_slice(piece));
        };
        if self.batch * self.out_channels * depth < TASK {
            tasks.into_iter().for_each(work);
        } else {
            tasks.into_par_iter().for_each(work);
        }
    }
}

/// Adds the dot products of all rows with all channels' weights to `sums[row][channel]`.
struct Dots<'a, 'b> {
    rows: &'a [&'a [f32]],
    weights: &'a [&'a [f32]],
    depth: usize,
    sums: &'a mut [&'b mut [f32]],
}

impl WithSimd for Dots<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for from in (0..self.depth).step_by(DEPTH) {
            let depth = from..(from + DEPTH).min(self.depth);
            for (tile, weights) in self.weights.chunks(TILE).enumerate() {
                for (rows, sums) in self.rows.chunks(TILE).zip(self.sums.chunks_mut(TILE)) {
                    // A tile at an edge repeats its last row or channel.
                    let (mut right, mut left) = ([weights[0]; TILE], [rows[0]; TILE]);
                    right.iter_mut().zip(weights).for_each(|(tile, weights)| *tile = weights);
                    left.iter_mut().zip(rows).for_each(|(tile, row)| *tile = row);
                    right.iter_mut().chain(&mut left).for_each(|row| *row = &row[depth.clone()]);
                    let tile = tile * TILE;
                    match rows.len() {
                        1 => add(sums, tile, dots(simd, [left[0]], right)),
                        2 => add(sums, tile, dots(simd, [left[0], left[1]], right)),
                        _ => add(sums, tile, dots(simd, left, right)),
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add<const R: usize>(sums: &mut [&mut [f32]], first: usize, dots: [[f32; TILE]; R]) {
    for (sums, dots) in sums.iter_mut().zip(dots) {
        sums[first..].iter_mut().zip(dots).for_each(|(sum, dot)| *sum += dot);
    }
}

/// Dot products of `R` rows and four channels.
#[inline(always)]
fn dots<S: Simd, const R: usize>(simd: S, rows: [&[f32]; R], weights: [&[f32]; TILE]) -> [[f32; TILE]; R] {
    let zero = simd.splat_f32s(0.0);
    let mut tile = [[zero; TILE]; R];
    let depth = weights[0].len();
    for at in (0..depth).step_by(S::F32_LANES) {
        // An incomplete last vector is padded with zeros.
        let range = at..(at + S::F32_LANES).min(depth);
        let whole = range.len() == S::F32_LANES;
        let (mut right, mut left) = ([zero; TILE], [zero; R]);
        for (vector, weights) in right.iter_mut().zip(weights) {
            *vector = load(simd, &weights[range.clone()], whole);
        }
        for (vector, row) in left.iter_mut().zip(rows) {
            *vector = load(simd, &row[range.clone()], whole);
        }
        for r in 0..R {
            for c in 0..TILE {
                tile[r][c] = simd.mul_add_e_f32s(left[r], right[c], tile[r][c]);
            }
        }
    }
    let mut sums = [[0.0; TILE]; R];
    for r in 0..R {
        for c in 0..TILE {
            sums[r][c] = simd.reduce_sum_f32s(tile[r][c]);
        }
    }
    sums
}

#[inline(always)]
fn load<S: Simd>(simd: S, elements: &[f32], whole: bool) -> S::f32s {
    if whole { S::as_simd_f32s(elements).0[0] } else { simd.partial_load_f32s(elements) }
}
