//! One value everywhere: what a padding lies on.

use bytemuck::bytes_of;

use super::{Case, Dispatch, Kernel, Row, grid, noise_case, shader, uniform, word};
use crate::compare::Tolerance;

/// Writes `value` to the whole output. No inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    /// Elements.
    pub len: usize,
    /// The value.
    pub value: f32,
}

uniform! { len: u32, value: f32 }

/// The kernel's row.
pub static ROW: Row = Row {
    name: "fill",
    shader: shader!("fill"),
    doc: "one value everywhere",
    params: Params::FIELDS,
    params_size: Params::SIZE,
    cases,
};

impl Kernel for Fill {
    fn row(&self) -> &'static Row {
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

fn cases() -> Vec<Case> {
    [(1, 0.0), (63, -1.5), (64, 2.0), (65, f32::MAX), (1000, f32::NEG_INFINITY)]
        .map(|(len, value)| noise_case(format!("{len} times {value}"), Fill { len, value }))
        .into()
}
