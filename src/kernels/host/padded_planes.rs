//! Planes with explicit padding, in which each tap of adjacent windows is a run of elements at a fixed distance.
//!
//! Unlike in [`PaddedRows`](crate::kernels::host::padded_rows::PaddedRows), this holds across rows: rows of windows
//! are `pitch` elements apart in every plane. Rows and columns are divided by their remainders modulo the strides; each
//! pair of remainders has a plane of its own. Adjacent rows share their padding: what is right of a row is left of the
//! next one.

use crate::kernels::host::vectors;
use crate::kernels::layout;
use crate::kernels::window::Windows;

/// The padded planes of one channel, for some adjacent rows of windows. Layout: `[planes][plane]`.
///
/// Elements `y·pitch + x` are the first taps of window `x` of row `y`. If `x` is at least the number of windows across,
/// the elements are zeros or belong to other windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaddedPlanes {
    /// Number of rows of windows.
    pub rows: usize,
    /// Distance between adjacent rows of windows.
    pub pitch: usize,
    /// Elements of a plane.
    pub plane: usize,
    /// Number of planes down and across.
    phases: [usize; 2],
}

/// Largest distance of a tap in a plane along an axis.
fn reach(windows: &Windows, axis: usize) -> usize {
    (windows.kernel[axis] - 1) * windows.dilation[axis] / windows.stride[axis]
}

/// The elements of a row of a plane that exist in the image.
fn inside(windows: &Windows, phase: usize, len: usize) -> std::ops::Range<usize> {
    layout::inside(phase as isize - windows.pad[1] as isize, windows.stride[1], windows.in_hw[1], len)
}

impl PaddedPlanes {
    pub(crate) fn of(windows: &Windows, rows: usize) -> Self {
        // Remainders modulo the stride that occur among the taps of an axis, from 0 on.
        let phases = [0, 1]
            .map(|axis| windows.stride[axis].min((windows.kernel[axis] - 1) * windows.dilation[axis] + 1));
        let ow = windows.out_hw[1];
        let len = ow + reach(windows, 1);
        let pitch = (0..phases[1]).map(|phase| inside(windows, phase, len)).filter(|real| !real.is_empty());
        let pitch = pitch.map(|real| real.end.max(len - real.start)).fold(ow, usize::max);
        let plane = (rows + reach(windows, 0)) * pitch + len.saturating_sub(pitch);
        Self { rows, pitch, plane, phases }
    }

    /// Number of elements of all planes.
    pub(crate) fn len(&self) -> usize {
        self.plane * self.phases[0] * self.phases[1]
    }

    /// Number of positions from the first window to the last one.
    pub(crate) fn positions(&self, windows: &Windows) -> usize {
        (self.rows - 1) * self.pitch + windows.out_hw[1]
    }

    /// Distance of a tap from the first tap of its window.
    pub(crate) fn tap(&self, windows: &Windows, tap: usize) -> usize {
        let [down, across] = windows.stride;
        let y = tap / windows.kernel[1] * windows.dilation[0];
        let x = tap % windows.kernel[1] * windows.dilation[1];
        let plane = y % down * self.phases[1] + x % across;
        plane * self.plane + y / down * self.pitch + x / across
    }

    /// Fills the planes from the rows that windows from row `first` on cover, and the padding with `edge`.
    #[inline(always)]
    pub(crate) fn fill(&self, windows: &Windows, image: &[f32], first: usize, edge: f32, planes: &mut [f32]) {
        let ([h, w], [down, across], pitch) = (windows.in_hw, windows.stride, self.pitch);
        let mut planes = planes.chunks_exact_mut(self.plane);
        for py in 0..self.phases[0] {
            for px in 0..self.phases[1] {
                let Some(plane) = planes.next() else { return };
                let real = inside(windows, px, pitch);
                let start = px as isize - windows.pad[1] as isize + (real.start * across) as isize;
                let rest = plane.len() / pitch * pitch;
                plane[rest..].fill(edge);
                for (row, line) in plane.chunks_exact_mut(pitch).enumerate() {
                    let y = (first + row) * down + py;
                    if y < windows.pad[0] || y - windows.pad[0] >= h || real.is_empty() {
                        line.fill(edge);
                        continue;
                    }
                    let source = &image[(y - windows.pad[0]) * w..][start as usize..w];
                    line[..real.start].fill(edge);
                    line[real.end..].fill(edge);
                    vectors::copy_every(across, source, &mut line[real.clone()]);
                }
            }
        }
    }
}
