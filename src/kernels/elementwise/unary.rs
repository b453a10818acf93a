//! Elementwise functions of one array.

use std::sync::Arc;

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise, noise_case};
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

    fn tolerance(&self) -> Tolerance {
        Tolerance::ELEMENTWISE
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Activation::SAMPLES
        .into_iter()
        .map(|activation| {
            // Sixteenths from -8 to 8, which hit the corners of every function; only positive ones for functions that
            // need them.
            let positive = matches!(activation, Activation::Sqrt | Activation::Log | Activation::Reciprocal);
            let first = if positive { 1 } else { -128 };
            let x: Vec<f32> = (first..=128).map(|i| i as f32 / 16.0).collect();
            let kernel = Arc::new(Unary { len: x.len(), activation });
            Case { label: format!("{activation:?} on a grid"), kernel, inputs: vec![x] }
        })
        .collect();
    for activation in [Activation::Sigmoid, Activation::Tanh, Activation::Erf, Activation::HardSwish] {
        let x: Vec<f32> = noise(33, 9).iter().map(|x| x * 1e4).collect();
        let kernel = Arc::new(Unary { len: x.len(), activation });
        cases.push(Case { label: format!("{activation:?} far out"), kernel, inputs: vec![x] });
    }
    cases.push(noise_case("one element", Unary { len: 1, activation: Activation::Relu }));
    cases.push(noise_case(
        "more workgroups than one dimension takes",
        Unary { len: 65_536 * 64 + 1, activation: Activation::Abs },
    ));
    cases
}
