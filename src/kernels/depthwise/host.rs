//! Depthwise convolution on the host, plane by plane, in vectors of adjacent pixels.
//!
//! A tap of a vector of pixels is again a vector at some distance, so padding must be stored as zeros. Large planes
//! are stored with their padding ([`PaddedRows`]). In small planes a row is shorter than a vector, and copying row by
//! row would dominate. If outputs are as wide as inputs, a small plane is stored in one piece: a tap that is `n`
//! columns to the side wraps around into an adjacent row, and reads a copy of the plane in which those `n` columns
//! are zero.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::kernels::activation::Activation;
use crate::kernels::depthwise::shape::Depthwise;
use crate::kernels::host::padded_rows::PaddedRows;
use crate::kernels::host::scratch;
use crate::kernels::host::vectors;
use crate::kernels::instructions;
use crate::kernels::window::Windows;

/// Least number of products for a task.
const TASK: usize = 1 << 15;
/// Elements that the last vector may overrun.
const SLACK: usize = 64;
/// Elements of a small plane, whose copies fit the first-level cache.
const SMALL: usize = 28 * 28;

/// Computes the call; the output must not be empty.
pub(crate) fn run(call: &Depthwise, inputs: &[&[f32]], output: &mut [f32]) {
    let (arch, plane, taps) = (instructions::arch(), call.out_plane(), call.taps());
    let least = 1 + TASK / (plane * taps);
    let filter = |index: usize| {
        let (image, filter) = (index / call.filters(), index % call.filters());
        let channel = image * call.channels + filter / call.multiplier;
        let x = &inputs[0][channel * call.in_plane()..][..call.in_plane()];
        let weights = &inputs[1][filter * taps..][..taps];
        PlaneFilter { x, weights, bias: inputs[2][filter], activation: call.activation }
    };
    if let Some(lines) = ShiftedCopies::of(&call.windows) {
        output.par_chunks_mut(least * plane).enumerate().for_each(|(task, y)| {
            scratch::with(lines.room(), |room| {
                lines.clear(room);
                for (index, y) in y.chunks_exact_mut(plane).enumerate() {
                    let filter = filter(task * least + index);
                    arch.dispatch(FilterSmallPlane { lines: &lines, filter, y, room });
                }
            });
        });
        return;
    }
    let padded = PaddedRows::of(&call.windows, 0, plane);
    let taps: Vec<usize> = (0..taps).map(|tap| padded.tap(&call.windows, tap)).collect();
    output.par_chunks_mut(plane).enumerate().with_min_len(least).for_each(|(index, y)| {
        scratch::with(FilterPaddedPlane::room(&padded, plane), |room| {
            let (windows, taps, filter) = (call.windows, &taps[..], filter(index));
            arch.dispatch(FilterPaddedPlane { windows, padded, taps, filter, y, room });
        });
    });
}

/// A filter with the plane that it is applied to.
struct PlaneFilter<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    bias: f32,
    activation: Activation,
}

impl PlaneFilter<'_> {
    /// Computes the sums of at least `len` adjacent windows. Tap `i` of the first window is `room[taps[i]]`.
    #[inline(always)]
    fn sums<S: Simd>(&self, simd: S, len: usize, (room, taps): (&[f32], &[usize]), sums: &mut [f32]) {
        let mut at = 0;
        // Several vectors at a time hide the latency of the sums.
        while at < len {
            let (room, sums, lanes) = (&room[at..], &mut sums[at..], S::F32_LANES);
            at += match len - at {
                left if left > 2 * lanes => self.part::<S, 4>(simd, room, taps, sums),
                left if left > lanes => self.part::<S, 2>(simd, room, taps, sums),
                _ => self.part::<S, 1>(simd, room, taps, sums),
            };
        }
    }

    /// Computes `V` vectors of windows. Returns the number of windows.
    #[inline(always)]
    fn part<S: Simd, const V: usize>(
        &self,
        simd: S,
        room: &[f32],
        taps: &[usize],
        sums: &mut [f32],
    ) -> usize {
        let mut part = [simd.splat_f32s(self.bias); V];
        for (&tap, &weight) in taps.iter().zip(self.weights) {
            let (pixels, _) = S::as_simd_f32s(&room[tap..][..V * S::F32_LANES]);
            let weight = simd.splat_f32s(weight);
            for (part, &pixels) in part.iter_mut().zip(pixels) {
                *part = simd.mul_add_e_f32s(weight, pixels, *part);
            }
        }
        let (sums, _) = S::as_mut_simd_f32s(&mut sums[..V * S::F32_LANES]);
        sums.copy_from_slice(&part);
        V * S::F32_LANES
    }
}

/// The layout of a small plane: one plain copy, and one for each horizontal tap distance, with zeros in the columns
/// that wrap around.
struct ShiftedCopies {
    /// Elements of the plane and of the output.
    plane: usize,
    outputs: usize,
    /// Zeros before the plane, and the distance between copies.
    front: usize,
    pitch: usize,
    /// Masks of the elements that each shifted copy keeps.
    masks: Vec<Vec<u32>>,
    /// Positions of the first window's taps.
    taps: Vec<usize>,
}

impl ShiftedCopies {
    /// Returns `None` unless the plane is small and its outputs are as wide as its inputs.
    fn of(windows: &Windows) -> Option<Self> {
        let [height, width] = windows.in_hw;
        let side =
            |tap: usize| (tap % windows.kernel[1] * windows.dilation[1]) as isize - windows.pad[1] as isize;
        let down =
            |tap: usize| (tap / windows.kernel[1] * windows.dilation[0]) as isize - windows.pad[0] as isize;
        let taps = 0..windows.taps();
        let far = taps.clone().map(|tap| side(tap).unsigned_abs()).max()?;
        if windows.stride != [1, 1] || windows.out_hw[1] != width || windows.pixels() > SMALL || far >= width
        {
            return None;
        }
        let at = |tap: usize| down(tap) * width as isize + side(tap);
        let (plane, outputs) = (height * width, windows.positions());
        let front = (-taps.clone().map(at).min()?).max(0) as usize;
        let last = taps.clone().map(at).max()?.max(0) as usize;
        let pitch = front + plane.max(last + outputs) + SLACK;
        let mut sides: Vec<isize> = taps.clone().map(side).filter(|&side| side != 0).collect();
        sides.sort_unstable();
        sides.dedup();
        let mask = |side: &isize| {
            let seen = |column: usize| (0..width as isize).contains(&(column as isize - side));
            (0..plane).map(|i| if seen(i % width) { u32::MAX } else { 0 }).collect()
        };
        let place = |tap: usize| {
            let copy = sides.iter().position(|&s| s == side(tap)).map_or(0, |i| 1 + i);
            (copy * pitch + front).saturating_add_signed(at(tap))
        };
        Some(Self {
            plane,
            outputs,
            front,
            pitch,
            masks: sides.iter().map(mask).collect(),
            taps: taps.map(place).collect(),
        })
    }

    /// Elements of all copies and of the sums.
    fn room(&self) -> usize {
        (1 + self.masks.len()) * self.pitch + self.outputs + SLACK
    }

    /// Writes the zeros around the copies.
    fn clear(&self, room: &mut [f32]) {
        room[..(1 + self.masks.len()) * self.pitch].fill(0.0);
    }
}

/// Applies a filter to a small plane.
struct FilterSmallPlane<'a> {
    lines: &'a ShiftedCopies,
    filter: PlaneFilter<'a>,
    y: &'a mut [f32],
    room: &'a mut [f32],
}

impl WithSimd for FilterSmallPlane<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ShiftedCopies { plane, outputs, front, pitch, ref masks, ref taps } = *self.lines;
        let (copies, sums) = self.room.split_at_mut((1 + masks.len()) * pitch);
        let (first, others) = copies.split_at_mut(pitch);
        let first = &mut first[front..][..plane];
        vectors::copy(self.filter.x, first);
        for (copy, mask) in others.chunks_exact_mut(pitch).zip(masks) {
            for ((y, x), mask) in copy[front..][..plane].iter_mut().zip(&*first).zip(mask) {
                *y = f32::from_bits(x.to_bits() & mask);
            }
        }
        self.filter.sums(simd, outputs, (copies, taps), sums);
        self.filter.activation.apply_into(sums, self.y);
    }
}

/// Applies a filter to a plane with padded rows.
struct FilterPaddedPlane<'a> {
    windows: Windows,
    padded: PaddedRows,
    /// Positions of the taps in the padded rows.
    taps: &'a [usize],
    filter: PlaneFilter<'a>,
    y: &'a mut [f32],
    room: &'a mut [f32],
}

impl FilterPaddedPlane<'_> {
    /// Elements of the padded rows and of the sums, including the overrun of vectors.
    fn room(padded: &PaddedRows, plane: usize) -> usize {
        2 * SLACK + padded.len() + plane.max(padded.len())
    }
}

impl WithSimd for FilterPaddedPlane<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let ([oh, ow], step) = (self.windows.out_hw, self.padded.row_len());
        let (padded, sums) = std::mem::take(&mut self.room).split_at_mut(self.padded.len() + SLACK);
        self.padded.fill(&self.windows, self.filter.x, 0.0, padded);
        // With stride 1, the windows of all rows form one line, with a few unused windows at the ends of rows. Per
        // line: number of windows, and the distance to the next line in the sums.
        let (lines, len) = if self.windows.stride == [1, 1] { (1, (oh - 1) * step + ow) } else { (oh, ow) };
        let pitch = if lines == 1 { step } else { ow };
        for line in 0..lines {
            let first = line * self.windows.stride[0] * step;
            self.filter.sums(simd, len, (&padded[first..], self.taps), &mut sums[line * pitch..]);
        }
        for (y, sums) in self.y.chunks_exact_mut(ow).zip(sums.chunks(pitch)) {
            self.filter.activation.apply_into(sums, y);
        }
    }
}
