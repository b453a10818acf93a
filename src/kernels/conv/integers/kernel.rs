//! The convolution of 8-bit integers, of which a word holds four in its shader and two on the host.
//!
//! Sums are integers of 32 bits and exact, so their order changes no bit. The shader computes tiles in workgroup memory
//! with `dot4I8Packed`, which real GPUs have as an instruction. It multiplies signed integers only: from those without a
//! sign 128 is subtracted, and the sum of the weights corrects the result. Devices without the instruction may compute
//! the same sums in floats, by any algorithm of [`ConvKernel`].

use std::sync::Arc;

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::conv::integers::host;
use crate::kernels::conv::integers::shape::IntegerConv;
use crate::kernels::conv::shape::ConvKernel;
use crate::kernels::kernel::{AUTOTUNE_BATCH, Dispatch, Kernel, KernelRow, Prepared};
use crate::kernels::shader::{WORKGROUP, grid, row, uniform, word};
use crate::kernels::window::WindowsUniform;

/// Output channels, and pixels, of a workgroup.
const TILE: usize = 64;
/// Words of a step.
const STEP: usize = 16;
/// Input channels of a word.
const CHANNELS: usize = 4;
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
    weight_sums: u32,
    zero: i32,
    shift: i32,
    act_a: f32,
    act_b: f32,
    unused: [u32; 2],
}

pub(crate) static ROW: KernelRow = row! {
    name: "conv_integers",
    file: "conv/integers",
    shared: ["windows", "nan", "activation"],
    doc: "convolution of 8-bit integers with integer sums",
};

impl IntegerConv {
    /// Words of a filter: tap by tap, with the channels of a group padded to whole words.
    fn words(&self) -> usize {
        self.conv.group_in().div_ceil(CHANNELS) * self.conv.taps()
    }

    /// The word of a filter with some channels of a tap.
    fn weight_word(&self, weights: &[f32], filter: usize, word: usize) -> f32 {
        let (group_in, taps) = (self.conv.group_in(), self.conv.taps());
        let per_tap = group_in.div_ceil(CHANNELS);
        let (tap, first) = (word / per_tap, word % per_tap * CHANNELS);
        let mut bytes = [0; CHANNELS];
        for (byte, channel) in bytes.iter_mut().zip(first..group_in).filter(|_| tap < taps) {
            *byte = (weights[(filter * group_in + channel) * taps + tap] as i8).cast_unsigned();
        }
        f32::from_bits(u32::from_le_bytes(bytes))
    }

    /// The integer that the shader subtracts from the numbers of `x`, so that they have a sign.
    fn shift(&self) -> i32 {
        if self.signed { 0 } else { 128 }
    }
}

impl Kernel for IntegerConv {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let mut lens = self.conv.input_lens();
        lens.push(self.conv.out_channels);
        lens
    }

    fn output_len(&self) -> usize {
        self.conv.output_len()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let conv = &self.conv;
        let centered: Vec<f64> = inputs[0].iter().map(|x| x - f64::from(self.zero)).collect();
        let mut sums = vec![0.0; output.len()];
        conv.sums().reference(&[&centered, inputs[1], inputs[2]], &mut sums);
        let plane = conv.out_plane();
        for image in 0..conv.batch {
            for (o, scale) in inputs[3].iter().enumerate() {
                let first = (image * conv.out_total + conv.out_offset + o) * plane;
                for at in first..first + plane {
                    output[at] = conv.activation.apply_f64(scale * sums[at]);
                }
            }
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if let Some(prepared) = self.prepare(&[None, Some(inputs[1]), Some(inputs[2]), Some(inputs[3])]) {
            prepared.run(inputs, output);
        }
    }

    fn prepare(&self, constants: &[Option<&[f32]>]) -> Option<Box<dyn Prepared>> {
        let &[_, Some(weights), Some(bias), Some(scales)] = constants else { return None };
        let empty = self.output_len() == 0 || self.conv.out_channels == 0;
        (!empty).then(|| host::prepare(self, [weights, bias, scales]))
    }

    fn dispatch(&self) -> Dispatch {
        let c = &self.conv;
        let [act_a, act_b] = c.activation.params();
        let pixels = c.batch * c.out_plane();
        let (pixel_tiles, channel_tiles) = (pixels.div_ceil(TILE), c.group_out().div_ceil(TILE));
        let len = pixel_tiles * channel_tiles * c.groups;
        let rows = self.words().next_multiple_of(STEP);
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
            weight_sums: word(c.groups * channel_tiles * rows * TILE / 4),
            zero: self.zero,
            shift: self.shift(),
            act_a,
            act_b,
            unused: [0; 2],
        };
        Dispatch {
            overrides: vec![("ACT", c.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len * WORKGROUP),
        }
    }

    fn packs(&self, input: usize) -> bool {
        matches!(input, 1..=3)
    }

    fn packs_by_moving(&self) -> bool {
        false
    }

    /// Packs the weights as channel tiles × words (tap by tap) × 64 channels, then the sum of each channel's weights as
    /// channel tiles; bias and scales as channel tiles. Words are padded with zeros to whole steps, channels to whole tiles.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        let conv = &self.conv;
        match input {
            1 => {
                let rows = 0..self.words().next_multiple_of(STEP);
                let mut packed = conv.tiled(TILE, rows, |o, word| self.weight_word(data, o, word));
                let sum = |o: usize| data[o * conv.depth()..][..conv.depth()].iter().map(|&w| w as i32).sum();
                packed.extend(conv.tiled(TILE, 0..1, |o, _| f32::from_bits(i32::cast_unsigned(sum(o)))));
                Some(packed)
            }
            2 | 3 => Some(conv.tiled(TILE, 0..1, |o, _| data[o])),
            _ => None,
        }
    }

    /// Integers have one speed, so the zero point is no part of the key.
    fn autotune_key(&self) -> Option<Arc<dyn Kernel>> {
        let conv = ConvKernel { batch: AUTOTUNE_BATCH, ..self.conv.clone() };
        Some(Arc::new(Self { conv, signed: self.signed, zero: self.shift() }))
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        let conv = ConvKernel { batch: images, ..self.conv.clone() };
        (self.conv.batch == batch).then(|| Arc::new(Self { conv, ..self.clone() }) as _)
    }

    fn tolerance(&self) -> Tolerance {
        self.conv.tolerance()
    }
}
