//! Convolution by tiles in workgroup memory, for real GPUs.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::conv::test_cases::convs;
use crate::kernels::conv::winograd::filters::{FilterSource, product};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{WORKGROUP, grid, row, uniform, word};
use crate::kernels::window::WindowsUniform;

/// A [`ConvKernel`] whose filters are given directly or computed by Winograd's transform.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConvTiled {
    /// The convolution that is computed.
    pub(crate) conv: ConvKernel,
    /// The meaning of input 1.
    pub(crate) filters: FilterSource,
}

/// Output channels, and pixels, of a workgroup.
const TILE: usize = 64;
/// Products of a step.
const STEP: usize = 16;

uniform! {
    len: u32,
    pixel_tiles: u32,
    channel_tiles: u32,
    pixels: u32,
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
    name: "conv_tiled",
    file: "conv/tiled",
    shared: ["windows", "outer", "nan", "activation"],
    doc: "convolution by tiles in workgroup memory",
};

impl Kernel for ConvTiled {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        self.filters.input_lens(&self.conv)
    }

    fn output_len(&self) -> usize {
        self.conv.output_len()
    }

    fn residual(&self) -> Option<usize> {
        self.conv.residual()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        self.filters.reference(&self.conv, inputs, output);
    }

    fn dispatch(&self) -> Dispatch {
        let c = &self.conv;
        let [act_a, act_b] = c.activation.params();
        let pixels = c.batch * c.out_plane();
        let (pixel_tiles, channel_tiles) = (pixels.div_ceil(TILE), c.group_out().div_ceil(TILE));
        let len = pixel_tiles * channel_tiles * c.groups;
        let params = Params {
            len: word(len),
            pixel_tiles: word(pixel_tiles),
            channel_tiles: word(channel_tiles),
            pixels: word(pixels),
            windows: c.windows.words(),
            group_in: word(c.group_in()),
            group_out: word(c.group_out()),
            groups: word(c.groups),
            out_offset: word(c.out_offset),
            out_total: word(c.out_total),
            act_a,
            act_b,
            unused: 0,
        };
        Dispatch {
            overrides: vec![("ACT", c.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len * WORKGROUP),
        }
    }

    fn packs(&self, input: usize) -> bool {
        matches!(input, 1 | 2)
    }

    fn packs_by_moving(&self) -> bool {
        self.filters == FilterSource::Given
    }

    /// Packs the weights as channel tiles × products (tap by tap) × 64 channels, and the bias as channel tiles.
    /// Products are padded with zeros to whole steps, channels to whole tiles.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        self.filters.pack(&self.conv, input, data, TILE, |conv, data| {
            let (group_in, taps, depth) = (conv.group_in(), conv.taps(), conv.depth());
            conv.tiled(TILE, 0..depth.next_multiple_of(STEP), move |o, k| {
                let (tap, c) = (k / group_in, k % group_in);
                if k < depth { data[(o * group_in + c) * taps + tap] } else { 0.0 }
            })
        })
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let convs = convs().into_iter().map(|(label, conv)| (label, conv, FilterSource::Given));
    let product = ("36 products of Winograd's method".to_owned(), product(5, 19, 12), FilterSource::Winograd);
    let case = |(label, conv, filters)| noise_case(label, ConvTiled { conv, filters });
    convs.chain([product]).map(case).collect()
}
