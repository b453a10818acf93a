//! Sums of squares over chunks of a gradient, from which the norm of all gradients is computed.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Number of elements of a chunk.
const CHUNK: usize = 1024;

/// Sums of squares of chunks of 1,024 elements, `y[offset + c] = Σ x²`.
///
/// Input: x `[len]`. Output: `[total]`, of which the sums of this call's chunks are written.
#[derive(Clone, Debug, PartialEq)]
pub struct SumSquares {
    /// Number of elements of `x`.
    pub len: usize,
    /// Position of the first sum in the output.
    pub offset: usize,
    /// Number of elements of the output buffer.
    pub total: usize,
}

impl SumSquares {
    /// Returns the number of chunks of `len` elements.
    pub fn chunks(len: usize) -> usize {
        len.div_ceil(CHUNK)
    }
}

uniform! { len: u32, chunks: u32, offset: u32 }

pub(crate) static ROW: KernelRow = row! {
    name: "sum_squares",
    file: "optimizer/sum_squares",
    shared: [],
    doc: "sums of squares of chunks",
};

impl Kernel for SumSquares {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.len]
    }

    fn output_len(&self) -> usize {
        self.total
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (sum, chunk) in output[self.offset..].iter_mut().zip(inputs[0].chunks(CHUNK)) {
            *sum = chunk.iter().map(|x| x * x).sum();
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        for (sum, chunk) in output[self.offset..].iter_mut().zip(inputs[0].chunks(CHUNK)) {
            *sum = chunk.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() as f32;
        }
    }

    fn dispatch(&self) -> Dispatch {
        let chunks = Self::chunks(self.len);
        let params = Params { len: word(self.len), chunks: word(chunks), offset: word(self.offset) };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(chunks) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        noise_case("one element", SumSquares { len: 1, offset: 0, total: 1 }),
        noise_case("whole chunks", SumSquares { len: 2 * CHUNK, offset: 0, total: 2 }),
        noise_case("at the end of the output", SumSquares { len: 3 * CHUNK, offset: 2, total: 5 }),
        noise_case("in the middle of the output", SumSquares { len: CHUNK + 7, offset: 3, total: 9 }),
    ]
}
