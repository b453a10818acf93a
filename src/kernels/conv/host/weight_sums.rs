//! Gradients of weights on the host: sums of products along lines of positions, one vector of positions at a time.
//!
//! A block of positions is stored as lines: one for each filter's gradient, and for `x` one for each channel, in which
//! the positions of a tap are adjacent, at the tap's distance. Rows are padded, so that a tap never crosses an edge;
//! the gradient is zero in these places ([`PaddedPlanes`]). If the padding would cost more, as in tiny planes of few
//! channels, `x` is unfolded: each tap of each channel has a line of its own. A tile of 4 filters × 6 taps stays in registers over the whole block.
//!
//! Blocks form parts, whose sums are added in order. Neither depends on the number of threads.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::host::padded_planes::PaddedPlanes;
use crate::kernels::host::{scratch, vectors};
use crate::kernels::instructions;

/// Unit of the lengths of lines.
const VECTOR: usize = 16;
/// Filters, and taps, of a tile.
const ROWS: usize = 4;
const COLUMNS: usize = 6;
/// Filters of a task.
const TASK_ROWS: usize = 32;
/// Elements of a block's lines of `x` or of the gradient: a mebibyte and a half.
const CACHED: usize = 384 << 10;
/// Elements of the lines of `x` that are multiplied with all filters of a task before the next ones.
const NEAR: usize = 32 << 10;
/// Most positions of a block, if it has several images or rows.
const MOST_POSITIONS: usize = 4096;
/// Most parts, and most elements of all parts' sums.
const PARTS: usize = 16;
const PART_SUMS: usize = 1 << 21;
/// Least number of elements that a task stores.
const STORED: usize = 1 << 14;
/// Cost of unfolding a vector, in products of vectors.
const UNFOLD: usize = 10;
/// Cost of adding the lanes of a sum at the end of a block, in products of vectors.
const REDUCE: usize = 8;

/// Computes the sums `[out_channels, in_channels / groups, kh, kw]` over all images.
pub(crate) fn run(conv: &ConvKernel, x: &[f32], gradient: &[f32], sums: &mut [f32]) {
    if sums.is_empty() {
        return;
    }
    let blocks = Division::of(conv).blocks(conv);
    let most = (PART_SUMS / sums.len()).clamp(1, PARTS);
    let of_part = blocks.len().div_ceil(most).max(1);
    let matrix = conv.group_out() * conv.depth();
    let part = |blocks: &[Block], sums: &mut [f32]| {
        sums.fill(0.0);
        sums.par_chunks_mut(matrix).enumerate().for_each(|(group, sums)| {
            blocks.iter().for_each(|block| block.add(conv, group, [x, gradient], sums));
        });
    };
    if blocks.len() <= of_part {
        return part(&blocks, sums);
    }
    let len = sums.len();
    scratch::with(blocks.len().div_ceil(of_part) * len, |parts| {
        parts
            .par_chunks_mut(len)
            .zip(blocks.par_chunks(of_part))
            .for_each(|(sums, blocks)| part(blocks, sums));
        let parts = &*parts;
        sums.par_chunks_mut(1 << 12).enumerate().for_each(|(chunk, sums)| {
            sums.fill(0.0);
            for part in parts.chunks_exact(len) {
                let part = &part[chunk << 12..];
                sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
        });
    });
}

/// Form of the lines of `x`.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A line for each channel, with padding ([`PaddedPlanes`]).
    Padded,
    /// A line for each tap of each channel, in which images are adjacent.
    Unfolded,
}

/// Some images, or some rows of windows of one image.
struct Block {
    form: Form,
    images: Range<usize>,
    rows: Range<usize>,
}

/// Places of the lines' elements.
struct Lines {
    /// Images that are stored one after the other, in each line.
    images: usize,
    /// Distance between adjacent rows of windows.
    pitch: usize,
    /// Elements of an image in a line of the gradient, and in a line of `x`.
    gradient_len: usize,
    x_len: usize,
    /// The planes of an image in a line of `x`; `None` if it is unfolded.
    planes: Option<PaddedPlanes>,
}

impl Lines {
    fn of(conv: &ConvKernel, form: Form, images: usize, rows: usize) -> Self {
        let ow = conv.windows.out_hw[1];
        match form {
            Form::Padded => {
                let planes = PaddedPlanes::of(&conv.windows, rows);
                let gradient_len = (rows * planes.pitch).next_multiple_of(VECTOR);
                Self { images, pitch: planes.pitch, gradient_len, x_len: planes.len(), planes: Some(planes) }
            }
            Form::Unfolded => {
                let dense = (images * rows * ow).next_multiple_of(VECTOR);
                Self { images: 1, pitch: ow, gradient_len: dense, x_len: dense, planes: None }
            }
        }
    }

    /// Positions of a block, with those that pad its lines.
    fn positions(&self) -> usize {
        self.images * self.gradient_len
    }

    /// Elements of all lines of `x`.
    fn x_elements(&self, conv: &ConvKernel) -> usize {
        let lines = if self.planes.is_none() { conv.depth() } else { conv.group_in() };
        lines * self.images * self.x_len
    }

    /// Positions of the taps of all channels in the lines of `x`.
    fn taps(&self, conv: &ConvKernel) -> Vec<usize> {
        let place = |element: usize| match &self.planes {
            Some(planes) => {
                let (channel, tap) = (element / conv.taps(), element % conv.taps());
                channel * self.images * self.x_len + planes.tap(&conv.windows, tap)
            }
            None => element * self.x_len,
        };
        (0..conv.depth()).map(place).collect()
    }
}

/// Size of the blocks of a batch, some images or some rows of one image, and their form.
struct Division {
    form: Form,
    images: usize,
    rows: usize,
}

impl Division {
    /// The division with the lower cost.
    fn of(conv: &ConvKernel) -> Self {
        let [padded, unfolded] = [Form::Padded, Form::Unfolded].map(|form| Self::by(conv, form));
        if unfolded.cost(conv) < padded.cost(conv) { unfolded } else { padded }
    }

    /// The largest blocks of similar sizes whose lines fit the cache.
    fn by(conv: &ConvKernel, form: Form) -> Self {
        let all = conv.windows.out_hw[0];
        let fits = |images: usize, rows: usize| {
            let lines = Lines::of(conv, form, images, rows);
            let most = lines.x_elements(conv).max(conv.group_out() * lines.positions());
            most <= CACHED && lines.positions() <= MOST_POSITIONS
        };
        let even = |count: usize, most: usize| count.div_ceil(count.div_ceil(most.max(1)).max(1)).max(1);
        if fits(1, all) {
            let images = (1..=conv.batch).take_while(|&images| fits(images, all)).last().unwrap_or(1);
            return Self { form, images: even(conv.batch, images), rows: all };
        }
        let rows = (1..=all).take_while(|&rows| fits(1, rows)).last().unwrap_or(1);
        Self { form, images: 1, rows: even(all, rows) }
    }

    /// Cost of a pair of a filter and a tap for a row of windows, in products of vectors.
    fn cost(&self, conv: &ConvKernel) -> f64 {
        let vectors = Lines::of(conv, self.form, self.images, self.rows).positions() / VECTOR;
        let unfold = if self.form == Form::Unfolded { UNFOLD * vectors / conv.group_out().max(1) } else { 0 };
        (vectors + REDUCE + unfold) as f64 / (self.images * self.rows) as f64
    }

    fn blocks(&self, conv: &ConvKernel) -> Vec<Block> {
        let (form, all) = (self.form, conv.windows.out_hw[0]);
        let images = (0..conv.batch).step_by(self.images.max(1));
        let range = |first: usize, count: usize, end: usize| first..(first + count).min(end);
        let block = |image, row| Block {
            form,
            images: range(image, self.images, conv.batch),
            rows: range(row, self.rows, all),
        };
        images
            .flat_map(|image| (0..all).step_by(self.rows.max(1)).map(move |row| block(image, row)))
            .collect()
    }
}

impl Block {
    /// Adds the sums of a group over the block.
    fn add(&self, conv: &ConvKernel, group: usize, [x, gradient]: [&[f32]; 2], sums: &mut [f32]) {
        let lines = &Lines::of(conv, self.form, self.images.len(), self.rows.len());
        let (arch, filters) = (instructions::arch(), conv.group_out());
        let x_len = lines.x_elements(conv);
        let of_filter = lines.images * lines.gradient_len;
        // The last vector of a tap may overrun the plane.
        let slack = VECTOR + lines.pitch;
        scratch::with(x_len + slack + filters * of_filter, |room| {
            let (seen, gradients) = room.split_at_mut(x_len + slack);
            seen[x_len..].fill(0.0);
            let of_channel = x_len / conv.group_in();
            let channels = seen[..x_len].par_chunks_mut(of_channel).enumerate();
            channels.with_min_len(1 + STORED / of_channel).for_each(|(channel, line)| {
                let channel = group * conv.group_in() + channel;
                arch.dispatch(StoreChannel { conv, block: self, lines, x, channel, line });
            });
            let filter_lines = gradients.par_chunks_mut(of_filter).enumerate();
            filter_lines.with_min_len(1 + STORED / of_filter).for_each(|(filter, line)| {
                let filter = conv.out_offset + group * filters + filter;
                arch.dispatch(StoreFilter { conv, block: self, lines, gradient, filter, line });
            });
            let (seen, taps) = (&*seen, &lines.taps(conv)[..]);
            let tasks =
                sums.par_chunks_mut(TASK_ROWS * taps.len()).zip(gradients.par_chunks(TASK_ROWS * of_filter));
            tasks.for_each(|(sums, gradients)| {
                arch.dispatch(Multiply {
                    lines,
                    seen,
                    taps,
                    near: NEAR * taps.len() / x_len,
                    gradients,
                    sums,
                });
            });
        });
    }
}

/// Writes a channel's lines of a block.
struct StoreChannel<'a> {
    conv: &'a ConvKernel,
    block: &'a Block,
    lines: &'a Lines,
    x: &'a [f32],
    channel: usize,
    line: &'a mut [f32],
}

impl<'a> StoreChannel<'a> {
    #[inline(always)]
    fn plane_of(&self, image: usize) -> &'a [f32] {
        let plane = self.conv.in_plane();
        &self.x[(image * self.conv.in_channels + self.channel) * plane..][..plane]
    }

    fn unfold(self, line: &mut [f32]) {
        let (windows, block) = (self.conv.windows, self.block);
        let positions = block.rows.len() * windows.out_hw[1];
        let first = block.rows.start * windows.out_hw[1];
        for (tap, line) in line.chunks_exact_mut(self.lines.x_len).enumerate() {
            for (place, image) in block.images.clone().enumerate() {
                let plane = self.plane_of(image);
                if windows.pixels() == 1 && windows.are_points() {
                    line[place] = plane[0];
                } else {
                    windows.unfold(plane, 1, tap, first, &mut line[place * positions..][..positions]);
                }
            }
            line[block.images.len() * positions..].fill(0.0);
        }
    }
}

impl WithSimd for StoreChannel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _simd: S) {
        let line = std::mem::take(&mut self.line);
        let Some(planes) = &self.lines.planes else { return self.unfold(line) };
        for (image, line) in self.block.images.clone().zip(line.chunks_exact_mut(planes.len())) {
            planes.fill(&self.conv.windows, self.plane_of(image), self.block.rows.start, 0.0, line);
        }
    }
}

/// Writes a filter's line of a block.
struct StoreFilter<'a> {
    conv: &'a ConvKernel,
    block: &'a Block,
    lines: &'a Lines,
    gradient: &'a [f32],
    filter: usize,
    line: &'a mut [f32],
}

impl WithSimd for StoreFilter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _simd: S) {
        let (plane, ow, rows) = (self.conv.out_plane(), self.conv.windows.out_hw[1], &self.block.rows);
        let line = std::mem::take(&mut self.line);
        let pitch = self.lines.pitch;
        let dense = self.lines.planes.is_none();
        let step = if dense { rows.len() * ow } else { self.lines.gradient_len };
        for (place, image) in self.block.images.clone().enumerate() {
            let source = &self.gradient[(image * self.conv.out_total + self.filter) * plane..][..plane];
            let source = &source[rows.start * ow..rows.end * ow];
            let target = &mut line[place * step..][..step];
            if pitch == ow {
                vectors::copy(source, &mut target[..source.len()]);
            } else {
                for (target, source) in target.chunks_exact_mut(pitch).zip(source.chunks_exact(ow)) {
                    vectors::copy(source, &mut target[..ow]);
                    target[ow..].fill(0.0);
                }
            }
            target[rows.len() * pitch..].fill(0.0);
        }
        if dense {
            line[self.block.images.len() * step..].fill(0.0);
        }
    }
}

/// Adds the products of some filters' lines with all taps' lines.
struct Multiply<'a> {
    lines: &'a Lines,
    seen: &'a [f32],
    taps: &'a [usize],
    /// Number of taps whose lines stay in the cache.
    near: usize,
    gradients: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let sums = std::mem::take(&mut self.sums);
        let rows = sums.len() / self.taps.len();
        let height = if S::REGISTER_COUNT >= 32 { ROWS } else { ROWS / 2 };
        let near = self.near.next_multiple_of(COLUMNS).max(COLUMNS);
        for first in (0..self.taps.len()).step_by(near) {
            let taps = first..(first + near).min(self.taps.len());
            for row in (0..rows).step_by(height) {
                match height.min(rows - row) {
                    1 => self.rows::<S, 1>(simd, row, taps.clone(), sums),
                    2 => self.rows::<S, 2>(simd, row, taps.clone(), sums),
                    3 => self.rows::<S, 3>(simd, row, taps.clone(), sums),
                    _ => self.rows::<S, ROWS>(simd, row, taps.clone(), sums),
                }
            }
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(&self, simd: S, row: usize, taps: Range<usize>, sums: &mut [f32]) {
        for first in taps.clone().step_by(COLUMNS) {
            let count = COLUMNS.min(taps.end - first);
            if count <= COLUMNS / 2 {
                self.tile::<S, R, { COLUMNS / 2 }>(simd, row, first..first + count, sums);
            } else {
                self.tile::<S, R, COLUMNS>(simd, row, first..first + count, sums);
            }
        }
    }

    /// Adds the sums of `R` filters and at most `C` taps. A missing tap repeats the last one.
    #[allow(clippy::needless_range_loop)] // loops of constant length over several arrays, which are unrolled
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const C: usize>(
        &self,
        simd: S,
        row: usize,
        taps: Range<usize>,
        sums: &mut [f32],
    ) {
        let (len, vectors) = (self.lines.gradient_len, self.lines.gradient_len / S::F32_LANES);
        let mut starts = [0; C];
        for c in 0..C {
            starts[c] = self.taps[(taps.start + c).min(taps.end - 1)];
        }
        let mut tile = [[simd.splat_f32s(0.0); C]; R];
        for image in 0..self.lines.images {
            let mut gradients: [&[S::f32s]; R] = [&[]; R];
            for r in 0..R {
                let line = &self.gradients[((row + r) * self.lines.images + image) * len..][..len];
                gradients[r] = &S::as_simd_f32s(line).0[..vectors];
            }
            let mut seen: [&[S::f32s]; C] = [&[]; C];
            for c in 0..C {
                let line = &self.seen[starts[c] + image * self.lines.x_len..][..len];
                seen[c] = &S::as_simd_f32s(line).0[..vectors];
            }
            for v in 0..vectors {
                let mut factors = [simd.splat_f32s(0.0); R];
                for r in 0..R {
                    factors[r] = gradients[r][v];
                }
                for c in 0..C {
                    let seen = seen[c][v];
                    for r in 0..R {
                        tile[r][c] = simd.mul_add_e_f32s(factors[r], seen, tile[r][c]);
                    }
                }
            }
        }
        for r in 0..R {
            let sums = &mut sums[(row + r) * self.taps.len()..][taps.clone()];
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum += simd.reduce_sum_f32s(tile[r][c]);
            }
        }
    }
}
