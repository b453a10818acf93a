//! Stochastic gradient descent with Nesterov's momentum (Sutskever et al. 2013).

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::{SETTINGS, clipping};
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// One step of gradient descent on a parameter.
///
/// Inputs: gradient `[len]`; settings ([`super::StepSettings`]); norm of all gradients `[1]`. Output: value, momentum and
/// average, `[3, len]`, updated in place.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    /// Number of elements of the parameter.
    pub len: usize,
    /// Share of the momentum that stays.
    pub momentum: f64,
    /// Weight decay, which is added to the gradient.
    pub decay: f64,
}

uniform! { len: u32, momentum: f32, decay: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "sgd",
    file: "optimizer/sgd",
    shared: ["updates"],
    doc: "one step of gradient descent with momentum on a parameter, in place",
};

impl Kernel for Sgd {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.len, SETTINGS, 1]
    }

    fn output_len(&self) -> usize {
        3 * self.len
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let [rate, max_norm, share] = [inputs[1][0], inputs[1][1], inputs[1][2]];
        let Some(factor) = clipping(max_norm, inputs[2][0]) else { return };
        let n = self.len;
        for (i, &gradient) in inputs[0].iter().enumerate() {
            let g = factor * gradient + self.decay * output[i];
            output[n + i] = self.momentum * output[n + i] + g;
            output[i] -= rate * (g + self.momentum * output[n + i]);
            output[2 * n + i] += share * (output[i] - output[2 * n + i]);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let [rate, max_norm, share] = [inputs[1][0], inputs[1][1], inputs[1][2]];
        let Some(factor) = clipping(max_norm.into(), inputs[2][0].into()) else { return };
        let (factor, momentum, decay) = (factor as f32, self.momentum as f32, self.decay as f32);
        let (value, rest) = output.split_at_mut(self.len);
        let (moments, average) = rest.split_at_mut(self.len);
        let elements = value.par_iter_mut().zip(moments).zip(average).zip(inputs[0]);
        elements.with_min_len(1 << 12).for_each(|(((value, m), average), &gradient)| {
            let g = factor * gradient + decay * *value;
            *m = momentum * *m + g;
            *value -= rate * (g + momentum * *m);
            *average += share * (*value - *average);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params { len: word(self.len), momentum: self.momentum as f32, decay: self.decay as f32 };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(self.len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, len: usize, decay: f64, (most, norm): (f32, f32)| Case {
        label: label.to_owned(),
        kernel: std::sync::Arc::new(Sgd { len, momentum: 0.9, decay }),
        inputs: vec![noise(len, 1), vec![0.01, most, 0.1, 1.0, 1.0, 1.0, 0.0], vec![norm]],
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
