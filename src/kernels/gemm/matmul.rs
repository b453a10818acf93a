//! Products of two computed matrices, as in attention. Products with a constant matrix are a
//! [`ConvKernel`](crate::kernels::conv::ConvKernel).

use bytemuck::bytes_of;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// A batched matrix product, `y[b] = act(x[b] · w[b])`.
///
/// Inputs: `[batch or 1, m, k]` and `[batch or 1, k, n]`. Output: `[batch, m, n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MatMulKernel {
    /// Number of matrices in the output.
    pub batch: usize,
    /// Rows of the first matrix.
    pub m: usize,
    /// Columns of the first matrix, and rows of the second.
    pub k: usize,
    /// Columns of the second matrix.
    pub n: usize,
    /// True if the first input has `batch` matrices, not one.
    pub a_batched: bool,
    /// True if the second input has `batch` matrices, not one.
    pub b_batched: bool,
    /// Activation applied to each sum.
    pub activation: Activation,
}

impl MatMulKernel {
    /// Distances between adjacent matrices of each input; 0 for a shared one.
    fn steps(&self) -> [usize; 2] {
        [if self.a_batched { self.m * self.k } else { 0 }, if self.b_batched { self.k * self.n } else { 0 }]
    }
}

uniform! {
    len: u32,
    m: u32,
    k: u32,
    n: u32,
    a_step: u32,
    b_step: u32,
    row_tiles: u32,
    column_tiles: u32,
    act_a: f32,
    act_b: f32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "matmul",
    file: "gemm/matmul",
    shared: ["nan", "activation"],
    doc: "products of computed matrices",
};

/// Rows, and columns, of an invocation's tile.
const TILE: usize = 4;

impl Kernel for MatMulKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let matrices = |batched| if batched { self.batch } else { 1 };
        vec![matrices(self.a_batched) * self.m * self.k, matrices(self.b_batched) * self.k * self.n]
    }

    fn output_len(&self) -> usize {
        self.batch * self.m * self.n
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let [a_step, b_step] = self.steps();
        for (at, y) in output.iter_mut().enumerate() {
            let (b, i, j) = (at / self.n / self.m, at / self.n % self.m, at % self.n);
            let products = (0..self.k)
                .map(|k| inputs[0][b * a_step + i * self.k + k] * inputs[1][b * b_step + k * self.n + j]);
            *y = self.activation.apply_f64(products.sum());
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let [a_step, b_step] = self.steps();
        output.par_chunks_mut(self.m * self.n).enumerate().for_each(|(matrix, y)| {
            let a = MatRef::from_row_major_slice(
                &inputs[0][matrix * a_step..][..self.m * self.k],
                self.m,
                self.k,
            );
            let b = MatRef::from_row_major_slice(
                &inputs[1][matrix * b_step..][..self.k * self.n],
                self.k,
                self.n,
            );
            let product = MatMut::from_row_major_slice_mut(&mut *y, self.m, self.n);
            matmul(product, Accum::Replace, a, b, 1.0, Par::Seq);
            self.activation.apply_slice(y);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        let [a_step, b_step] = self.steps();
        let (row_tiles, column_tiles) = (self.m.div_ceil(TILE), self.n.div_ceil(TILE));
        let len = self.batch * row_tiles * column_tiles;
        let params = Params {
            len: word(len),
            m: word(self.m),
            k: word(self.k),
            n: word(self.n),
            a_step: word(a_step),
            b_step: word(b_step),
            row_tiles: word(row_tiles),
            column_tiles: word(column_tiles),
            act_a,
            act_b,
        };
        Dispatch {
            overrides: vec![("ACT", self.activation.code().into())],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(len),
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label, batch, [m, k, n]: [usize; 3], [a_batched, b_batched]: [bool; 2]| {
        noise_case(label, MatMulKernel { batch, m, k, n, a_batched, b_batched, activation: Activation::None })
    };
    let relu = MatMulKernel {
        batch: 2,
        m: 17,
        k: 33,
        n: 65,
        a_batched: true,
        b_batched: true,
        activation: Activation::Relu,
    };
    vec![
        case("one element", 1, [1, 1, 1], [true, true]),
        case("a vector from the left", 3, [1, 17, 5], [true, true]),
        case("a vector from the right", 1, [5, 17, 1], [false, false]),
        case("less than a tile", 3, [3, 5, 3], [true, false]),
        case("one first matrix for all", 3, [9, 64, 7], [false, true]),
        case("exact tiles", 2, [8, 16, 12], [true, true]),
        noise_case("many tiles and a Relu", relu),
    ]
}
