//! Convolution by subgroups of 8 lanes over textures, for software devices.

use bytemuck::bytes_of;

use super::conv::{self, Conv};
use super::way::View;
use super::winograd::Filters;
use super::{Case, Dispatch, Kernel, Row, grid, shader, uniform, word, words};
use crate::compare::Tolerance;

/// The same as [`Conv`], with filters that may be given otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Lanes {
    /// What is computed.
    pub conv: Conv,
    /// What input 1 is.
    pub filters: Filters,
}

/// Output channels of a subgroup.
const CHANNELS: usize = 16;
/// Pixels of a subgroup.
const PIXELS: usize = 32;
/// Input channels of a step.
const STEP: usize = 4;
/// Lanes of a subgroup.
pub(super) const LANES: u32 = 8;

impl Lanes {
    /// Whether a texel can be four pixels of one channel.
    fn points(&self) -> bool {
        self.conv.pointwise() && self.conv.in_plane().is_multiple_of(4)
    }
}

uniform! {
    len: u32,
    blocks: u32,
    channel_tiles: u32,
    pixels: u32,
    in_hw: [u32; 2],
    out_hw: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad: [u32; 2],
    group_in: u32,
    group_out: u32,
    groups: u32,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: u32,
}

/// The kernel's row.
pub static ROW: Row = Row {
    name: "conv_lanes",
    shader: shader!("conv_lanes", "texels", "outer", "activation"),
    doc: "convolution by broadcasts among 8 lanes, from textures",
    params: Params::FIELDS,
    params_size: Params::SIZE,
    cases,
};

impl Kernel for Lanes {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        self.filters.input_lens(&self.conv)
    }

    fn output_len(&self) -> usize {
        self.conv.output_len()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        self.filters.reference(&self.conv, inputs, output);
    }

    fn dispatch(&self) -> Dispatch {
        let c = &self.conv;
        let [act_a, act_b] = c.activation.params();
        let pixels = c.batch * c.out_plane();
        let (blocks, channel_tiles) = (pixels.div_ceil(PIXELS), c.group_out().div_ceil(CHANNELS));
        let len = blocks * channel_tiles * c.groups;
        let params = Params {
            len: word(len),
            blocks: word(blocks),
            channel_tiles: word(channel_tiles),
            pixels: word(pixels),
            in_hw: words(c.in_hw),
            out_hw: words(c.out_hw),
            kernel: words(c.kernel),
            stride: words(c.stride),
            dilation: words(c.dilation),
            pad: words(c.pad),
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
            overrides: vec![("ACT", c.activation.code().into()), ("POINTS", u32::from(self.points()).into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len * LANES as usize),
        }
    }

    /// Weights by channel tiles, taps, input channels (rounded up to whole steps) and 16 channels; the bias by
    /// channel tiles. Zeros fill up.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        self.filters.pack(&self.conv, input, data, CHANNELS, |conv, data| {
            let (group_in, taps) = (conv.group_in(), conv.taps());
            let rows =
                (0..taps).flat_map(move |tap| (0..group_in.next_multiple_of(STEP)).map(move |c| (tap, c)));
            conv.tiled(
                CHANNELS,
                rows,
                move |o, (tap, c)| {
                    if c < group_in { data[(o * group_in + c) * taps + tap] } else { 0.0 }
                },
            )
        })
    }

    fn view(&self, input: usize) -> View {
        match input {
            0 => View::Texels(if self.points() { 4 } else { 1 }),
            1 => View::Texels(4),
            _ => View::Buffer,
        }
    }

    fn subgroup(&self) -> Option<u32> {
        Some(LANES)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

fn cases() -> Vec<Case> {
    conv::cases_by(&|conv, filters| Lanes { conv, filters })
}
