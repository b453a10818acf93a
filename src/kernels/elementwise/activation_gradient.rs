//! The gradient of elementwise functions.

use std::sync::Arc;

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Multiplies a gradient by the derivative of a function, `gx = gy · act'(x)`.
///
/// Inputs: `x`, `gy`.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationGradient {
    /// Number of elements in `x`.
    pub len: usize,
    /// The function that is differentiated.
    pub activation: Activation,
}

impl ActivationGradient {
    /// Adds the calls that propagate `gy` through the fused activation of a call with these inputs; returns `gy` itself
    /// if there is none.
    ///
    /// `plain` is the call without its activation, whose result they compute again.
    pub(crate) fn through(
        builder: &mut GradientBuilder,
        activation: Activation,
        plain: impl Kernel,
        gy: GradientOperand,
    ) -> GradientOperand {
        if activation == Activation::None {
            return gy;
        }
        let len = plain.output_len();
        let inputs = (0..plain.input_lens().len()).map(GradientOperand::Input).collect();
        let before = builder.call(plain, inputs);
        builder.call(Self { len, activation }, vec![before, gy])
    }

    /// The gradient of a call that only applies the function.
    pub(crate) fn of(len: usize, activation: Activation) -> Gradient {
        if activation.is_piecewise_constant() {
            return Gradient::Zero;
        }
        let mut builder = GradientBuilder::default();
        let inputs = vec![GradientOperand::Input(0), GradientOperand::OutputGradient];
        let gx = match activation {
            Activation::None => GradientOperand::OutputGradient,
            _ => builder.call(Self { len, activation }, inputs),
        };
        builder.finish(gx)
    }
}

uniform! { len: u32, act_a: f32, act_b: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "activation_gradient",
    file: "elementwise/activation_gradient",
    shared: ["nan", "activation", "derivative"],
    doc: "gradient of an elementwise function",
};

impl Kernel for ActivationGradient {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.len; 2]
    }

    fn output_len(&self) -> usize {
        self.len
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for ((gx, &x), &gy) in output.iter_mut().zip(inputs[0]).zip(inputs[1]) {
            *gx = gy * self.activation.derivative_f64(x);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        const CHUNK: usize = 1 << 14;
        let chunks = inputs[0].par_chunks(CHUNK).zip(inputs[1].par_chunks(CHUNK));
        output.par_chunks_mut(CHUNK).zip(chunks).for_each(|(gx, (x, gy))| {
            self.activation.propagate_gradient(x, gy, gx);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        let quads = self.len.is_multiple_of(4);
        Dispatch {
            overrides: vec![("ACT", self.activation.code().into()), ("QUADS", u32::from(quads).into())],
            params: bytes_of(&Params { len: word(self.len), act_a, act_b }).to_vec(),
            workgroups: grid(if quads { self.len / 4 } else { self.len }),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::ELEMENTWISE
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Activation::SAMPLES
        .into_iter()
        .map(|activation| {
            // Sixteenths from -8 to 8, which hit the kinks of every function, as far as its derivative is finite.
            let sixteenths = match activation {
                Activation::Sqrt | Activation::Log | Activation::Reciprocal => 1..=128,
                Activation::Acosh => 17..=128,
                Activation::Asin | Activation::Acos | Activation::Atanh => -15..=15,
                _ => -128..=128,
            };
            let x: Vec<f32> = sixteenths.map(|i| i as f32 / 16.0).collect();
            let kernel = ActivationGradient { len: x.len(), activation };
            let inputs = vec![x, noise(kernel.len, 2)];
            Case { label: format!("{activation:?} on a grid"), kernel: Arc::new(kernel), inputs }
        })
        .collect();
    for activation in [Activation::Sigmoid, Activation::Tanh, Activation::Erf, Activation::Gelu] {
        let x: Vec<f32> = noise(36, 9).iter().map(|x| x * 1e4).collect();
        let kernel = Arc::new(ActivationGradient { len: x.len(), activation });
        let inputs = vec![x, noise(36, 2)];
        cases.push(Case { label: format!("{activation:?} far out"), kernel, inputs });
    }
    let relu = |len| ActivationGradient { len, activation: Activation::Relu };
    cases.push(noise_case("one element", relu(1)));
    cases.push(noise_case("whole quads, over several chunks", relu(50_000)));
    cases
}
