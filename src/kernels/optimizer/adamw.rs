//! AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019).

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::{SETTINGS, clipping};
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// One step of AdamW on a parameter.
///
/// Inputs: gradient `[len]`; settings ([`super::StepSettings`]); norm of all gradients `[1]`. Output: value, first moment,
/// second moment and average, `[4, len]`, updated in place.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Number of elements of the parameter.
    pub len: usize,
    /// Decay rates of the moments, β₁ and β₂.
    pub betas: [f64; 2],
    /// Constant ε, which is added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay, relative to the learning rate.
    pub decay: f64,
}

uniform! { len: u32, beta1: f32, beta2: f32, epsilon: f32, decay: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "adamw",
    file: "optimizer/adamw",
    shared: ["updates"],
    doc: "one step of AdamW on a parameter, in place",
};

impl AdamW {
    /// Updates one element: its value, moments and average.
    fn update(&self, gradient: f64, settings: [f64; SETTINGS], [value, m, v, average]: [f64; 4]) -> [f64; 4] {
        let [rate, _, share, correct1, correct2, ..] = settings;
        let [beta1, beta2] = self.betas;
        let m = beta1 * m + (1.0 - beta1) * gradient;
        let v = beta2 * v + (1.0 - beta2) * gradient * gradient;
        let direction = correct1 * m / ((correct2 * v.max(0.0)).sqrt() + self.epsilon);
        let value = value - rate * (direction + self.decay * value);
        [value, m, v, average + share * (value - average)]
    }
}

impl Kernel for AdamW {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.len, SETTINGS, 1]
    }

    fn output_len(&self) -> usize {
        4 * self.len
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let settings: [f64; SETTINGS] = std::array::from_fn(|i| inputs[1][i]);
        let Some(factor) = clipping(settings[1], inputs[2][0]) else { return };
        for (i, &gradient) in inputs[0].iter().enumerate() {
            let old = std::array::from_fn(|part| output[part * self.len + i]);
            let new = self.update(factor * gradient, settings, old);
            (0..4).for_each(|part| output[part * self.len + i] = new[part]);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let [rate, max_norm, share, correct1, correct2, ..]: [f32; SETTINGS] =
            std::array::from_fn(|i| inputs[1][i]);
        let Some(factor) = clipping(max_norm.into(), inputs[2][0].into()) else { return };
        let (factor, [beta1, beta2]) = (factor as f32, self.betas.map(|beta| beta as f32));
        let (epsilon, decay) = (self.epsilon as f32, self.decay as f32);
        let (value, rest) = output.split_at_mut(self.len);
        let (first, rest) = rest.split_at_mut(self.len);
        let (second, average) = rest.split_at_mut(self.len);
        let elements = value.par_iter_mut().zip(first).zip(second).zip(average).zip(inputs[0]);
        elements.with_min_len(1 << 12).for_each(|((((value, m), v), average), &gradient)| {
            let g = factor * gradient;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            let direction = correct1 * *m / ((correct2 * v.max(0.0)).sqrt() + epsilon);
            *value -= rate * (direction + decay * *value);
            *average += share * (*value - *average);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params {
            len: word(self.len),
            beta1: self.betas[0] as f32,
            beta2: self.betas[1] as f32,
            epsilon: self.epsilon as f32,
            decay: self.decay as f32,
        };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(self.len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, len: usize, decay: f64, (most, norm): (f32, f32)| {
        let kernel = AdamW { len, betas: [0.9, 0.999], epsilon: 1e-3, decay };
        let settings = vec![0.01, most, 0.1, 3.7, 1.2, 1.0, 0.0];
        Case {
            label: label.to_owned(),
            kernel: std::sync::Arc::new(kernel),
            inputs: vec![noise(len, 1), settings, vec![norm]],
        }
    };
    vec![
        case("one element", 1, 0.0, (2.0, 0.5)),
        case("decay, a short gradient", 130, 0.1, (2.0, 0.5)),
        case("a long gradient is shortened", 130, 0.0, (2.0, 8.0)),
        case("an infinite gradient changes nothing", 65, 0.1, (2.0, f32::INFINITY)),
        case("a run without an update", 65, 0.1, (0.0, 1.0)),
        case("a gradient without a norm changes nothing", 65, 0.1, (2.0, f32::NAN)),
    ]
}
