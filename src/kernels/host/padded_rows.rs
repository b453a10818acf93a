//! The rows of a plane that some windows see, laid out so that nothing behind has to ask where an edge is: padding
//! written out, columns dealt out by their remainder modulo the stride, so that what a tap sees of windows side by side
//! lies side by side.

use crate::kernels::host::vectors;
use crate::kernels::layout;
use crate::kernels::window::Windows;

/// `[rows][phases][pitch]`: element `i` of phase `p` is column `i·phases + p` of the padded row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaddedRows {
    /// The first row, counted from the padding's first.
    pub first: usize,
    pub rows: usize,
    pub phases: usize,
    pub pitch: usize,
}

impl PaddedRows {
    /// What `count` windows from `first` on see.
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

    /// Where tap `tap` of a window stands, from where the window's first stands.
    pub(crate) fn tap(&self, windows: &Windows, tap: usize) -> usize {
        let [ky, kx] =
            [tap / windows.kernel[1] * windows.dilation[0], tap % windows.kernel[1] * windows.dilation[1]];
        ky * self.row_len() + kx % self.phases * self.pitch + kx / self.phases
    }

    pub(crate) fn len(&self) -> usize {
        self.rows * self.row_len()
    }

    /// Elements from one row to the next.
    pub(crate) fn row_len(&self) -> usize {
        self.phases * self.pitch
    }

    /// Which of its rows the plane has, and the first of them in the plane.
    fn real_rows(&self, windows: &Windows) -> (std::ops::Range<usize>, usize) {
        let (h, top) = (windows.in_hw[0], windows.pad[0]);
        let from = top.saturating_sub(self.first).min(self.rows);
        let to = (h + top).saturating_sub(self.first).clamp(from, self.rows);
        (from..to, (self.first + from).saturating_sub(top).min(h))
    }

    /// Fills it from a plane, with `edge` where that has no pixel.
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
                let source = &source[first..];
                match self.phases {
                    1 => vectors::copy(source, target),
                    2 => every::<2>(source, target),
                    4 => every::<4>(source, target),
                    step => {
                        target.iter_mut().zip(source.iter().step_by(step)).for_each(|(t, s)| *t = *s);
                    }
                }
            }
        }
    }
}

/// Every `N`-th element, by whole vectors as far as they go.
#[inline(always)]
fn every<const N: usize>(source: &[f32], target: &mut [f32]) {
    let (groups, _) = source.as_chunks::<N>();
    let whole = groups.len().min(target.len());
    target.iter_mut().zip(groups).for_each(|(t, group)| *t = group[0]);
    let rest = source[whole * N..].iter().step_by(N);
    target[whole..].iter_mut().zip(rest).for_each(|(t, s)| *t = *s);
}
