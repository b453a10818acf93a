//! The convolution kernel, which also computes every product with a constant matrix.
//!
//! Both fast versions are matrix products: output channels × pixels, summed over input channels and taps. Each
//! invocation of the shader holds a tile of 8 pixels × 8 channels in registers and fetches operands on the fly
//! (implicit GEMM); weights are packed so that the eight channels are adjacent. The host has three versions: dot
//! products for single rows, Winograd, and im2col for the rest. Neither the order of a sum nor the division of work
//! depends on the batch, so an image gets the same bits in every batch.

use std::sync::Arc;

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::host_algorithm;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::test_cases::convs;
use crate::kernels::conv::winograd::tiling::applies;
use crate::kernels::gradient::Gradient;
use crate::kernels::kernel::{AUTOTUNE_BATCH, Dispatch, Kernel, KernelRow, Prepared};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::WindowsUniform;

/// Pixels of an invocation's tile.
const TILE_PIXELS: usize = 8;
/// Output channels of an invocation's tile.
const TILE_CHANNELS: usize = 8;

uniform! {
    len: u32,
    pixels: u32,
    pixel_tiles: u32,
    channel_tiles: u32,
    windows: WindowsUniform,
    group_in: u32,
    group_out: u32,
    groups: u32,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "conv",
    file: "conv/direct",
    shared: ["windows", "nan", "activation"],
    doc: "convolution, and products with a constant matrix",
};

impl Kernel for ConvKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let x = self.batch * self.in_channels * self.in_plane();
        let residual = self.residual.then(|| self.output_len());
        [x, self.out_channels * self.depth(), self.out_channels].into_iter().chain(residual).collect()
    }

    fn residual(&self) -> Option<usize> {
        self.residual.then_some(3)
    }

    fn output_len(&self) -> usize {
        self.batch * self.out_total * self.out_plane()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let windows = self.windows;
        let ([h, w], [oh, ow], [kh, kw]) = (windows.in_hw, windows.out_hw, windows.kernel);
        for n in 0..self.batch {
            for o in 0..self.out_channels {
                let group = o / self.group_out();
                for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
                    let mut sum = inputs[2][o];
                    for c in 0..self.group_in() {
                        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                            if let (Some(iy), Some(ix)) = (windows.at(0, oy, ky), windows.at(1, ox, kx)) {
                                let channel = n * self.in_channels + group * self.group_in() + c;
                                let weight = inputs[1][((o * self.group_in() + c) * kh + ky) * kw + kx];
                                sum += weight * inputs[0][(channel * h + iy) * w + ix];
                            }
                        }
                    }
                    let channel = n * self.out_total + self.out_offset + o;
                    let at = (channel * oh + oy) * ow + ox;
                    let residual = if self.residual { inputs[3][at] } else { 0.0 };
                    output[at] = self.activation.apply_f64(sum + residual);
                }
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() || self.out_channels == 0 {
            return;
        }
        match self.prepare(&[None, Some(inputs[1]), Some(inputs[2])]) {
            Some(prepared) => prepared.run(inputs, output),
            None => self.cpu_rows(inputs[0], inputs[1], inputs[2], output),
        }
    }

    fn prepare(&self, constants: &[Option<&[f32]>]) -> Option<Box<dyn Prepared>> {
        let &[_, Some(weights), Some(bias), ..] = constants else { return None };
        if self.residual {
            Some(Box::new(WithResidual { conv: self.clone(), sums: self.sums().prepare(&constants[..3]) }))
        } else if self.output_len() == 0
            || self.out_channels == 0
            || self.pointwise() && self.out_plane() == 1
        {
            None
        } else {
            Some(host_algorithm::prepare(self, weights, bias))
        }
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        let pixels = self.batch * self.out_plane();
        let pixel_tiles = pixels.div_ceil(TILE_PIXELS);
        let channel_tiles = self.group_out().div_ceil(TILE_CHANNELS);
        let len = pixel_tiles * channel_tiles * self.groups;
        let params = Params {
            len: word(len),
            pixels: word(pixels),
            pixel_tiles: word(pixel_tiles),
            channel_tiles: word(channel_tiles),
            windows: self.windows.words(),
            group_in: word(self.group_in()),
            group_out: word(self.group_out()),
            groups: word(self.groups),
            out_offset: word(self.out_offset),
            out_total: word(self.out_total),
            act_a,
            act_b,
            unused: 0,
        };
        Dispatch {
            overrides: vec![("ACT", self.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn packs(&self, input: usize) -> bool {
        matches!(input, 1 | 2)
    }

    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        self.pack_tiles(TILE_CHANNELS, input, data)
    }

    fn autotune_key(&self) -> Option<Arc<dyn Kernel>> {
        self.micro_batch(self.batch, AUTOTUNE_BATCH)
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        let kernel = Self { batch: images, ..self.clone() };
        (self.batch == batch).then(|| Arc::new(kernel) as _)
    }

    fn gradient(&self, input: usize) -> Gradient {
        self.gradient_by(input, |conv| conv)
    }

    fn tolerance(&self) -> Tolerance {
        if applies(self) { Tolerance::WINOGRAD } else { Tolerance::SUMS }
    }
}

/// A convolution with a residual, which is added after all sums are complete.
///
/// Adding it earlier gains nothing on a CPU: the sums are in the cache, and the residual comes from memory in either
/// case.
struct WithResidual {
    conv: ConvKernel,
    sums: Option<Box<dyn Prepared>>,
}

impl Prepared for WithResidual {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let conv = &self.conv;
        match &self.sums {
            Some(prepared) => prepared.run(&inputs[..3], output),
            None => conv.sums().cpu(&inputs[..3], output),
        }
        let (plane, of) = (conv.out_plane(), conv.out_total * conv.out_plane());
        let own = conv.out_offset * plane..(conv.out_offset + conv.out_channels) * plane;
        output.par_chunks_mut(of.max(1)).zip(inputs[3].par_chunks(of.max(1))).for_each(|(sums, residual)| {
            let sums = &mut sums[own.clone()];
            sums.iter_mut().zip(&residual[own.clone()]).for_each(|(sum, residual)| *sum += residual);
            conv.activation.apply_slice(sums);
        });
    }
}

pub(crate) fn cases() -> Vec<Case> {
    convs().into_iter().map(|(label, conv)| noise_case(label, conv)).collect()
}
