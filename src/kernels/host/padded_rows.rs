//! Rows of a plane with explicit padding, so that inner loops need no bounds checks.
//!
//! Columns are grouped by their remainder modulo the stride: the elements that a tap reads in adjacent windows are
//! adjacent.

use crate::kernels::host::vectors;
use crate::kernels::layout;
use crate::kernels::window::Windows;

/// Layout `[rows][phases][pitch]`: element `i` of phase `p` is column `i·phases + p` of the padded row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaddedRows {
    /// First row, counted from the first row of the padding.
    pub first: usize,
    pub rows: usize,
    pub phases: usize,
    pub pitch: usize,
}

impl PaddedRows {
    /// The rows that `count` windows from `first` on cover.
    pub(crate) fn of(windows: &Windows, first: usize, count: usize) -> Self {
        let ow = windows.out_hw[1];
        let [top, bottom] = [first, first + count - 1].map(|window| window / ow);
        let reach = |axis: usize| (windows.kernel[axis] - 1) * windows.dilation[axis] + 1;
        let [down, right] = windows.stride;
        Self {
            first: top * down,
            rows: (bottom - top) * down + reach(0),
            phases: right,
            pitch: ((ow - 1) * right + reach(1)).div_ceil(right),
        }
    }

    /// Position of tap `tap` of a window, relative to the window's first tap.
    pub(crate) fn tap(&self, windows: &Windows, tap: usize) -> usize {
        let [ky, kx] =
            [tap / windows.kernel[1] * windows.dilation[0], tap % windows.kernel[1] * windows.dilation[1]];
        ky * self.row_len() + kx % self.phases * self.pitch + kx / self.phases
    }

    pub(crate) fn len(&self) -> usize {
        self.rows * self.row_len()
    }

    /// Distance between adjacent rows.
    pub(crate) fn row_len(&self) -> usize {
        self.phases * self.pitch
    }

    /// The range of these rows that exist in the plane, and the index of the first one there.
    fn real_rows(&self, windows: &Windows) -> (std::ops::Range<usize>, usize) {
        let (h, top) = (windows.in_hw[0], windows.pad[0]);
        let from = top.saturating_sub(self.first).min(self.rows);
        let to = (h + top).saturating_sub(self.first).clamp(from, self.rows);
        (from..to, (self.first + from).saturating_sub(top).min(h))
    }

    /// Fills the rows from a plane, and the padding with `edge`.
    #[inline(always)]
    pub(crate) fn fill(&self, windows: &Windows, plane: &[f32], edge: f32, padded: &mut [f32]) {
        let (w, left, row_len) = (windows.in_hw[1], windows.pad[1], self.row_len());
        let (rows, first_row) = self.real_rows(windows);
        padded[..rows.start * row_len].fill(edge);
        padded[rows.end * row_len..self.len()].fill(edge);
        let plane = &plane[first_row * w..];
        for phase in 0..self.phases {
            let start = phase as isize - left as isize;
            let real = layout::inside(start, self.phases, w, self.pitch);
            let first = (start + (real.start * self.phases) as isize).max(0) as usize;
            for (row, source) in rows.clone().zip(plane.chunks_exact(w)) {
                let padded = &mut padded[row * row_len + phase * self.pitch..][..self.pitch];
                padded[..real.start].fill(edge);
                padded[real.end..].fill(edge);
                let target = &mut padded[real.clone()];
                if target.is_empty() {
                    continue;
                }
                vectors::copy_every(self.phases, &source[first..], target);
            }
        }
    }

    /// Reads a plane from its rows, the inverse of [`fill`](Self::fill); elements that no window covers become 0.
    #[inline(always)]
    pub(crate) fn read(&self, windows: &Windows, padded: &[f32], plane: &mut [f32]) {
        let (w, left, row_len) = (windows.in_hw[1], windows.pad[1], self.row_len());
        let (rows, first_row) = self.real_rows(windows);
        plane.fill(0.0);
        let plane = &mut plane[first_row * w..];
        for phase in 0..self.phases {
            let start = phase as isize - left as isize;
            let real = layout::inside(start, self.phases, w, self.pitch);
            let first = (start + (real.start * self.phases) as isize).max(0) as usize;
            for (row, target) in rows.clone().zip(plane.chunks_exact_mut(w)) {
                let source = &padded[row * row_len + phase * self.pitch..][real.clone()];
                let target = target.iter_mut().skip(first).step_by(self.phases);
                target.zip(source).for_each(|(t, s)| *t = *s);
            }
        }
    }
}
