//! Sliding windows over a plane, and the im2col matrix of the elements that they cover.

use crate::kernels::layout;
use crate::kernels::shader::words;

/// Placement of the windows of a convolution or pooling on a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Height and width of the plane.
    pub in_hw: [usize; 2],
    /// Number of windows down and across.
    pub out_hw: [usize; 2],
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Distance between adjacent windows, down and across.
    pub stride: [usize; 2],
    /// Dilation: distance between adjacent taps, down and across.
    pub dilation: [usize; 2],
    /// Padding before the first row and column. The padding after the last follows from `out_hw`.
    pub pad: [usize; 2],
}

/// [`Windows`] in the layout of a uniform, as in `shaders/shared/windows.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct WindowsUniform {
    in_hw: [u32; 2],
    out_hw: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad: [u32; 2],
}

impl Windows {
    pub(crate) fn words(&self) -> WindowsUniform {
        WindowsUniform {
            in_hw: words(self.in_hw),
            out_hw: words(self.out_hw),
            kernel: words(self.kernel),
            stride: words(self.stride),
            dilation: words(self.dilation),
            pad: words(self.pad),
        }
    }

    /// Windows of a single pixel, one for each pixel.
    pub fn points(hw: [usize; 2]) -> Self {
        Self { in_hw: hw, out_hw: hw, kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0, 0] }
    }

    /// Non-overlapping windows of 2×2 pixels; an odd last row or column is skipped.
    pub(crate) fn by_twos(hw: [usize; 2]) -> Self {
        Self { out_hw: hw.map(|n| n / 2), kernel: [2, 2], stride: [2, 2], ..Self::points(hw) }
    }

    /// Number of taps of a window.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Number of windows on the plane.
    pub fn positions(&self) -> usize {
        self.out_hw.iter().product()
    }

    /// Number of pixels of the plane.
    pub fn pixels(&self) -> usize {
        self.in_hw.iter().product()
    }

    /// Returns whether every pixel is its own window.
    pub fn are_points(&self) -> bool {
        self.taps() == 1 && self.stride == [1, 1] && self.pad == [0, 0] && self.in_hw == self.out_hw
    }

    /// Index along an axis that a tap of a window reads; `None` in the padding.
    pub(crate) fn at(&self, axis: usize, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride[axis] + tap * self.dilation[axis])
            .checked_sub(self.pad[axis])
            .filter(|&i| i < self.in_hw[axis])
    }

    /// [`Windows::unfold`] for stride 1 and as many windows across as columns: a shifted copy of the plane, with
    /// zeros for the elements that wrapped around an edge.
    fn unfold_shifted(&self, plane: &[f32], [down, right]: [isize; 2], first: usize, seen: &mut [f32]) {
        let [h, w] = self.in_hw;
        let shift = down * w as isize + right;
        // The part of the shifted plane that lies inside the plane.
        let from = (first as isize + shift).clamp(0, (h * w) as isize);
        let until = (first as isize + shift + seen.len() as isize).clamp(from, (h * w) as isize);
        let at = (from - shift - first as isize).clamp(0, seen.len() as isize) as usize;
        let len = (until - from) as usize;
        seen[..at].fill(0.0);
        seen[at..at + len].copy_from_slice(&plane[from as usize..until as usize]);
        seen[at + len..].fill(0.0);
        // The columns that wrapped around from an adjacent row.
        let edge = if right < 0 { 0..(-right as usize).min(w) } else { w - (right as usize).min(w)..w };
        for column in edge {
            let start = (column + w - first % w) % w;
            seen.iter_mut().skip(start).step_by(w).for_each(|v| *v = 0.0);
        }
    }

    /// Writes one row of the im2col matrix: the elements that tap `tap` reads in the windows `first..first +
    /// seen.len()`. Pixels of the plane are `step` elements apart.
    pub(crate) fn unfold(&self, plane: &[f32], step: usize, tap: usize, first: usize, seen: &mut [f32]) {
        let ([h, w], ow) = (self.in_hw, self.out_hw[1]);
        let shift = |axis: usize, tap: usize| (tap * self.dilation[axis]) as isize - self.pad[axis] as isize;
        let (down, right) = (shift(0, tap / self.kernel[1]), shift(1, tap % self.kernel[1]));
        if step == 1 && self.stride == [1, 1] && w == ow {
            return self.unfold_shifted(plane, [down, right], first, seen);
        }
        let mut done = 0;
        while done < seen.len() {
            // Up to the end of an output row, the tap reads along one input row.
            let (oy, ox) = ((first + done) / ow, (first + done) % ow);
            let run = (ow - ox).min(seen.len() - done);
            let target = &mut seen[done..done + run];
            let (y, x) = ((oy * self.stride[0]) as isize + down, (ox * self.stride[1]) as isize + right);
            if (0..h as isize).contains(&y) {
                let real = layout::inside(x, self.stride[1], w, run);
                target[..real.start].fill(0.0);
                target[real.end..].fill(0.0);
                let start = y * w as isize + x + (real.start * self.stride[1]) as isize;
                let target = &mut target[real];
                if target.is_empty() {
                } else if self.stride[1] * step == 1 {
                    target.copy_from_slice(&plane[start as usize..][..target.len()]);
                } else {
                    let source = plane[start as usize * step..].iter().step_by(self.stride[1] * step);
                    target.iter_mut().zip(source).for_each(|(t, &s)| *t = s);
                }
            } else {
                target.fill(0.0);
            }
            done += run;
        }
    }
}
