//! Packing of computed weights on a device, by a table of positions.
//!
//! Weights that are constant are packed on the host, once ([`Kernel::pack`]).

use bytemuck::bytes_of;
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Moves elements, `y[i] = x[table[i]]`; 0 where the table is negative.
///
/// Inputs: x `[from]`, table `[to]`, whose positions are exact in `f32`: `from` is at most 2²⁴. Output: `[to]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Relayout {
    /// Number of elements of `x`.
    pub from: usize,
    /// Number of elements of the table and of the output.
    pub to: usize,
}

impl Relayout {
    /// Returns the table by which `kernel` packs its input; `None` if the input is read as it is.
    pub fn table(kernel: &dyn Kernel, input: usize) -> Option<Vec<f32>> {
        // Activations are large, and are read as they are.
        if !kernel.packs(input) {
            return None;
        }
        let len = kernel.input_lens()[input];
        let numbers: Vec<f32> = (0..len).map(|i| (i + 1) as f32).collect();
        kernel.pack(input, &numbers).map(|packed| packed.into_iter().map(|number| number - 1.0).collect())
    }
}

uniform! { len: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "relayout",
    file: "movement/relayout",
    shared: [],
    doc: "elements at the positions of a table",
};

impl Kernel for Relayout {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.from, self.to]
    }

    fn output_len(&self) -> usize {
        self.to
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (y, &at) in output.iter_mut().zip(inputs[1]) {
            *y = if at < 0.0 { 0.0 } else { inputs[0][at as usize] };
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        output.par_iter_mut().zip(inputs[1]).with_min_len(1 << 12).for_each(|(y, &at)| {
            *y = if at < 0.0 { 0.0 } else { inputs[0][at as usize] };
        });
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch {
            overrides: vec![],
            params: bytes_of(&Params { len: word(self.to) }).to_vec(),
            workgroups: grid(self.to),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, from: usize, to: usize, at: &dyn Fn(usize) -> f32| Case {
        label: label.to_owned(),
        kernel: std::sync::Arc::new(Relayout { from, to }),
        inputs: vec![noise(from, 1), (0..to).map(at).collect()],
    };
    vec![
        case("one element", 1, 1, &|_| 0.0),
        case("backwards", 65, 65, &|i| 64.0 - i as f32),
        case("an element several times", 3, 65, &|i| (i % 3) as f32),
        case("padded with zeros", 130, 200, &|i| if i % 3 == 2 { -1.0 } else { (i / 3 * 2 % 130) as f32 }),
    ]
}
