//! Completes the source of a shader for a launch: declares its element types and its residual.
//!
//! A shader names the element types of its arrays by their binding: `Out`, `In0`, `In1` and so on, and `Weights` for
//! a constant second input. Each may be f32 or f16. Bindings with an explicit type are f32 only: indices, sums of
//! statistics, biases, and Winograd temporaries, whose last transform amplifies rounding errors a hundredfold. All
//! shaders compute in f32.
//!
//! A shader whose input is a texture of single channels names it `x`, and reads it with `texel`.
//!
//! A shader that can add a residual ([`Kernel::residual`]) calls `with_residual`, or `with_residuals` for a whole
//! quad, on the values that it writes.

use std::fmt::Write;

use crate::kernels::binding::InputBinding;
use crate::kernels::kernel::{Kernel, KernelRow};
use crate::tensor::Precision;

/// The element types of a launch's arrays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShaderTypes {
    /// Precision of the output's elements.
    pub output: Precision,
    /// Binding and precision of each input.
    pub inputs: Vec<(InputBinding, Precision)>,
    /// The input that is added to the output.
    pub residual: Option<usize>,
}

impl ShaderTypes {
    /// Returns the shader's complete source: the declarations for these types, then the row's source.
    pub fn text(&self, row: &KernelRow) -> String {
        let mut text = String::new();
        let all = self.inputs.iter().map(|&(_, precision)| precision).chain([self.output]);
        if all.into_iter().any(|precision| precision == Precision::F16) {
            text.push_str("enable f16;\n");
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "alias Out = {};", self.output.name());
        for (i, &(binding, precision)) in self.inputs.iter().enumerate() {
            let ty = match binding {
                InputBinding::Buffer => precision.name().to_owned(),
                InputBinding::Texels(4) => format!("texture_storage_2d<rgba{}, read>", texel(precision)),
                InputBinding::Texels(_) if precision == Precision::F32 => {
                    "texture_storage_2d<r32float, read>".into()
                }
                // Not every device reads single f16 channels from storage textures.
                InputBinding::Texels(_) => "texture_2d<f32>".into(),
            };
            let _ = writeln!(text, "alias In{i} = {ty};");
            if i == 1 {
                text.push_str("alias Weights = In1;\n");
            }
            if binding == InputBinding::Texels(1) {
                // The texture is not a parameter: naga cannot write storage textures as such in Metal's language.
                let level = if precision == Precision::F32 { "" } else { ", 0" };
                let _ = writeln!(
                    text,
                    "fn texel(at: vec2<u32>) -> f32 {{ return textureLoad(x, at{level}).x; }}"
                );
            }
        }
        if row.uses("with_residual") {
            text.push_str(&self.addition());
        }
        text + row.shader
    }

    /// Declares the functions that add the residual, or that return their argument if there is none.
    fn addition(&self) -> String {
        let (declaration, [one, four]) = match self.residual {
            Some(i) => (
                format!("@group(0) @binding({}) var<storage, read> residual: array<vec4<In{i}>>;\n", i + 2),
                ["sum + f32(residual[at / 4u][at % 4u])", "sums + vec4<f32>(residual[at / 4u])"],
            ),
            None => (String::new(), ["sum", "sums"]),
        };
        format!(
            "{declaration}fn with_residual(sum: f32, at: u32) -> f32 {{ return {one}; }}\n\
             fn with_residuals(sums: vec4<f32>, at: u32) -> vec4<f32> {{ return {four}; }}\n"
        )
    }
}

/// The WGSL name of a texel channel of this precision.
fn texel(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "32float",
        Precision::F16 => "16float",
    }
}

impl KernelRow {
    /// Returns whether the shader uses an identifier outside of comments.
    fn uses(&self, name: &str) -> bool {
        let code = self.shader.lines().filter_map(|line| line.split("//").next());
        code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
            .any(|word| word == name)
    }

    /// Returns whether the output may be stored as f16.
    pub fn writes_f16(&self) -> bool {
        self.uses("Out")
    }

    /// Returns whether a computed input may be stored as f16.
    pub fn reads_f16(&self, input: usize) -> bool {
        self.uses(&format!("In{input}"))
    }

    /// Returns whether a constant input may be stored as f16.
    pub fn reads_f16_weights(&self, input: usize) -> bool {
        input == 1 && self.uses("Weights")
    }
}

/// Returns whether a call's own shader may read an input as f16.
pub fn shader_reads_f16(kernel: &dyn Kernel, input: usize) -> bool {
    kernel.residual() == Some(input) || kernel.row().reads_f16(input)
}
