//! The whole source of a shader for a launch: what its arrays' elements are, and whether something is added to its sums.
//!
//! A shader names the types of its arrays by where they are bound: `Out`, `In0`, `In1` and so on, and `Weights` for a
//! constant second input. Each may be single or half precision, by itself. A binding whose type is written out is single
//! precision only: indices, sums of statistics, biases, and the temporaries of Winograd's method, whose last part
//! multiplies what rounding they have by a hundred. Whatever is stored, shaders compute in single precision.
//!
//! A shader that may take an residual ([`Kernel::residual`]) calls `with_residual` or, for a whole quad, `with_residuals` on what
//! it will write.

use std::fmt::Write;

use crate::kernels::binding::InputBinding;
use crate::kernels::kernel::{Kernel, Row};
use crate::tensor::Precision;

/// The types of a launch's arrays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShaderTypes {
    /// The output's elements.
    pub output: Precision,
    /// How each input is read, and its elements.
    pub inputs: Vec<(InputBinding, Precision)>,
    /// The input that is added to what is written.
    pub residual: Option<usize>,
}

impl ShaderTypes {
    /// A kernel's shader for these types: what its names mean, then the row's source.
    pub fn text(&self, row: &Row) -> String {
        let mut text = String::new();
        let all = self.inputs.iter().map(|&(_, precision)| precision).chain([self.output]);
        if all.into_iter().any(|precision| precision == Precision::F16) {
            text.push_str("enable f16;\n");
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "alias Out = {};", self.output.name());
        for (i, &(view, precision)) in self.inputs.iter().enumerate() {
            let ty = match view {
                InputBinding::Buffer => precision.name().to_owned(),
                InputBinding::Texels(4) => format!("texture_storage_2d<rgba{}, read>", texel(precision)),
                InputBinding::Texels(_) if precision == Precision::F32 => {
                    "texture_storage_2d<r32float, read>".into()
                }
                // Not every device reads halves one by one from storage textures.
                InputBinding::Texels(_) => "texture_2d<f32>".into(),
            };
            let _ = writeln!(text, "alias In{i} = {ty};");
            if i == 1 {
                text.push_str("alias Weights = In1;\n");
            }
            if view == InputBinding::Texels(1) {
                let level = if precision == Precision::F32 { "" } else { ", 0" };
                let _ = writeln!(
                    text,
                    "fn texel(t: In{i}, at: vec2<u32>) -> f32 {{ return textureLoad(t, at{level}).x; }}"
                );
            }
        }
        if row.names("with_residual") {
            text.push_str(&self.addition());
        }
        text + row.shader
    }

    /// What adds the residual, or nothing.
    fn addition(&self) -> String {
        let (binding, [one, four]) = match self.residual {
            Some(i) => (
                format!("@group(0) @binding({}) var<storage, read> residual: array<vec4<In{i}>>;\n", i + 2),
                ["sum + f32(residual[at / 4u][at % 4u])", "sums + vec4<f32>(residual[at / 4u])"],
            ),
            None => (String::new(), ["sum", "sums"]),
        };
        format!(
            "{binding}fn with_residual(sum: f32, at: u32) -> f32 {{ return {one}; }}\n\
             fn with_residuals(sums: vec4<f32>, at: u32) -> vec4<f32> {{ return {four}; }}\n"
        )
    }
}

/// The channels of a texel of such numbers, as WGSL names them.
fn texel(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "32float",
        Precision::F16 => "16float",
    }
}

impl Row {
    /// Whether the shader calls a type by this name; in comments, words are words.
    fn names(&self, name: &str) -> bool {
        let code = self.shader.lines().filter_map(|line| line.split("//").next());
        code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
            .any(|word| word == name)
    }

    /// Whether what it writes may be halves.
    pub fn writes_f16(&self) -> bool {
        self.names("Out")
    }

    /// Whether what is computed and read as this input may be halves.
    pub fn reads_f16(&self, input: usize) -> bool {
        self.names(&format!("In{input}"))
    }

    /// Whether a constant that is read as this input may be halves.
    pub fn reads_f16_weights(&self, input: usize) -> bool {
        input == 1 && self.names("Weights")
    }
}

/// Whether a call's own shader may read an input as halves.
pub fn shader_reads_f16(kernel: &dyn Kernel, input: usize) -> bool {
    kernel.residual() == Some(input) || kernel.row().reads_f16(input)
}
