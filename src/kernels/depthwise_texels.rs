//! Depthwise convolution over textures, for software devices.

use bytemuck::bytes_of;

use super::depthwise::{self, Depthwise};
use super::way::View;
use super::{Case, Dispatch, Kernel, Row, grid, noise_case, shader, uniform, word, words};
use crate::compare::Tolerance;

/// The same as [`Depthwise`].
#[derive(Clone, Debug, PartialEq)]
pub struct Texels {
    /// What is computed.
    pub depthwise: Depthwise,
}

/// Pixels of an invocation.
const TILE: usize = 8;

uniform! {
    len: u32,
    eights: u32,
    in_hw: [u32; 2],
    out_hw: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad: [u32; 2],
    filters: u32,
    multiplier: u32,
    act_a: f32,
    act_b: f32,
}

/// The kernel's row.
pub static ROW: Row = Row {
    name: "depthwise_texels",
    shader: shader!("depthwise_texels", "texels", "activation"),
    doc: "convolution of each channel by itself, from textures",
    params: Params::FIELDS,
    params_size: Params::SIZE,
    cases,
};

impl Kernel for Texels {
    fn row(&self) -> &'static Row {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        self.depthwise.input_lens()
    }

    fn output_len(&self) -> usize {
        self.depthwise.output_len()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        self.depthwise.reference(inputs, output);
    }

    fn dispatch(&self) -> Dispatch {
        let d = &self.depthwise;
        let [act_a, act_b] = d.activation.params();
        let filters = d.channels * d.multiplier;
        let eights = d.out_hw[1].div_ceil(TILE);
        let len = d.batch * filters * d.out_hw[0] * eights;
        let params = Params {
            len: word(len),
            eights: word(eights),
            in_hw: words(d.in_hw),
            out_hw: words(d.out_hw),
            kernel: words(d.kernel),
            stride: words(d.stride),
            dilation: words(d.dilation),
            pad: words(d.pad),
            filters: word(filters),
            multiplier: word(d.multiplier),
            act_a,
            act_b,
        };
        let slide = d.stride[1] == 1 && d.dilation[1] == 1;
        Dispatch {
            overrides: vec![("ACT", d.activation.code().into()), ("SLIDE", u32::from(slide).into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn view(&self, input: usize) -> View {
        if input < 2 { View::Texels(1) } else { View::Buffer }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

fn cases() -> Vec<Case> {
    depthwise::calls().into_iter().map(|(label, depthwise)| noise_case(label, Texels { depthwise })).collect()
}
