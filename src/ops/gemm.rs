//! The operators Gemm, MatMul and FusedMatMul, which are 1×1 convolutions over rows if the second operand is constant.

use std::sync::Arc;

use super::constant_channels::{ChannelConstant, Contribution, TapShares, bias_tensor};
use super::conv_lowering::{bias_slot, fold, split_filters};
use super::data_movement::strided;
use super::lower::{Lowering, Slot};
use super::{Build, Layer, Operator};
use crate::coupling::{FROZEN, Propagation, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, broadcast};
use crate::kernels::activation::Activation;
use crate::kernels::conv::ConvKernel;
use crate::kernels::elementwise::Affine;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::kernels::gemm::MatMulKernel;
use crate::kernels::layout::broadcast_strides;
use crate::kernels::window::Windows;
use crate::tensor::{Tensor, show, strides};

#[derive(Debug)]
struct Gemm {
    alpha: f64,
    beta: f64,
    trans_a: bool,
    trans_b: bool,
}

/// The operators MatMul and FusedMatMul: α·A·B, with the last two axes of a factor exchanged if it is transposed.
#[derive(Debug)]
struct MatMul {
    alpha: f64,
    trans_a: bool,
    trans_b: bool,
}

/// Builds Gemm: α·A·B + β·C, with optional transposes.
pub(super) fn gemm(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    Ok(Box::new(Gemm {
        alpha: f64::from(attrs.float_or("alpha", 1.0)?),
        beta: f64::from(attrs.float_or("beta", 1.0)?),
        trans_a: attrs.int_or("transA", 0)? != 0,
        trans_b: attrs.int_or("transB", 0)? != 0,
    }))
}

/// Builds MatMul: a matrix product by NumPy's rules.
pub(super) fn matmul(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(MatMul { alpha: 1.0, trans_a: false, trans_b: false }))
}

/// Builds FusedMatMul of ONNX Runtime: α·A·B by NumPy's rules, with optional transposes.
pub(super) fn fused_matmul(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    for name in ["transBatchA", "transBatchB"] {
        if attrs.int_or(name, 0)? != 0 {
            return Err(Error::new("a FusedMatMul with transposed batches")
                .expected(format!("{name} = 0"))
                .got(format!("{name} = 1"))
                .remedy("prune the file from which ONNX Runtime optimized this one")
                .unsupported());
        }
    }
    Ok(Box::new(MatMul {
        alpha: f64::from(attrs.float_or("alpha", 1.0)?),
        trans_a: attrs.int_or("transA", 0)? != 0,
        trans_b: attrs.int_or("transB", 0)? != 0,
    }))
}

impl Gemm {
    /// Returns the sizes (m, k, n) of the product.
    fn sizes(&self, inputs: &Inputs) -> Result<(usize, usize, usize)> {
        let (a, b) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        let misfit = || {
            Err(Error::new("the operands of a Gemm do not fit")
                .expected("two matrices with equal inner dimensions")
                .got(format!("{} and {}", show(a), show(b)))
                .with_kind(ErrorKind::InvalidModel))
        };
        let (&[a0, a1], &[b0, b1]) = (a.as_slice(), b.as_slice()) else { return misfit() };
        let (m, k) = if self.trans_a { (a1, a0) } else { (a0, a1) };
        let (kb, n) = if self.trans_b { (b1, b0) } else { (b0, b1) };
        if k == kb { Ok((m, k, n)) } else { misfit() }
    }

    /// Returns β·C as one number for each column, if C is constant and does not vary over rows.
    fn bias(&self, inputs: &Inputs, n: usize) -> Option<Vec<f64>> {
        let Some(c) = inputs.optional(2) else { return Some(vec![0.0; n]) };
        let value = c.value.as_ref()?.to_f64();
        match value.len() {
            1 => Some(vec![self.beta * value[0]; n]),
            len if len == n && c.shape.last() == Some(&n) => {
                Some(value.iter().map(|v| self.beta * v).collect())
            }
            _ => None,
        }
    }

    /// Returns whether the node is the product of a layer whose weights `[n, k]` or bias `[n]` are computed.
    fn is_computed_layer(&self, inputs: &Inputs, n: usize) -> bool {
        let plain = self.alpha == 1.0 && self.beta == 1.0 && !self.trans_a && self.trans_b;
        plain && inputs.optional(2).is_none_or(|c| c.shape == [n] || c.shape == [1, n])
    }

    /// Returns whether the node is a layer: constant weights and bias, A not transposed.
    fn is_layer(&self, inputs: &Inputs) -> bool {
        let constant = inputs.optional(1).is_some_and(|b| b.value.is_some());
        let n = self.sizes(inputs).map_or(0, |s| s.2);
        constant && !self.trans_a && self.bias(inputs, n).is_some()
    }
}

impl Operator for Gemm {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (m, _, n) = self.sizes(inputs)?;
        if let Some(c) = inputs.optional(2)
            && broadcast(&c.shape, &[m, n])? != [m, n]
        {
            return Err(Error::new("C does not broadcast to the product")
                .expected(show(&[m, n]))
                .got(show(&c.shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(vec![inputs.get(0)?.with_shape(&[m, n])])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (m, k, n) = self.sizes(&l.inputs)?;
        if self.is_layer(&l.inputs)
            && let Some(bias) = self.bias(&l.inputs, n)
            && let Some(b) = l.inputs.constant(1, "B")?
        {
            let b = b.floats()?;
            let scaled = |v: f32| (self.alpha * f64::from(v)) as f32;
            let weights: Vec<f32> = match (self.trans_b, self.alpha == 1.0) {
                (true, true) => return emit_rows(l, b.clone(), Arc::new(to_f32(&bias)), (m, k, n)),
                (true, false) => b.iter().map(|&v| scaled(v)).collect(),
                (false, _) => transpose(b, k, n).into_iter().map(scaled).collect(),
            };
            return emit_rows(l, Arc::new(weights), Arc::new(to_f32(&bias)), (m, k, n));
        }
        if self.is_computed_layer(&l.inputs, n) {
            let bias = bias_slot(l, n);
            emit_slots(l, Slot::Input(1), bias, (m, k, n));
            return Ok(());
        }
        self.lower_general(l, (m, k, n))
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        if !self.is_layer(&flow.inputs) {
            flow.freeze_all("multiplies two computed matrices");
            return Ok(());
        }
        let weights = if self.trans_b { [1, 0] } else { [0, 1] };
        let n = flow.outputs[0].shape[1];
        let makes = flow.weighted(1, weights, 1);
        let y = if makes { flow.filter_labels(1, weights[1], n) } else { vec![FROZEN; n] };
        if let Some(c) = flow.inputs.optional(2)
            && c.shape.last() == Some(&n)
        {
            let role = if makes { Role::Producer } else { Role::PerChannel };
            flow.label_constant(2, c.shape.len() - 1, &y, role);
        }
        if !makes {
            let (row, inner, column) = (0, 1, 2);
            let b = if self.trans_b { [column, inner] } else { [inner, column] };
            flow.product(&[row, inner], &b, &[row, column]);
        }
        Ok(())
    }

    fn contribution(&self, inputs: &Inputs, constants: &[Option<ChannelConstant>]) -> Option<Contribution> {
        let (_, _, n) = self.sizes(inputs).ok().filter(|_| self.is_layer(inputs))?;
        let bias = self.bias(inputs, n)?;
        rows_contribution(bias, inputs, self.alpha, self.trans_b, constants)
    }

    fn bias_with(&self, inputs: &Inputs, sums: &[f64]) -> Option<Tensor> {
        let bias = self.bias(inputs, sums.len()).filter(|_| self.beta != 0.0)?;
        let new: Vec<f64> = bias.iter().zip(sums).map(|(b, s)| (b + s) / self.beta).collect();
        Some(bias_tensor(inputs, &new))
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> u64 {
        self.sizes(inputs).map_or(0, |(m, k, n)| (m * k * n) as u64)
    }

    fn layer(&self) -> Option<Layer> {
        let filters = if self.trans_b { 0 } else { 1 };
        let plain = self.alpha == 1.0 && self.beta == 1.0;
        Some(Layer {
            weight: 1,
            filters,
            channels: 1,
            groups: 1,
            transposed: false,
            bias: Some(2),
            plain,
            gates: None,
        })
    }

    fn fuses_scale_shift(&self, inputs: &Inputs) -> bool {
        self.is_layer(inputs)
    }
}

impl Gemm {
    /// Lowers computed operands, or a C that varies over rows, to transposes, a product, scales and a sum.
    fn lower_general(&self, l: &mut Lowering, (m, k, n): (usize, usize, usize)) -> Result<()> {
        let a = transposed(l, 0, self.trans_a, m, k)?;
        let b = transposed(l, 1, self.trans_b, k, n)?;
        let plain = self.alpha == 1.0 && l.inputs.optional(2).is_none();
        let product = if plain { Slot::Output(0) } else { l.temp(m * n) };
        let none = Activation::None;
        l.call(
            MatMulKernel { batch: 1, m, k, n, a_batched: false, b_batched: false, activation: none },
            vec![a, b],
            product.clone(),
        );
        if plain {
            return Ok(());
        }
        let scaled = if l.inputs.optional(2).is_some() { l.temp(m * n) } else { Slot::Output(0) };
        let number = |v: f64| Slot::Constant(Arc::new(vec![v as f32]));
        let zero = number(0.0);
        let affine = |inner| Affine { outer: 1, channels: 1, inner, activation: none };
        l.call(affine(m * n), vec![product, number(self.alpha), zero.clone()], scaled.clone());
        if let Some(c) = l.inputs.optional(2) {
            let len = c.shape.iter().product();
            let weighted = l.temp(len);
            l.call(affine(len), vec![Slot::Input(2), number(self.beta), zero], weighted.clone());
            let add = BinaryKernel::new(BinaryOp::Add, &[m, n], &c.shape, none)
                .ok_or_else(|| Error::new("C does not broadcast to the product").internal())?;
            l.call(add, vec![scaled, weighted], Slot::Output(0));
        }
        Ok(())
    }
}

/// Returns input `i` as a rows×columns matrix, by a copy if it must be transposed.
fn transposed(l: &mut Lowering, i: usize, transpose: bool, rows: usize, columns: usize) -> Result<Slot> {
    if !transpose {
        return Ok(Slot::Input(i));
    }
    let (len, slot) = (rows * columns, l.temp(rows * columns));
    let copy =
        strided(&[rows, columns], (len, 0, vec![1, rows as isize]), (len, 0, vec![columns as isize, 1]))?;
    l.call(copy, vec![Slot::Input(i)], slot.clone());
    Ok(slot)
}

impl MatMul {
    fn product(&self, inputs: &Inputs) -> Result<Product> {
        Product::of(&seen(inputs.get(0)?, self.trans_a), &seen(inputs.get(1)?, self.trans_b))
    }

    /// Returns whether the second factor is a matrix of weights for the rows of the first.
    fn is_layer(&self, inputs: &Inputs) -> bool {
        let weights = inputs.optional(1).filter(|b| b.value.is_some() && b.shape.len() == 2);
        weights.is_some() && !self.trans_a && inputs.optional(0).is_some_and(|a| !a.shape.is_empty())
    }

    /// Returns factor `i` with its matrices transposed if the node asks for it, and as many as the product has.
    fn factor(&self, l: &mut Lowering, p: &Product, i: usize) -> Result<Slot> {
        let fact = l.inputs.get(i)?;
        let (turned, batches) =
            if i == 0 { (self.trans_a, p.a_batches) } else { (self.trans_b, p.b_batches) };
        let turned = turned && fact.shape.len() > 1;
        if !turned && (batches == 1 || batches == p.batch) {
            return Ok(Slot::Input(i));
        }
        let shape = seen(fact, turned);
        let rank = shape.len();
        let whole = match batches == 1 {
            true => shape.clone(),
            false => [p.batch_shape.as_slice(), &shape[rank - 2..]].concat(),
        };
        let mut steps = broadcast_strides(&fact.shape, &fact.shape);
        if turned {
            steps.swap(rank - 2, rank - 1);
        }
        // An axis of size 1 is repeated, and so are the axes that the factor lacks.
        let lead = whole.len() - rank;
        let step = |axis: usize| match axis.checked_sub(lead) {
            Some(own) if shape[own] == whole[axis] => steps[own],
            _ => 0,
        };
        let (src, dst) = (shape.iter().product(), whole.iter().product());
        let slot = l.temp(dst);
        let copy =
            strided(&whole, (src, 0, (0..whole.len()).map(step).collect()), (dst, 0, strides(&whole)))?;
        l.call(copy, vec![Slot::Input(i)], slot.clone());
        Ok(slot)
    }
}

/// Returns the shape of a factor; if `turned`, with its last two axes exchanged.
fn seen(fact: &Fact, turned: bool) -> Vec<usize> {
    let mut shape = fact.shape.clone();
    let rank = shape.len();
    if turned && rank > 1 {
        shape.swap(rank - 2, rank - 1);
    }
    shape
}

impl Operator for MatMul {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let p = self.product(inputs)?;
        let mut shape = p.batch_shape.clone();
        if !p.a_vector {
            shape.push(p.m);
        }
        if !p.b_vector {
            shape.push(p.n);
        }
        Ok(vec![inputs.get(0)?.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let p = self.product(&l.inputs)?;
        let b = l.inputs.get(1)?;
        if let (Some(value), true, false) = (&b.value, p.b_shared(), self.trans_a) {
            let b = value.floats()?;
            let rows = if self.trans_b { b.to_vec() } else { transpose(b, p.k, p.n) };
            let scaled = |v: f32| (self.alpha * f64::from(v)) as f32;
            let weights = if self.alpha == 1.0 { rows } else { rows.into_iter().map(scaled).collect() };
            let bias = Arc::new(vec![0.0; p.n]);
            return emit_rows(l, Arc::new(weights), bias, (p.batch * p.m, p.k, p.n));
        }
        let (a, b) = (self.factor(l, &p, 0)?, self.factor(l, &p, 1)?);
        let one = p.b_vector || p.b_shared();
        let kernel = MatMulKernel {
            batch: if one { 1 } else { p.batch },
            m: if one { p.batch * p.m } else { p.m },
            k: p.k,
            n: p.n,
            a_batched: !one && p.a_batches > 1,
            b_batched: !one && p.b_batches > 1,
            activation: Activation::None,
        };
        if self.alpha == 1.0 {
            l.call(kernel, vec![a, b], Slot::Output(0));
            return Ok(());
        }
        let len = p.batch * p.m * p.n;
        let product = l.temp(len);
        l.call(kernel, vec![a, b], product.clone());
        let number = |v: f64| Slot::Constant(Arc::new(vec![v as f32]));
        let scale = Affine { outer: 1, channels: 1, inner: len, activation: Activation::None };
        l.call(scale, vec![product, number(self.alpha), number(0.0)], Slot::Output(0));
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let last = flow.outputs[0].shape.len().saturating_sub(1);
        let weights = if self.trans_b { [1, 0] } else { [0, 1] };
        let x_axis = flow.inputs.get(0)?.shape.len() - 1;
        if self.is_layer(&flow.inputs) && flow.weighted(x_axis, weights, last) {
            return Ok(());
        }
        let (mut a, mut b, output) = self.product(&flow.inputs)?.terms();
        for (indices, turned) in [(&mut a, self.trans_a), (&mut b, self.trans_b)] {
            let rank = indices.len();
            if turned && rank > 1 {
                indices.swap(rank - 2, rank - 1);
            }
        }
        flow.product(&a, &b, &output);
        Ok(())
    }

    fn contribution(&self, inputs: &Inputs, constants: &[Option<ChannelConstant>]) -> Option<Contribution> {
        let p = self.product(inputs).ok().filter(|_| self.is_layer(inputs))?;
        rows_contribution(vec![0.0; p.n], inputs, self.alpha, self.trans_b, constants)
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> u64 {
        self.product(inputs).map_or(0, |p| (p.batch * p.m * p.k * p.n) as u64)
    }

    fn layer(&self) -> Option<Layer> {
        let layer = Layer {
            weight: 1,
            filters: usize::from(!self.trans_b),
            channels: -1,
            groups: 1,
            transposed: false,
            bias: None,
            plain: self.alpha == 1.0,
            gates: None,
        };
        (!self.trans_a).then_some(layer)
    }

    fn fuses_scale_shift(&self, inputs: &Inputs) -> bool {
        // In higher ranks, the channels of a following BatchNormalization are not on the last axis.
        inputs.optional(0).is_some_and(|a| a.shape.len() == 2)
            && self.is_layer(inputs)
            && self.product(inputs).is_ok_and(|p| p.b_shared() && !p.b_vector)
    }
}

/// The sizes of a matrix product by NumPy's rules.
struct Product {
    batch_shape: Vec<usize>,
    a_batch: Vec<usize>,
    b_batch: Vec<usize>,
    batch: usize,
    a_batches: usize,
    b_batches: usize,
    m: usize,
    k: usize,
    n: usize,
    a_vector: bool,
    b_vector: bool,
}

impl Product {
    /// Finds the sizes for factors of these shapes.
    fn of(a: &[usize], b: &[usize]) -> Result<Self> {
        let misfit = || {
            Error::new("the operands of a MatMul do not fit")
                .expected("equal inner dimensions")
                .got(format!("{} and {}", show(a), show(b)))
                .with_kind(ErrorKind::InvalidModel)
        };
        let (a_vector, b_vector) = (a.len() == 1, b.len() == 1);
        let full_a = if a_vector { vec![1, a[0]] } else { a.to_vec() };
        let full_b = if b_vector { vec![b[0], 1] } else { b.to_vec() };
        let ([batch_a @ .., m, k], [batch_b @ .., kb, n]) = (full_a.as_slice(), full_b.as_slice()) else {
            return Err(misfit());
        };
        if k != kb {
            return Err(misfit());
        }
        let batch_shape = broadcast(batch_a, batch_b)?;
        let count = |s: &[usize]| s.iter().product::<usize>();
        let (a_batches, b_batches, batch) = (count(batch_a), count(batch_b), count(&batch_shape));
        let (m, k, n, a_batch, b_batch) = (*m, *k, *n, batch_a.to_vec(), batch_b.to_vec());
        Ok(Self { batch_shape, a_batch, b_batch, batch, a_batches, b_batches, m, k, n, a_vector, b_vector })
    }

    /// Numbers the index of each axis of A, B and the product, as [`Propagation::product`] expects.
    ///
    /// Batch indices come first, then those of rows, the sum and columns. An axis of size 1 that the product repeats has
    /// an index of its own.
    fn terms(&self) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
        let (rank, [m, k, n]) = (self.batch_shape.len(), [0, 1, 2].map(|i| 2 * self.batch_shape.len() + i));
        let batch = |own: &[usize], alone: usize| -> Vec<usize> {
            let lead = rank - own.len();
            let number = |(i, &size): (usize, &usize)| {
                if size == self.batch_shape[lead + i] { lead + i } else { alone + lead + i }
            };
            own.iter().enumerate().map(number).collect()
        };
        let (mut a, mut b) = (batch(&self.a_batch, rank), batch(&self.b_batch, rank));
        let mut output: Vec<usize> = (0..rank).collect();
        a.extend([m, k].into_iter().skip(usize::from(self.a_vector)));
        b.extend([k, n].into_iter().take(2 - usize::from(self.b_vector)));
        output.extend((!self.a_vector).then_some(m));
        output.extend((!self.b_vector).then_some(n));
        (a, b, output)
    }

    /// Returns whether all rows of A are multiplied by one matrix B.
    fn b_shared(&self) -> bool {
        self.b_batches == 1 && self.a_batches == self.batch
    }
}

/// Emits m rows times weights [n, k] plus bias, as a 1×1 convolution whose batch is the rows.
fn emit_rows(
    l: &mut Lowering,
    weights: Arc<Vec<f32>>,
    bias: Arc<Vec<f32>>,
    (m, k, n): (usize, usize, usize),
) -> Result<()> {
    let (weights, bias) = fold(l, weights, bias);
    emit_slots(l, weights, bias, (m, k, n));
    Ok(())
}

/// Emits the product of the first input's rows with weights `[n, k]`, plus a bias `[n]`.
fn emit_slots(l: &mut Lowering, weights: Slot, bias: Slot, (m, k, n): (usize, usize, usize)) {
    let kernel = ConvKernel {
        batch: m,
        groups: 1,
        in_channels: k,
        out_channels: n,
        windows: Windows::points([1, 1]),
        out_offset: 0,
        out_total: n,
        residual: false,
        activation: l.fused.activation,
    };
    split_filters(l, kernel, (Slot::Input(0), weights, bias), Slot::Output(0));
}

/// Returns the contribution of constant columns of A to the columns of A·B, for a constant matrix B.
fn rows_contribution(
    bias: Vec<f64>,
    inputs: &Inputs,
    alpha: f64,
    trans_b: bool,
    constants: &[Option<ChannelConstant>],
) -> Option<Contribution> {
    let weights = inputs.optional(1)?.value.as_ref()?.floats().ok()?;
    let (n, point) = (bias.len(), TapShares::point());
    let mut sum = Contribution::new(bias);
    for (i, &w) in weights.iter().enumerate() {
        let (row, column) = if trans_b { (i % constants.len(), i / constants.len()) } else { (i / n, i % n) };
        sum.add(column, constants[row], std::iter::once(alpha * f64::from(w)), &point);
    }
    Some(sum)
}

fn transpose(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| (0..rows).map(move |r| matrix[r * columns + c])).collect()
}

fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}
