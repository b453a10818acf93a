//! Depthwise convolution with 3×3 filters over textures, for software adapters.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::binding::InputBinding;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::depthwise::kernel::calls;
use crate::kernels::depthwise::shape::Depthwise;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word, words};

/// A [`Depthwise`] with 3×3 filters and stride 1 or 2.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DepthwiseTexels {
    /// The convolution that is computed.
    pub(crate) depthwise: Depthwise,
}

/// Elements of a row that an invocation advances by.
const STEP: usize = 8;
/// Rows that an invocation computes.
const ROWS: usize = 8;

impl DepthwiseTexels {
    /// Returns whether the shader supports a call.
    pub(crate) fn applies(d: &Depthwise) -> bool {
        (d.windows.kernel, d.windows.dilation) == ([3, 3], [1, 1])
            && [[1, 1], [2, 2]].contains(&d.windows.stride)
    }
}

uniform! {
    len: u32,
    across: u32,
    down: u32,
    rows: u32,
    in_hw: [u32; 2],
    out_hw: [u32; 2],
    pad: [u32; 2],
    filters: u32,
    multiplier: u32,
    act_a: f32,
    act_b: f32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "depthwise_texels",
    file: "depthwise/texels",
    shared: ["quotient", "texels", "nan", "activation", "quads"],
    doc: "depthwise convolution with 3×3 filters, from textures",
};

impl Kernel for DepthwiseTexels {
    fn row(&self) -> &'static KernelRow {
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
        let (across, down) =
            (d.windows.out_hw[1].div_ceil(STEP / d.windows.stride[1]), d.windows.out_hw[0].div_ceil(ROWS));
        let len = d.batch * filters * down * across;
        let params = Params {
            len: word(len),
            across: word(across),
            down: word(down),
            rows: word(ROWS),
            in_hw: words(d.windows.in_hw),
            out_hw: words(d.windows.out_hw),
            pad: words(d.windows.pad),
            filters: word(filters),
            multiplier: word(d.multiplier),
            act_a,
            act_b,
        };
        Dispatch {
            overrides: vec![
                ("ACT", d.activation.code().into()),
                ("STRIDE", word(d.windows.stride[0]).into()),
                ("QUADS", u32::from(d.windows.out_hw[1].is_multiple_of(4)).into()),
            ],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn packs(&self, input: usize) -> bool {
        input == 1
    }

    /// Packs each row of a filter as one texel.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        let texel = |row: &[f32]| [row[0], row[1], row[2], 0.0];
        (input == 1).then(|| data.chunks_exact(3).flat_map(texel).collect())
    }

    fn binding(&self, input: usize) -> InputBinding {
        if input < 2 { InputBinding::Texels(4) } else { InputBinding::Buffer }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let calls = calls().into_iter().filter(|(_, call)| DepthwiseTexels::applies(call));
    calls.map(|(label, depthwise)| noise_case(label, DepthwiseTexels { depthwise })).collect()
}
