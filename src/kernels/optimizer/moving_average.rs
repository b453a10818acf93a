//! Moving averages of a step's statistics, such as those of a BatchNormalization.

use bytemuck::bytes_of;

use super::{SETTINGS, clipping};
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Moves an average towards new numbers, `y += momentum·(x − y)`.
///
/// Inputs: x `[len]`; settings ([`super::StepSettings`]); norm of all gradients `[1]`. Output: the average `[len]`, updated
/// in place.
#[derive(Clone, Debug, PartialEq)]
pub struct MovingAverage {
    /// Number of averaged elements.
    pub len: usize,
    /// Share of the new numbers.
    pub momentum: f64,
}

uniform! { len: u32, momentum: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "moving_average",
    file: "optimizer/moving_average",
    shared: ["updates"],
    doc: "a moving average of statistics, in place",
};

impl Kernel for MovingAverage {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.len, SETTINGS, 1]
    }

    fn output_len(&self) -> usize {
        self.len
    }

    fn accumulates(&self) -> bool {
        true
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        if clipping(inputs[1][1], inputs[2][0]).is_some() {
            output.iter_mut().zip(inputs[0]).for_each(|(y, x)| *y += self.momentum * (x - *y));
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if clipping(inputs[1][1].into(), inputs[2][0].into()).is_some() {
            output.iter_mut().zip(inputs[0]).for_each(|(y, x)| *y += self.momentum as f32 * (x - *y));
        }
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params { len: word(self.len), momentum: self.momentum as f32 };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(self.len) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, len: usize, (most, norm): (f32, f32)| Case {
        label: label.to_owned(),
        kernel: std::sync::Arc::new(MovingAverage { len, momentum: 0.1 }),
        inputs: vec![noise(len, 1), vec![0.01, most, 0.1, 1.0, 1.0, 1.0, 0.0], vec![norm]],
    };
    vec![
        case("one element", 1, (2.0, 1.0)),
        case("many elements", 130, (2.0, 8.0)),
        case("a step without a norm", 65, (2.0, f32::NAN)),
        case("a run without an update", 65, (0.0, 1.0)),
    ]
}
