//! Elementwise functions of two arrays, with NumPy's broadcasting.

mod gradient;

use std::sync::Arc;

use bytemuck::bytes_of;

use crate::compare::Tolerance;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise, noise_case};
use crate::kernels::gradient::Gradient;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow, share};
use crate::kernels::layout;
use crate::kernels::shader::{grid, row, uniform, word};

/// A function of two numbers. Comparisons and logic return 1 or 0, and treat every number but 0 as true.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    /// The larger operand; NaN if either is NaN.
    Max,
    /// The smaller operand; NaN if either is NaN.
    Min,
    Pow,
    /// Integer division, rounded toward zero.
    IntDiv,
    /// The remainder with the divisor's sign: ONNX's Mod with `fmod` 0.
    Mod,
    Equal,
    Less,
    Greater,
    And,
    Or,
    LessOrEqual,
    GreaterOrEqual,
    /// True if exactly one operand is true.
    Xor,
    /// The remainder with the dividend's sign, as in C.
    FMod,
    /// `a` if not negative, else `a·b`.
    PRelu,
}

impl BinaryOp {
    /// All functions; the index is the number in the shader.
    pub const ALL: [Self; 19] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Max,
        Self::Min,
        Self::Pow,
        Self::IntDiv,
        Self::Mod,
        Self::Equal,
        Self::Less,
        Self::Greater,
        Self::And,
        Self::Or,
        Self::LessOrEqual,
        Self::GreaterOrEqual,
        Self::Xor,
        Self::FMod,
        Self::PRelu,
    ];

    /// Applies the function in `f64`, by its definition.
    #[inline]
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Max if a.is_nan() || a > b => a,
            Self::Min if a.is_nan() || a < b => a,
            Self::Max | Self::Min => b,
            Self::Pow => a.powf(b),
            Self::IntDiv => (a / b).trunc(),
            Self::Mod => a - (a / b).floor() * b,
            Self::Equal => f64::from(a == b),
            Self::Less => f64::from(a < b),
            Self::Greater => f64::from(a > b),
            Self::And => f64::from(a != 0.0 && b != 0.0),
            Self::Or => f64::from(a != 0.0 || b != 0.0),
            Self::LessOrEqual => f64::from(a <= b),
            Self::GreaterOrEqual => f64::from(a >= b),
            Self::Xor => f64::from((a != 0.0) != (b != 0.0)),
            Self::FMod => a % b,
            Self::PRelu if a < 0.0 => a * b,
            Self::PRelu => a,
        }
    }

    /// Computes a row, `y[i] = op(a[i·sa], b[i·sb])`. The strides are mostly 0 or 1.
    fn row(self, y: &mut [f32], a: &[f32], sa: isize, b: &[f32], sb: isize) {
        fn each(y: &mut [f32], a: &[f32], sa: isize, b: &[f32], sb: isize, f: impl Fn(f32, f32) -> f32) {
            match (sa, sb) {
                (1, 1) => y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b)),
                (1, 0) => y.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, b[0])),
                (0, 1) => y.iter_mut().zip(b).for_each(|(y, &b)| *y = f(a[0], b)),
                _ => {
                    let (sa, sb) = (sa as usize, sb as usize);
                    y.iter_mut().enumerate().for_each(|(i, y)| *y = f(a[i * sa], b[i * sb]));
                }
            }
        }
        // A loop for each function, so that none branches on the function at every element. The rest is rare, and
        // exact in `f64` for integers, so it uses the definition.
        macro_rules! by_definition {
            ($($op:ident)*) => {
                match self {
                    Self::Add => each(y, a, sa, b, sb, |a, b| a + b),
                    Self::Sub => each(y, a, sa, b, sb, |a, b| a - b),
                    Self::Mul => each(y, a, sa, b, sb, |a, b| a * b),
                    Self::Div => each(y, a, sa, b, sb, |a, b| a / b),
                    Self::Pow => each(y, a, sa, b, sb, f32::powf),
                    Self::PRelu => each(y, a, sa, b, sb, |a, b| if a < 0.0 { a * b } else { a }),
                    $(Self::$op => each(y, a, sa, b, sb, |a, b| Self::$op.apply(a.into(), b.into()) as f32),)*
                }
            };
        }
        by_definition! { Max Min IntDiv Mod Equal Less Greater And Or LessOrEqual GreaterOrEqual Xor FMod }
    }
}

/// An elementwise call `y = act(op(a, b))`, created by [`BinaryKernel::new`].
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryKernel {
    /// The function that is applied.
    pub op: BinaryOp,
    /// Axes of the output, after merging axes that both inputs step through alike.
    pub shape: Vec<usize>,
    /// Strides of `a` for each axis; 0 where it is broadcast.
    pub a_strides: Vec<isize>,
    /// Strides of `b` for each axis; 0 where it is broadcast.
    pub b_strides: Vec<isize>,
    /// Number of elements in `a`.
    pub a_len: usize,
    /// Number of elements in `b`.
    pub b_len: usize,
    /// Activation applied to each result.
    pub activation: Activation,
}

impl BinaryKernel {
    /// Returns the call for two shapes.
    ///
    /// Returns `None` if the shapes do not broadcast, or if more than six axes remain after merging.
    pub fn new(op: BinaryOp, a_shape: &[usize], b_shape: &[usize], activation: Activation) -> Option<Self> {
        let inputs = [a_shape, b_shape];
        let shape = layout::broadcast(&inputs)?;
        let strides = inputs.map(|s| layout::broadcast_strides(s, &shape));
        let (shape, [a_strides, b_strides]) = layout::collapse(&shape, strides)?;
        let [a_len, b_len] = inputs.map(|s| s.iter().product());
        Some(Self { op, shape, a_strides, b_strides, a_len, b_len, activation })
    }
}

uniform! {
    shape: [[u32; 4]; 2],
    a_strides: [[i32; 4]; 2],
    b_strides: [[i32; 4]; 2],
    axes: u32,
    len: u32,
    act_a: f32,
    act_b: f32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "binary",
    file: "elementwise/binary",
    shared: ["quotient", "nan", "activation"],
    doc: "elementwise function of two arrays, with broadcasting",
};

impl Kernel for BinaryKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.a_len, self.b_len]
    }

    fn output_len(&self) -> usize {
        self.shape.iter().product()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for (i, y) in output.iter_mut().enumerate() {
            let (mut rest, mut a, mut b) = (i, 0, 0);
            for axis in (0..self.shape.len()).rev() {
                let index = (rest % self.shape[axis]) as isize;
                rest /= self.shape[axis];
                a += index * self.a_strides[axis];
                b += index * self.b_strides[axis];
            }
            let value = self.op.apply(inputs[0][a as usize], inputs[1][b as usize]);
            *y = self.activation.apply_f64(value);
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let [sa, sb] = [&self.a_strides, &self.b_strides].map(|s| s.last().copied().unwrap_or(0));
        let strides = [&self.a_strides[..], &self.b_strides[..]];
        layout::par_pieces(&self.shape, &strides, output, |y, [a, b]| {
            self.op.row(y, &inputs[0][a as usize..], sa, &inputs[1][b as usize..], sb);
            self.activation.apply_slice(y);
        });
    }

    fn dispatch(&self) -> Dispatch {
        let [act_a, act_b] = self.activation.params();
        let flat = self.shape.len() == 1 && [&self.a_strides, &self.b_strides].iter().all(|s| s[0] == 1);
        let quads = flat && self.output_len().is_multiple_of(4);
        let params = Params {
            shape: layout::shape_words(&self.shape),
            a_strides: layout::stride_words(&self.a_strides),
            b_strides: layout::stride_words(&self.b_strides),
            axes: word(self.shape.len()),
            len: word(self.output_len()),
            act_a,
            act_b,
        };
        Dispatch {
            overrides: vec![
                ("ACT", self.activation.code().into()),
                ("OP", (self.op as u32).into()),
                ("QUADS", u32::from(quads).into()),
            ],
            params: bytes_of(&params).to_vec(),
            workgroups: grid(if quads { self.output_len() / 4 } else { self.output_len() }),
        }
    }

    fn micro_batch(&self, batch: usize, images: usize) -> Option<Arc<dyn Kernel>> {
        let first = *self.shape.first()?;
        let mut kernel = self.clone();
        kernel.shape[0] = share(first, batch, images)?;
        for (strides, len) in [(&self.a_strides, &mut kernel.a_len), (&self.b_strides, &mut kernel.b_len)] {
            match strides[0].unsigned_abs() {
                0 => {}
                // The first axis spans the whole array.
                stride if stride * first == *len => *len = *len / batch * images,
                _ => return None,
            }
        }
        Some(Arc::new(kernel))
    }

    fn gradient(&self, input: usize) -> Gradient {
        self.gradient_of(input)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::ELEMENTWISE
    }
}

pub(crate) fn cases() -> Vec<Case> {
    use Activation::{None, Relu};
    let call = |op, a: &[usize], b: &[usize], activation| {
        BinaryKernel::new(op, a, b, activation).expect("the shapes of these cases broadcast")
    };
    let mut cases: Vec<Case> = BinaryOp::ALL
        .into_iter()
        .map(|op| {
            // Integers from -4 to 4, so that comparisons meet equal pairs. Divisors are not 0, and bases of powers
            // are not negative.
            let integers = |seed| noise(5 * 33, seed).into_iter().map(|x| (x * 4.5).trunc());
            let (mut a, mut b): (Vec<f32>, Vec<f32>) = (integers(3).collect(), integers(4).collect());
            match op {
                BinaryOp::Div | BinaryOp::IntDiv | BinaryOp::Mod | BinaryOp::FMod => {
                    b.iter_mut().for_each(|b| *b = if *b == 0.0 { 3.0 } else { *b });
                }
                BinaryOp::Pow => a.iter_mut().for_each(|a| *a = a.abs() / 4.0 + 0.25),
                _ => {}
            }
            let kernel = Arc::new(call(op, &[5, 33], &[5, 33], None));
            Case { label: format!("{op:?} of small integers"), kernel, inputs: vec![a, b] }
        })
        .collect();
    let squares = Arc::new(call(BinaryOp::Pow, &[9], &[1], None));
    let inputs = vec![(-4..5).map(|i| i as f32 / 2.0).collect(), vec![2.0]];
    cases.push(Case { label: "squares of negative numbers".to_owned(), kernel: squares, inputs });
    let add = |label, a: &[usize], b: &[usize], act| noise_case(label, call(BinaryOp::Add, a, b, act));
    cases.extend([
        add("one element each", &[], &[1, 1], None),
        add("a scalar and an array", &[1], &[3, 5, 7], Relu),
        add("a channel vector", &[3, 17, 5, 5], &[17, 1, 1], None),
        add("both broadcast", &[3, 1, 5, 1], &[1, 4, 1, 7], None),
        add("six axes that cannot be joined", &[2, 1, 3, 1, 2, 1], &[1, 3, 1, 2, 1, 5], None),
        add("one long row", &[1, 50_000], &[50_000], Relu),
        noise_case("a difference of a row and a column", call(BinaryOp::Sub, &[65], &[33, 1], None)),
    ]);
    cases
}
