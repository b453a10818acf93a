//! GEMM with few rows and a constant matrix, by subgroups of 8 lanes over textures, for software adapters.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::binding::InputBinding;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::lanes::LANES;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::test_cases::convs;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// A [`ConvKernel`] over single pixels in one group, as a product of few rows with a constant matrix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gemv {
    /// The convolution that is computed.
    pub(crate) conv: ConvKernel,
}

/// Output channels of a subgroup, and elements of a row that it reads in a step.
const CHANNELS: usize = 32;
/// Rows that a subgroup computes.
const ROWS: usize = 4;

impl Gemv {
    /// Returns whether a convolution is a product of rows with one matrix.
    pub(crate) fn applies(conv: &ConvKernel) -> bool {
        conv.pointwise() && conv.out_plane() == 1 && conv.groups == 1
    }
}

uniform! {
    len: u32,
    rows: u32,
    row_tiles: u32,
    depth: u32,
    columns: u32,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "gemv",
    file: "conv/gemv",
    shared: ["texels", "pixels", "nan", "activation"],
    doc: "GEMM with few rows and a constant matrix, by broadcasts among 8 lanes",
};

impl Kernel for Gemv {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        self.conv.input_lens()
    }

    fn output_len(&self) -> usize {
        self.conv.output_len()
    }

    fn residual(&self) -> Option<usize> {
        self.conv.residual()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        self.conv.reference(inputs, output);
    }

    fn dispatch(&self) -> Dispatch {
        let c = &self.conv;
        let [act_a, act_b] = c.activation.params();
        let row_tiles = c.batch.div_ceil(ROWS);
        let len = row_tiles * c.out_channels.div_ceil(CHANNELS);
        let params = Params {
            len: word(len),
            rows: word(c.batch),
            row_tiles: word(row_tiles),
            depth: word(c.depth()),
            columns: word(c.out_channels),
            out_offset: word(c.out_offset),
            out_total: word(c.out_total),
            act_a,
            act_b,
            unused: 0,
        };
        Dispatch {
            overrides: vec![("ACT", c.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len * LANES as usize),
        }
    }

    fn packs(&self, input: usize) -> bool {
        matches!(input, 1 | 2)
    }

    /// Packs the weights as channel tiles × elements of a row × 32 channels, and the bias as channel tiles. Rows are
    /// padded with zeros to whole steps, channels to whole tiles.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        let depth = self.conv.depth();
        match input {
            1 => Some(self.conv.tiled(CHANNELS, 0..depth.next_multiple_of(CHANNELS), |o, k| {
                if k < depth { data[o * depth + k] } else { 0.0 }
            })),
            2 => Some(self.conv.tiled(CHANNELS, 0..1, |o, _| data[o])),
            _ => None,
        }
    }

    fn binding(&self, input: usize) -> InputBinding {
        match input {
            0 => InputBinding::Texels(1),
            1 => InputBinding::Texels(4),
            _ => InputBinding::Buffer,
        }
    }

    fn subgroup(&self) -> Option<u32> {
        Some(LANES)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let rows = convs().into_iter().filter(|(_, conv)| Gemv::applies(conv));
    rows.map(|(label, conv)| noise_case(label, Gemv { conv })).collect()
}
