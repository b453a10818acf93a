//! The depthwise convolution kernel.
//!
//! There is no sum over channels, so tiles of pixels × channels share no operands: an invocation computes a few
//! pixels of one channel, and a host task computes planes.

use std::sync::Arc;

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::ConvKernel;
use crate::kernels::depthwise::host;
use crate::kernels::depthwise::shape::Depthwise;
use crate::kernels::gradient::Gradient;
use crate::kernels::kernel::{AUTOTUNE_BATCH, Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::{Windows, WindowsUniform};

/// Pixels of an invocation.
const TILE: usize = 4;

uniform! {
    len: u32,
    tiles: u32,
    filters: u32,
    multiplier: u32,
    windows: WindowsUniform,
    act_a: f32,
    act_b: f32,
    unused: [u32; 2],
}

pub(crate) static ROW: KernelRow = row! {
    name: "depthwise",
    file: "depthwise/direct",
    shared: ["windows", "nan", "activation"],
    doc: "depthwise convolution",
};

impl Kernel for Depthwise {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.batch * self.channels * self.in_plane(), self.filters() * self.taps(), self.filters()]
    }

    fn output_len(&self) -> usize {
        self.batch * self.filters() * self.out_plane()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let windows = self.windows;
        let ([h, w], [kh, kw], ow) = (windows.in_hw, windows.kernel, windows.out_hw[1]);
        for (at, y) in output.iter_mut().enumerate() {
            let (plane, pixel) = (at / self.out_plane(), at % self.out_plane());
            let (image, filter) = (plane / self.filters(), plane % self.filters());
            let channel = image * self.channels + filter / self.multiplier;
            let (oy, ox) = (pixel / ow, pixel % ow);
            let mut sum = inputs[2][filter];
            for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                if let (Some(iy), Some(ix)) = (windows.at(0, oy, ky), windows.at(1, ox, kx)) {
                    let weight = inputs[1][(filter * kh + ky) * kw + kx];
                    sum += weight * inputs[0][(channel * h + iy) * w + ix];
                }
            }
            *y = self.activation.apply_f64(sum);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if !output.is_empty() {
            host::run(self, inputs, output);
        }
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        let tiles = self.out_plane().div_ceil(TILE);
        let len = self.batch * self.filters() * tiles;
        let params = Params {
            len: word(len),
            tiles: word(tiles),
            windows: self.windows.words(),
            filters: word(self.filters()),
            multiplier: word(self.multiplier),
            act_a,
            act_b,
            unused: [0; 2],
        };
        Dispatch {
            overrides: vec![("ACT", self.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn autotune_key(&self) -> Option<Arc<dyn Kernel>> {
        self.micro_batch(self.batch, AUTOTUNE_BATCH)
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        let kernel = Self { batch: images, ..self.clone() };
        (self.batch == batch).then(|| Arc::new(kernel) as _)
    }

    fn gradient(&self, input: usize) -> Gradient {
        let conv = ConvKernel {
            batch: self.batch,
            groups: self.channels,
            in_channels: self.channels,
            out_channels: self.filters(),
            windows: self.windows,
            out_offset: 0,
            out_total: self.filters(),
            residual: false,
            activation: self.activation,
        };
        if self.multiplier > 1 {
            return conv.gradient_by(input, |conv| conv);
        }
        let depthwise =
            |conv: ConvKernel| Self { windows: conv.windows, activation: conv.activation, ..self.clone() };
        conv.gradient_by(input, depthwise)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    calls().into_iter().map(|(label, depthwise)| noise_case(label, depthwise)).collect()
}

/// Difficult calls, for the tests of all depthwise kernels.
pub(crate) fn calls() -> Vec<(&'static str, Depthwise)> {
    let plain = Depthwise {
        batch: 1,
        channels: 5,
        multiplier: 1,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([9, 7]) },
        activation: Activation::None,
    };
    vec![
        ("3×3, padded", plain.clone()),
        ("one of everything", Depthwise { channels: 1, windows: Windows::points([1, 1]), ..plain.clone() }),
        (
            "stride 2 on an odd plane, batch 3, Relu6",
            Depthwise {
                batch: 3,
                channels: 17,
                windows: Windows { out_hw: [5, 4], stride: [2, 2], ..plain.windows },
                activation: Activation::Clip(0.0, 6.0),
                ..plain.clone()
            },
        ),
        (
            "three filters a channel, asymmetric padding",
            Depthwise {
                batch: 2,
                channels: 3,
                multiplier: 3,
                windows: Windows { out_hw: [9, 6], pad: [2, 0], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "dilated, axes unlike",
            Depthwise {
                windows: Windows {
                    out_hw: [9, 2],
                    kernel: [2, 3],
                    dilation: [4, 2],
                    stride: [1, 3],
                    pad: [2, 1],
                    ..plain.windows
                },
                ..plain.clone()
            },
        ),
        (
            "rows of more than one tile, no padding",
            Depthwise {
                channels: 2,
                windows: Windows { in_hw: [21, 23], out_hw: [19, 21], pad: [0, 0], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "stride 2, rows of more than one tile",
            Depthwise {
                batch: 2,
                channels: 3,
                windows: Windows { in_hw: [36, 22], out_hw: [18, 11], stride: [2, 2], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "a filter as large as the plane",
            Depthwise {
                windows: Windows { out_hw: [1, 1], kernel: [9, 7], pad: [0, 0], ..plain.windows },
                ..plain.clone()
            },
        ),
        (
            "padding wider than the image",
            Depthwise {
                windows: Windows { in_hw: [1, 2], out_hw: [5, 6], pad: [3, 3], ..plain.windows },
                ..plain
            },
        ),
    ]
}
