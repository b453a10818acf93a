//! ONNX's Where: selects between two arrays by a third, with NumPy's broadcasting.

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::elementwise::broadcast_gradient::sum_copies;
use crate::kernels::gradient::{Gradient, GradientBuilder, GradientOperand};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::layout;
use crate::kernels::shader::{grid, row, uniform, word};

/// Selects `a` if `condition` is not zero, else `b`; created by [`Select::new`].
///
/// Inputs: condition, a, b.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// Axes of the output, after merging axes that all inputs step through alike.
    pub shape: Vec<usize>,
    /// Strides of condition, a and b for each axis; 0 where broadcast.
    pub strides: [Vec<isize>; 3],
    /// Number of elements in condition, a and b.
    pub lens: [usize; 3],
}

impl Select {
    /// Returns the call for three shapes.
    ///
    /// Returns `None` if the shapes do not broadcast, or if more than six axes remain after merging.
    pub fn new(condition: &[usize], a: &[usize], b: &[usize]) -> Option<Self> {
        let inputs = [condition, a, b];
        let shape = layout::broadcast(&inputs)?;
        let strides = inputs.map(|s| layout::broadcast_strides(s, &shape));
        let (shape, strides) = layout::collapse(&shape, strides)?;
        Some(Self { shape, strides, lens: inputs.map(|s| s.iter().product()) })
    }

    /// Positions of the three inputs for output element `i`.
    fn offsets(&self, i: usize) -> [usize; 3] {
        let mut rest = i;
        let mut at = [0; 3];
        for axis in (0..self.shape.len()).rev() {
            let index = rest % self.shape[axis];
            rest /= self.shape[axis];
            for (at, strides) in at.iter_mut().zip(&self.strides) {
                *at += index * strides[axis] as usize;
            }
        }
        at
    }
}

uniform! {
    shape: [[u32; 4]; 2],
    c_strides: [[i32; 4]; 2],
    a_strides: [[i32; 4]; 2],
    b_strides: [[i32; 4]; 2],
    axes: u32,
    len: u32,
    pad: [u32; 2],
}

pub(crate) static ROW: KernelRow = row! {
    name: "select",
    file: "elementwise/select",
    shared: ["nan"],
    doc: "elements of two arrays, selected by a third",
};

/// Computes a row with strides known at compile time.
fn row<const C: usize, const A: usize, const B: usize>(y: &mut [f32], c: &[f32], a: &[f32], b: &[f32]) {
    let last = y.len().saturating_sub(1);
    let (c, a, b) = (&c[..=last * C], &a[..=last * A], &b[..=last * B]);
    for (i, y) in y.iter_mut().enumerate() {
        // Reading both operands avoids a branch.
        let (a, b) = (a[i * A], b[i * B]);
        *y = if c[i * C] == 0.0 { b } else { a };
    }
}

impl Kernel for Select {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        self.lens.to_vec()
    }

    fn output_len(&self) -> usize {
        self.shape.iter().product()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (i, y) in output.iter_mut().enumerate() {
            let [c, a, b] = self.offsets(i);
            *y = if inputs[0][c] == 0.0 { inputs[2][b] } else { inputs[1][a] };
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let strides = [0, 1, 2].map(|n| &self.strides[n][..]);
        let steps = strides.map(|s| s.last().copied().unwrap_or(0) as usize);
        layout::par_pieces(&self.shape, &strides, output, |y, at| {
            let [c, a, b] = [0, 1, 2].map(|n| &inputs[n][at[n] as usize..]);
            match steps {
                [1, 1, 1] => row::<1, 1, 1>(y, c, a, b),
                [1, 1, 0] => row::<1, 1, 0>(y, c, a, b),
                [1, 0, 1] => row::<1, 0, 1>(y, c, a, b),
                _ => {
                    for (i, y) in y.iter_mut().enumerate() {
                        *y = if c[i * steps[0]] == 0.0 { b[i * steps[2]] } else { a[i * steps[1]] };
                    }
                }
            }
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [c_strides, a_strides, b_strides] =
            [0, 1, 2].map(|input| layout::stride_words(&self.strides[input]));
        let params = Params {
            shape: layout::shape_words(&self.shape),
            c_strides,
            a_strides,
            b_strides,
            axes: word(self.shape.len()),
            len: word(self.output_len()),
            pad: [0; 2],
        };
        Dispatch {
            overrides: Vec::new(),
            params: bytes_of(&params).to_vec(),
            workgroups: grid(self.output_len()),
        }
    }

    fn gradient(&self, input: usize) -> Gradient {
        if input == 0 {
            return Gradient::Zero;
        }
        let zero = GradientOperand::Constant(std::sync::Arc::new(vec![0.0]));
        let len = self.output_len();
        let (dense, same) = (layout::broadcast_strides(&self.shape, &self.shape), vec![0; self.shape.len()]);
        let (mut operands, mut strides, mut lens) =
            ([zero, GradientOperand::OutputGradient], [same, dense], [1, len]);
        if input == 1 {
            operands.reverse();
            strides.reverse();
            lens.reverse();
        }
        let ([a, b], [a_strides, b_strides]) = (operands, strides);
        let kernel = Self {
            shape: self.shape.clone(),
            strides: [self.strides[0].clone(), a_strides, b_strides],
            lens: [self.lens[0], lens[0], lens[1]],
        };
        let mut builder = GradientBuilder::default();
        let copies = builder.call(kernel, vec![GradientOperand::Input(0), a, b]);
        match sum_copies(&mut builder, copies, &self.shape, self.lens[input], &self.strides[input]) {
            Some(gradient) => builder.finish(gradient),
            None => Gradient::Unknown,
        }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::EXACT
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |label: &str, condition: &[usize], a: &[usize], b: &[usize]| {
        let kernel = Select::new(condition, a, b).expect("the shapes of these cases broadcast");
        let [c, a, b] = kernel.lens;
        let truths = noise(c, 7).into_iter().map(|x| x.max(0.0).ceil()).collect();
        let inputs = vec![truths, noise(a, 8), noise(b, 9)];
        Case { label: label.to_owned(), kernel: std::sync::Arc::new(kernel), inputs }
    };
    vec![
        case("one element", &[], &[], &[1]),
        case("three alike", &[3, 5, 7], &[3, 5, 7], &[3, 5, 7]),
        case("a scalar on either side", &[17, 5], &[1], &[]),
        case("all broadcast differently", &[3, 1, 1], &[1, 5, 1], &[1, 1, 67]),
        case("a mask for a batch", &[1, 1, 9, 9], &[3, 5, 9, 9], &[1]),
    ]
}
