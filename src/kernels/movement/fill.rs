//! Fills an array with one value, as the background of a padding.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Writes `value` to the whole output. Has no inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    /// Number of elements of the output.
    pub len: usize,
    /// The value that is written.
    pub value: f32,
}

uniform! { len: u32, value: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "fill",
    file: "movement/fill",
    shared: [],
    doc: "an array filled with one value",
};

impl Kernel for Fill {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        Vec::new()
    }

    fn output_len(&self) -> usize {
        self.len
    }

    fn reference(&self, _inputs: &[&[f64]], output: &mut [f64]) {
        output.fill(self.value.into());
    }

    fn cpu(&self, _inputs: &[&[f32]], output: &mut [f32]) {
        output.fill(self.value);
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch {
            overrides: Vec::new(),
            params: bytes_of(&Params { len: word(self.len), value: self.value }).to_vec(),
            workgroups: grid(self.len),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [(1, 0.0), (63, -1.5), (64, 2.0), (65, f32::MAX), (1000, f32::NEG_INFINITY)]
        .map(|(len, value)| noise_case(format!("{len} times {value}"), Fill { len, value }))
        .into()
}
