//! Convolution by subgroups of 8 lanes over textures, for software adapters.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::binding::InputBinding;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::conv::shape::{ConvKernel, ImageRange};
use crate::kernels::conv::test_cases::{convs, parts};
use crate::kernels::conv::unfold;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};
use crate::kernels::window::{Windows, WindowsUniform};

/// A [`ConvKernel`] over the images or over their im2col matrix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConvLanes {
    /// The convolution that is computed.
    pub(crate) conv: ConvKernel,
    /// The images whose im2col matrix ([`super::unfold`]) is input 0, and whose outputs are computed; `None` if input
    /// 0 holds the images themselves.
    pub(crate) unfolded: Option<ImageRange>,
}

/// Output channels of a subgroup.
pub(crate) const CHANNELS: usize = 16;
/// Pixels of a subgroup.
pub(crate) const PIXELS: usize = 32;
/// Input channels of a step.
pub(crate) const STEP: usize = 4;
/// Lanes of a subgroup.
pub(crate) const LANES: u32 = 8;

/// Rows of 32 pixels that fit a processor's second-level cache while they are reused.
const CACHED_ROWS: usize = 1024;
/// Most pixel blocks of a run; longer sequential writes gain nothing.
const LONGEST_RUN: usize = 32;

impl ConvLanes {
    /// Returns whether the input consists of images with whole quads, and every pixel is its own window.
    fn points(&self) -> bool {
        self.unfolded.is_none() && self.conv.pointwise() && self.conv.in_plane().is_multiple_of(4)
    }

    /// Returns whether a texel holds four pixels of one channel.
    fn quads(&self) -> bool {
        self.points() || self.unfolded.is_some()
    }
}

uniform! {
    len: u32,
    blocks: u32,
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
    quads: u32,
    first: u32,
    run: u32,
}

/// Row for inputs with one pixel a texel.
pub(crate) static ROW: KernelRow = row! {
    name: "conv_lanes",
    file: "conv/lanes",
    shared: ["windows", "quotient", "texels", "pixels", "outer", "broadcasts", "nan", "activation", "quads", "conv_lanes"],
    doc: "convolution by broadcasts among 8 lanes, from textures of pixels",
};

/// Row for inputs with four adjacent pixels a texel.
pub(crate) static ROW_QUADS: KernelRow = row! {
    name: "conv_lanes_quads",
    file: "conv/lanes_quads",
    shared: ["windows", "quotient", "texels", "outer", "broadcasts", "nan", "activation", "quads", "conv_lanes"],
    doc: "convolution by broadcasts among 8 lanes, from textures of quads of pixels",
};

impl Kernel for ConvLanes {
    fn row(&self) -> &'static KernelRow {
        if self.quads() { &ROW_QUADS } else { &ROW }
    }

    fn input_lens(&self) -> Vec<usize> {
        let mut lens = self.conv.input_lens();
        if let Some(images) = self.unfolded {
            lens[0] = unfold::len(&self.conv, images.count);
        }
        lens
    }

    fn output_len(&self) -> usize {
        self.conv.output_len()
    }

    fn residual(&self) -> Option<usize> {
        self.conv.residual()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let (Some(images), conv) = (self.unfolded, &self.conv) else {
            return self.conv.reference(inputs, output);
        };
        let columns = unfold::columns(conv, images.count);
        for (o, pixel) in (0..conv.out_channels)
            .flat_map(|o| (0..images.count * conv.out_plane()).map(move |pixel| (o, pixel)))
        {
            let first = o / conv.group_out() * conv.depth();
            let seen = |k: usize| inputs[0][(first + k) * columns + pixel];
            let sum: f64 = (0..conv.depth()).map(|k| inputs[1][o * conv.depth() + k] * seen(k)).sum();
            let image = images.first + pixel / conv.out_plane();
            let plane = image * conv.out_total + conv.out_offset + o;
            let at = plane * conv.out_plane() + pixel % conv.out_plane();
            let residual = if conv.residual { inputs[3][at] } else { 0.0 };
            output[at] = conv.activation.apply_f64(sum + inputs[2][o] + residual);
        }
    }

    fn dispatch(&self) -> Dispatch {
        let c = &self.conv;
        let [act_a, act_b] = c.activation.params();
        let images = self.unfolded.unwrap_or(ImageRange { first: 0, count: c.batch });
        let pixels = images.count * c.out_plane();
        // In the im2col matrix, every row is a channel and every column its own window.
        let windows = match self.unfolded {
            Some(_) => Windows::points(c.windows.out_hw),
            None => c.windows,
        };
        let (form, quads) = match self.unfolded {
            Some(images) => (2, unfold::columns(c, images.count) / 4),
            None => (u32::from(self.points()), c.in_plane() / 4),
        };
        let (blocks, channel_tiles) = (pixels.div_ceil(PIXELS), c.group_out().div_ceil(CHANNELS));
        let len = blocks * channel_tiles * c.groups;
        let params = Params {
            len: word(len),
            blocks: word(blocks),
            channel_tiles: word(channel_tiles),
            pixels: word(pixels),
            windows: windows.words(),
            group_in: word(if self.unfolded.is_some() { c.depth() } else { c.group_in() }),
            group_out: word(c.group_out()),
            groups: word(c.groups),
            out_offset: word(c.out_offset),
            out_total: word(c.out_total),
            act_a,
            act_b,
            quads: word(quads),
            first: word(images.first),
            run: word((CACHED_ROWS / c.depth().max(1)).clamp(1, LONGEST_RUN)),
        };
        Dispatch {
            overrides: vec![
                ("ACT", c.activation.code().into()),
                ("FORM", form.into()),
                ("QUADS", u32::from(c.out_plane().is_multiple_of(4)).into()),
            ],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len * LANES as usize),
        }
    }

    fn packs(&self, input: usize) -> bool {
        matches!(input, 1 | 2)
    }

    /// Packs the weights as channel tiles × taps × input channels × 16 channels, and the bias as channel tiles. For
    /// an im2col matrix, its rows are the input channels. Input channels are padded with zeros to whole steps,
    /// channels to whole tiles.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        let (group_in, taps) = match self.unfolded {
            Some(_) => (self.conv.depth(), 1),
            None => (self.conv.group_in(), self.conv.taps()),
        };
        let rows = (0..taps).flat_map(move |tap| (0..group_in.next_multiple_of(STEP)).map(move |c| (tap, c)));
        let weight = |o, (tap, c)| {
            if c < group_in { data[(o * group_in + c) * taps + tap] } else { 0.0 }
        };
        match input {
            1 => Some(self.conv.tiled(CHANNELS, rows, weight)),
            2 => Some(self.conv.tiled(CHANNELS, 0..1, |o, _| data[o])),
            _ => None,
        }
    }

    fn binding(&self, input: usize) -> InputBinding {
        match input {
            0 => InputBinding::Texels(if self.quads() { 4 } else { 1 }),
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

pub(crate) fn cases(row: &'static KernelRow) -> Vec<Case> {
    let whole = convs().into_iter().map(|(label, conv)| (label, conv, None));
    let unfolded = parts();
    let unfolded =
        unfolded.into_iter().map(|(label, conv, images)| (format!("{label}, unfolded"), conv, Some(images)));
    whole
        .chain(unfolded)
        .map(|(label, conv, unfolded)| noise_case(label, ConvLanes { conv, unfolded }))
        .filter(|case| case.kernel.row().name == row.name)
        .collect()
}
