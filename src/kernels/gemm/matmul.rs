//! Products of two computed matrices, as in attention. Products with a constant matrix are a
//! [`ConvKernel`](crate::kernels::conv::ConvKernel).

use bytemuck::bytes_of;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise_case};
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::movement::Copy;
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

/// A copy of three axes, `[shape]` from the start of a buffer of `len` elements to a dense array.
fn dense(shape: [usize; 3], len: usize, strides: [usize; 3]) -> Copy {
    let strides = strides.map(|n| n as isize);
    let target = [shape[1] * shape[2], shape[2], 1].map(|n| n as isize);
    Copy::new(&shape, len, 0, &strides, shape.iter().product(), 0, &target).expect("three axes")
}

impl MatMulKernel {
    /// Adds the calls for `∂L/∂x[b] = g[b] · w[b]ᵀ`. If all matrices share `x`, the sum over them is one product: the
    /// matrices of `g` stand side by side, those of `wᵀ` one below the other.
    fn left_gradient(&self, calls: &mut GradientBuilder) -> GradientOperand {
        let &Self { batch, m, k, n, .. } = self;
        let (len, step) = (self.input_lens()[1], self.steps()[1]);
        let (g, w) = (GradientOperand::OutputGradient, GradientOperand::Input(1));
        if self.a_batched || batch == 1 {
            let matrices = len / (k * n).max(1);
            let transposed = calls.call(dense([matrices, n, k], len, [k * n, 1, n]), vec![w]);
            return calls.call(Self { k: n, n: k, ..self.clone() }, vec![g, transposed]);
        }
        let below = calls.call(dense([batch, n, k], len, [step, 1, n]), vec![w]);
        let beside = calls.call(dense([m, batch, n], batch * m * n, [n, m * n, 1]), vec![g]);
        calls.call(Self { batch: 1, m, k: batch * n, n: k, ..self.clone() }, vec![beside, below])
    }

    /// Adds the calls for `∂L/∂w[b] = x[b]ᵀ · g[b]`. If all matrices share `w`, the sum over them is one product: the
    /// matrices of `xᵀ` stand side by side, those of `g` one below the other.
    fn right_gradient(&self, calls: &mut GradientBuilder) -> GradientOperand {
        let &Self { batch, m, k, n, .. } = self;
        let (len, step) = (self.input_lens()[0], self.steps()[0]);
        let (x, g) = (GradientOperand::Input(0), GradientOperand::OutputGradient);
        if self.b_batched || batch == 1 {
            let matrices = len / (m * k).max(1);
            let transposed = calls.call(dense([matrices, k, m], len, [m * k, 1, k]), vec![x]);
            return calls.call(Self { m: k, k: m, b_batched: true, n, ..self.clone() }, vec![transposed, g]);
        }
        let beside = calls.call(dense([k, batch, m], len, [1, step, k]), vec![x]);
        calls.call(Self { batch: 1, m: k, k: batch * m, n, ..self.clone() }, vec![beside, g])
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
/// Rows of a host task.
const PANEL: usize = 128;

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
            let b = &inputs[1][matrix * b_step..][..self.k * self.n];
            let b = MatRef::from_row_major_slice(b, self.k, self.n);
            y.par_chunks_mut(PANEL * self.n).enumerate().for_each(|(panel, y)| {
                let rows = y.len() / self.n;
                let a = &inputs[0][matrix * a_step + panel * PANEL * self.k..][..rows * self.k];
                let a = MatRef::from_row_major_slice(a, rows, self.k);
                let product = MatMut::from_row_major_slice_mut(&mut *y, rows, self.n);
                matmul(product, Accum::Replace, a, b, 1.0, Par::Seq);
                self.activation.apply_slice(y);
            });
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

    fn gradient(&self, input: usize) -> Gradient {
        if self.activation != Activation::None {
            return Gradient::Unknown;
        }
        let mut calls = GradientBuilder::default();
        let result =
            if input == 0 { self.left_gradient(&mut calls) } else { self.right_gradient(&mut calls) };
        calls.finish(result)
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
        case("several panels of rows", 2, [259, 13, 6], [true, false]),
        case("exact tiles", 2, [8, 16, 12], [true, true]),
        noise_case("many tiles and a Relu", relu),
    ]
}
