//! Sliding windows over a volume of depth, height and width; a plane has depth 1, a row also height 1.

/// Placement of windows on a volume. Every triple is depth, height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeWindows {
    /// Dimensions of the volume.
    pub input: [usize; 3],
    /// Number of windows along each axis.
    pub output: [usize; 3],
    /// Number of taps along each axis.
    pub kernel: [usize; 3],
    /// Distance between adjacent windows.
    pub stride: [usize; 3],
    /// Dilation: distance between adjacent taps.
    pub dilation: [usize; 3],
    /// Padding before the first element of each axis. The padding after the last follows from `output`.
    pub pad: [usize; 3],
}

/// [`VolumeWindows`] in the layout of a uniform, as in `shaders/shared/volumes.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct VolumeUniform([[u32; 4]; 6]);

impl VolumeWindows {
    pub(crate) fn words(&self) -> VolumeUniform {
        let all = [self.input, self.output, self.kernel, self.stride, self.dilation, self.pad];
        VolumeUniform(all.map(|[d, h, w]| [d, h, w, 0].map(crate::kernels::shader::word)))
    }

    /// Number of elements of the volume.
    pub fn elements(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of windows on the volume.
    pub fn positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Number of taps of a window.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Coordinates of the element that a tap of a window reads, both counted in row-major order; `None` in the padding.
    pub(crate) fn coordinates(&self, window: usize, tap: usize) -> Option<[usize; 3]> {
        let (mut window, mut tap) = (window, tap);
        let mut at = [0; 3];
        for axis in (0..3).rev() {
            let (o, t) = (window % self.output[axis], tap % self.kernel[axis]);
            (window, tap) = (window / self.output[axis], tap / self.kernel[axis]);
            at[axis] = (o * self.stride[axis] + t * self.dilation[axis])
                .checked_sub(self.pad[axis])
                .filter(|&i| i < self.input[axis])?;
        }
        Some(at)
    }
}

/// Volumes for tests: a single element, rows, planes, and windows that use every parameter.
pub(crate) fn awkward() -> Vec<(&'static str, VolumeWindows)> {
    let one = VolumeWindows {
        input: [1; 3],
        output: [1; 3],
        kernel: [1; 3],
        stride: [1; 3],
        dilation: [1; 3],
        pad: [0; 3],
    };
    vec![
        ("one element", one),
        (
            "a row",
            VolumeWindows {
                input: [1, 1, 67],
                output: [1, 1, 33],
                kernel: [1, 1, 4],
                stride: [1, 1, 2],
                pad: [0, 0, 1],
                ..one
            },
        ),
        (
            "a plane, window larger than it",
            VolumeWindows { input: [1, 3, 2], output: [1, 3, 2], kernel: [1, 5, 5], pad: [0, 2, 2], ..one },
        ),
        (
            "a plane with stride, dilation and padding",
            VolumeWindows {
                input: [1, 11, 9],
                output: [1, 5, 9],
                kernel: [1, 3, 2],
                stride: [1, 2, 1],
                dilation: [1, 2, 3],
                pad: [0, 1, 2],
            },
        ),
        (
            "a volume with stride, dilation and padding",
            VolumeWindows {
                input: [5, 6, 7],
                output: [3, 5, 3],
                kernel: [3, 2, 3],
                stride: [2, 1, 2],
                dilation: [1, 2, 1],
                pad: [1, 0, 1],
            },
        ),
    ]
}
