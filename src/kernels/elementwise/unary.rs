//! Elementwise functions of one array.

use std::sync::Arc;

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::elementwise::activation_gradient::ActivationGradient;
use crate::kernels::gradient::Gradient;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow, share};
use crate::kernels::shader::{grid, row, uniform, word};

/// Applies a function to every element, `y = act(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Number of elements in `x`.
    pub len: usize,
    /// The function that is applied.
    pub activation: Activation,
}

uniform! { len: u32, act_a: f32, act_b: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "unary",
    file: "elementwise/unary",
    shared: ["nan", "activation"],
    doc: "elementwise function of one array",
};

impl Kernel for Unary {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.len]
    }

    fn output_len(&self) -> usize {
        self.len
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (y, &x) in output.iter_mut().zip(inputs[0]) {
            *y = self.activation.apply_f64(x);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        const CHUNK: usize = 1 << 14;
        output.par_chunks_mut(CHUNK).zip(inputs[0].par_chunks(CHUNK)).for_each(|(y, x)| {
            y.copy_from_slice(x);
            self.activation.apply_slice(y);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        Dispatch {
            overrides: vec![("ACT", self.activation.code().into())],
            params: bytes_of(&Params { len: word(self.len), act_a, act_b }).to_vec(),
            workgroups: grid(self.len),
        }
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        Some(Arc::new(Self { len: share(self.len, batch, images)?, ..self.clone() }))
    }

    fn gradient(&self, _input: usize) -> Gradient {
        ActivationGradient::of(self.len, self.activation)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::ELEMENTWISE
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Activation::SAMPLES
        .into_iter()
        .map(|activation| {
            // Sixteenths from -8 to 8, which hit the corners of every function, as far as it is defined and finite.
            let sixteenths = match activation {
                Activation::Sqrt | Activation::Log | Activation::Reciprocal => 1..=128,
                Activation::Acosh => 16..=128,
                Activation::Asin | Activation::Acos => -16..=16,
                Activation::Atanh => -15..=15,
                _ => -128..=128,
            };
            let x: Vec<f32> = sixteenths.map(|i| i as f32 / 16.0).collect();
            let kernel = Arc::new(Unary { len: x.len(), activation });
            Case { label: format!("{activation:?} on a grid"), kernel, inputs: vec![x] }
        })
        .collect();
    for activation in [Activation::Sigmoid, Activation::Tanh, Activation::Erf, Activation::HardSwish] {
        let x: Vec<f32> = noise(33, 9).iter().map(|x| x * 1e4).collect();
        let kernel = Arc::new(Unary { len: x.len(), activation });
        cases.push(Case { label: format!("{activation:?} far out"), kernel, inputs: vec![x] });
    }
    for activation in [Activation::Sin, Activation::Cos] {
        let x: Vec<f32> = noise(1025, 10).iter().map(|x| x * 300.0).collect();
        let kernel = Arc::new(Unary { len: x.len(), activation });
        cases.push(Case { label: format!("{activation:?} of many turns"), kernel, inputs: vec![x] });
    }
    for activation in [Activation::Atan, Activation::Asinh] {
        let x: Vec<f32> = [1e-4, 0.01, 0.3, 70.0, 9.9e3, 1.1e4, 3e30].iter().flat_map(|&x| [x, -x]).collect();
        let kernel = Arc::new(Unary { len: x.len(), activation });
        cases.push(Case { label: format!("{activation:?}, near and far"), kernel, inputs: vec![x] });
    }
    for activation in [Activation::Sinh, Activation::Cosh] {
        let x: Vec<f32> = [1e-4, 0.01, 0.99, 1.01, 60.0, 79.0, 81.0, 88.9].to_vec();
        let kernel = Arc::new(Unary { len: x.len(), activation });
        cases.push(Case { label: format!("{activation:?}, near and far"), kernel, inputs: vec![x] });
    }
    for activation in [Activation::IsNan, Activation::IsInf(1.0, 0.0), Activation::IsInf(0.0, 1.0)] {
        let x = vec![0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
        let kernel = Arc::new(Unary { len: x.len(), activation });
        cases.push(Case { label: format!("{activation:?} of special numbers"), kernel, inputs: vec![x] });
    }
    cases.push(noise_case("one element", Unary { len: 1, activation: Activation::Relu }));
    cases.push(noise_case(
        "more workgroups than one dimension takes",
        Unary { len: 65_536 * 64 + 1, activation: Activation::Abs },
    ));
    cases
}
