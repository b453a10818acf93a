//! Convolution fused with 2×2 max pooling.
//!
//! On devices, storing a quarter of the outputs and skipping a pass over all of them saves memory traffic. Each
//! Winograd tile contains whole 2×2 blocks; other algorithms run the two calls one after the other.

use std::sync::Arc;

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::test_cases::pooled_convs;
use crate::kernels::kernel::{AUTOTUNE_BATCH, Dispatch, Kernel, KernelRow};
use crate::kernels::reduction::pool::PoolKernel;
use crate::kernels::shader::{grid, row, uniform, word, words};
use crate::kernels::window::WindowsUniform;

/// The maxima of every 2×2 outputs of a convolution, `y[n, o, i, j] = max c[n, o, 2i + (0 or 1), 2j + (0 or 1)]`.
///
/// An odd last row or column is skipped. Inputs: those of the convolution. Output: that of the convolution, with half
/// the height and width.
#[derive(Clone, Debug, PartialEq)]
pub struct PooledConv {
    /// The convolution, in one group and without residual. Its activation must be
    /// [monotonic](crate::kernels::activation::Activation::rises).
    pub conv: ConvKernel,
}

/// Output channels of an invocation.
const TILE: usize = 4;

impl PooledConv {
    fn out_hw(&self) -> [usize; 2] {
        self.conv.windows.out_hw.map(|n| n / 2)
    }

    fn out_plane(&self) -> usize {
        self.out_hw().iter().product()
    }

    /// The convolution without other channels in its output buffer, and its pooling.
    pub(crate) fn alone(&self) -> (ConvKernel, PoolKernel) {
        let conv = ConvKernel { out_offset: 0, out_total: self.conv.out_channels, ..self.conv.clone() };
        let pool = PoolKernel::by_twos(conv.batch * conv.out_channels, conv.windows.out_hw);
        (conv, pool)
    }

    /// Copies the outputs of [`PooledConv::alone`] to their channels of the output buffer.
    fn place<T: Copy>(&self, maxima: &[T], output: &mut [T]) {
        let plane = self.out_plane();
        let images = maxima.chunks_exact(self.conv.out_channels * plane);
        for (y, maxima) in output.chunks_exact_mut(self.conv.out_total * plane).zip(images) {
            y[self.conv.out_offset * plane..][..maxima.len()].copy_from_slice(maxima);
        }
    }
}

uniform! {
    len: u32,
    positions: u32,
    in_channels: u32,
    out_channels: u32,
    windows: WindowsUniform,
    out_hw: [u32; 2],
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: [u32; 2],
}

pub(crate) static ROW: KernelRow = row! {
    name: "conv_pooled",
    file: "conv/pooled",
    shared: ["windows", "nan", "activation"],
    doc: "convolution fused with 2×2 max pooling",
};

impl Kernel for PooledConv {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        self.conv.input_lens()
    }

    fn output_len(&self) -> usize {
        self.conv.batch * self.conv.out_total * self.out_plane()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (conv, pool) = self.alone();
        let mut made = vec![0.0; conv.output_len()];
        conv.reference(inputs, &mut made);
        let mut maxima = vec![0.0; pool.output_len()];
        pool.reference(&[&made], &mut maxima);
        self.place(&maxima, output);
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let (conv, pool) = self.alone();
        let mut made = vec![0.0; conv.output_len()];
        conv.cpu(inputs, &mut made);
        let mut maxima = vec![0.0; pool.output_len()];
        pool.cpu(&[&made], &mut maxima);
        self.place(&maxima, output);
    }

    fn dispatch(&self) -> Dispatch {
        let conv = &self.conv;
        let [act_a, act_b] = conv.activation.params();
        let positions = conv.batch * self.out_plane();
        let len = positions * conv.out_channels.div_ceil(TILE);
        let params = Params {
            len: word(len),
            positions: word(positions),
            in_channels: word(conv.in_channels),
            out_channels: word(conv.out_channels),
            windows: conv.windows.words(),
            out_hw: words(self.out_hw()),
            out_offset: word(conv.out_offset),
            out_total: word(conv.out_total),
            act_a,
            act_b,
            unused: [0; 2],
        };
        Dispatch {
            overrides: vec![("ACT", conv.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn packs(&self, input: usize) -> bool {
        matches!(input, 1 | 2)
    }

    /// Packs weights and bias as [`ConvKernel`] does, in tiles of 4 channels.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        self.conv.pack_tiles(TILE, input, data)
    }

    fn autotune_key(&self) -> Option<Arc<dyn Kernel>> {
        self.micro_batch(self.conv.batch, AUTOTUNE_BATCH)
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        let conv = ConvKernel { batch: images, ..self.conv.clone() };
        (self.conv.batch == batch).then(|| Arc::new(Self { conv }) as _)
    }

    fn tolerance(&self) -> Tolerance {
        self.conv.tolerance()
    }
}

pub(crate) fn cases() -> Vec<Case> {
    pooled_convs().into_iter().map(|(label, conv)| noise_case(label, PooledConv { conv })).collect()
}
