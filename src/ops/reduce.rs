//! Reductions over axes, Softmax and LogSoftmax.

use std::sync::Arc;

use super::data_movement::strided;
use super::lower::{Lowering, Slot};
use super::{Build, Constancy, Operator};
use crate::coupling::{ChannelLabels, FROZEN, Inexact, Propagation, for_each_index};
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Unary;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::kernels::normalization::SoftmaxKernel;
use crate::kernels::reduction::Arg;
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::tensor::{DType, strides};

#[derive(Debug)]
struct Reduce {
    op: ReduceOp,
    /// The functions before and after the reduction.
    around: Around,
    axes: Option<Vec<i64>>,
    keep_dims: bool,
    empty_axes_is_noop: bool,
}

#[derive(Debug)]
struct Softmax {
    axis: i64,
    /// True before opset 13, when the axes from `axis` on are flattened into one.
    flatten: bool,
    kind: SoftmaxKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SoftmaxKind {
    Plain,
    Log,
    /// 1 for the first of the largest elements, 0 for the others.
    Hard,
}

/// The functions before and after a reduction.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Around {
    Nothing,
    /// The logarithm of the sum.
    Log,
    /// The logarithm of the sum of exponentials, shifted by the maximum for numerical stability.
    LogExp,
}

fn reduce(build: &Build, op: ReduceOp) -> Result<Box<dyn Operator>> {
    reduce_around(build, op, Around::Nothing)
}

fn reduce_around(build: &Build, op: ReduceOp, around: Around) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Reduce {
        op,
        around,
        axes: build.attrs.ints("axes")?,
        keep_dims: build.attrs.int_or("keepdims", 1)? != 0,
        empty_axes_is_noop: build.attrs.int_or("noop_with_empty_axes", 0)? != 0,
    }))
}

/// Builds ReduceMean: the mean over axes.
pub(super) fn reduce_mean(build: &Build) -> Result<Box<dyn Operator>> {
    reduce(build, ReduceOp::Mean)
}

/// Builds ReduceSum: the sum over axes.
pub(super) fn reduce_sum(build: &Build) -> Result<Box<dyn Operator>> {
    reduce(build, ReduceOp::Sum)
}

/// Builds ReduceMax: the maximum over axes.
pub(super) fn reduce_max(build: &Build) -> Result<Box<dyn Operator>> {
    reduce(build, ReduceOp::Max)
}

/// Builds ReduceMin: the minimum over axes.
pub(super) fn reduce_min(build: &Build) -> Result<Box<dyn Operator>> {
    reduce(build, ReduceOp::Min)
}

/// Builds ReduceProd: the product over axes.
pub(super) fn reduce_prod(build: &Build) -> Result<Box<dyn Operator>> {
    reduce(build, ReduceOp::Prod)
}

/// Builds ReduceL2: the square root of the sum of squares over axes.
pub(super) fn reduce_l2(build: &Build) -> Result<Box<dyn Operator>> {
    reduce(build, ReduceOp::L2)
}

/// Builds ReduceL1: the sum of absolute values over axes.
pub(super) fn reduce_l1(build: &Build) -> Result<Box<dyn Operator>> {
    reduce(build, ReduceOp::L1)
}

/// Builds ReduceSumSquare: the sum of squares over axes.
pub(super) fn reduce_sum_square(build: &Build) -> Result<Box<dyn Operator>> {
    reduce(build, ReduceOp::SumSquare)
}

/// Builds ReduceLogSum: the logarithm of the sum over axes.
pub(super) fn reduce_log_sum(build: &Build) -> Result<Box<dyn Operator>> {
    reduce_around(build, ReduceOp::Sum, Around::Log)
}

/// Builds ReduceLogSumExp: the logarithm of the sum of exponentials over axes.
pub(super) fn reduce_log_sum_exp(build: &Build) -> Result<Box<dyn Operator>> {
    reduce_around(build, ReduceOp::Sum, Around::LogExp)
}

fn softmax_of(build: &Build, kind: SoftmaxKind) -> Result<Box<dyn Operator>> {
    let flatten = build.opset < 13;
    let axis = build.attrs.int_or("axis", if flatten { 1 } else { -1 })?;
    Ok(Box::new(Softmax { axis, flatten, kind }))
}

/// Builds Hardmax: 1 for the first of the largest elements along an axis, else 0.
pub(super) fn hardmax(build: &Build) -> Result<Box<dyn Operator>> {
    softmax_of(build, SoftmaxKind::Hard)
}

/// Builds Softmax: exponentials along an axis, normalized to sum 1.
pub(super) fn softmax(build: &Build) -> Result<Box<dyn Operator>> {
    softmax_of(build, SoftmaxKind::Plain)
}

/// Builds LogSoftmax: the logarithm of the softmax along an axis.
pub(super) fn log_softmax(build: &Build) -> Result<Box<dyn Operator>> {
    softmax_of(build, SoftmaxKind::Log)
}

impl Reduce {
    /// Returns for each axis whether it is reduced.
    fn reduced(&self, inputs: &Inputs) -> Result<Vec<bool>> {
        let rank = inputs.get(0)?.shape.len();
        let axes = match &self.axes {
            Some(axes) => Some(axes.clone()),
            None => inputs.ints(1, "the axes of a reduction")?,
        };
        let mut reduced = vec![false; rank];
        match axes {
            Some(axes) if !axes.is_empty() => {
                for a in axes {
                    reduced[axis(a, rank)?] = true;
                }
            }
            _ => reduced.fill(!self.empty_axes_is_noop),
        }
        Ok(reduced)
    }

    /// Emits the reduction of `source` with the functions before and after.
    fn emit(&self, l: &mut Lowering, kernel: ReduceKernel, source: Slot) -> Result<()> {
        let [whole, less] = [[kernel.outer, kernel.axis, kernel.inner], [kernel.outer, 1, kernel.inner]];
        let [len, count] = [whole, less].map(|s| s.iter().product::<usize>());
        let log = || Unary { len: count, activation: Activation::Log };
        let join = |op, a: &[usize], b: &[usize], activation| {
            BinaryKernel::new(op, a, b, activation)
                .ok_or_else(|| Error::new("shapes that do not broadcast").internal())
        };
        match self.around {
            // The maximum of an empty axis is false, not minus infinity.
            Around::Nothing if l.outputs[0].dtype == DType::Bool => {
                let most = l.temp(count);
                l.call(kernel, vec![source], most.clone());
                let truth = Unary { len: count, activation: Activation::Clip(0.0, 1.0) };
                l.call(truth, vec![most], Slot::Output(0));
            }
            Around::Nothing => l.call(kernel, vec![source], Slot::Output(0)),
            Around::Log => {
                let sum = l.temp(count);
                l.call(kernel, vec![source], sum.clone());
                l.call(log(), vec![sum], Slot::Output(0));
            }
            Around::LogExp => {
                let (most, powers) = (l.temp(count), l.temp(len));
                let [sum, logs] = [(); 2].map(|()| l.temp(count));
                l.call(
                    ReduceKernel { op: ReduceOp::Max, ..kernel.clone() },
                    vec![source.clone()],
                    most.clone(),
                );
                let shifted = join(BinaryOp::Sub, &whole, &less, Activation::Exp)?;
                l.call(shifted, vec![source, most.clone()], powers.clone());
                l.call(kernel, vec![powers], sum.clone());
                l.call(log(), vec![sum], logs.clone());
                let back = join(BinaryOp::Add, &less, &less, Activation::None)?;
                l.call(back, vec![logs, most], Slot::Output(0));
            }
        }
        Ok(())
    }
}

impl Operator for Reduce {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let reduced = self.reduced(inputs)?;
        let shape: Vec<usize> = x
            .shape
            .iter()
            .zip(&reduced)
            .filter(|&(_, &r)| self.keep_dims || !r)
            .map(|(&d, &r)| if r { 1 } else { d })
            .collect();
        Ok(vec![x.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = l.inputs.get(0)?.shape.clone();
        let reduced = self.reduced(&l.inputs)?;
        let product = |range: &[usize]| range.iter().product::<usize>();
        let (first, last) = (reduced.iter().position(|&r| r), reduced.iter().rposition(|&r| r));
        let (Some(first), Some(last)) = (first, last) else {
            // Without reduced axes, each element is reduced by itself, for example to its square.
            let alone = ReduceKernel { op: self.op, outer: product(&x), axis: 1, inner: 1 };
            return self.emit(l, alone, Slot::Input(0));
        };
        if reduced[first..=last].iter().all(|&r| r) {
            let kernel = ReduceKernel {
                op: self.op,
                outer: product(&x[..first]),
                axis: product(&x[first..=last]),
                inner: product(&x[last + 1..]),
            };
            return self.emit(l, kernel, Slot::Input(0));
        }
        // A copy moves reduced axes that are not adjacent to the end.
        let order: Vec<usize> =
            (0..x.len()).filter(|&a| !reduced[a]).chain((0..x.len()).filter(|&a| reduced[a])).collect();
        let shape: Vec<usize> = order.iter().map(|&a| x[a]).collect();
        let from = strides(&x);
        let len = product(&x);
        let temp = l.temp(len);
        let copy =
            strided(&shape, (len, 0, order.iter().map(|&a| from[a]).collect()), (len, 0, strides(&shape)))?;
        l.call(copy, vec![Slot::Input(0)], temp.clone());
        let outer = (0..x.len()).filter(|&a| !reduced[a]).map(|a| x[a]).product::<usize>();
        let kernel = ReduceKernel { op: self.op, outer, axis: len / outer.max(1), inner: 1 };
        self.emit(l, kernel, temp)
    }

    fn constancy(&self, inputs: &Inputs, channels: &[usize]) -> Constancy {
        let Ok(reduced) = self.reduced(inputs) else { return Constancy::Lost };
        let within = channels.iter().all(|&a| !reduced[a]) && self.around == Around::Nothing;
        match self.op {
            ReduceOp::Mean | ReduceOp::Max | ReduceOp::Min if within => Constancy::Passed,
            _ => Constancy::Lost,
        }
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let reduced = self.reduced(&flow.inputs)?;
        let x = flow.input_labels(0);
        let over: Vec<usize> = (0..reduced.len()).filter(|&a| reduced[a]).collect();
        let shape = flow.outputs[0].shape.clone();
        if flow.mix(&x, &over, Inexact::Ends, "reduces over all channels") {
            flow.set_output(0, ChannelLabels::uniform(&shape, FROZEN));
            return Ok(());
        }
        // Each remaining element has the first label of those that it was reduced from.
        let kept: Vec<usize> = x.shape.iter().zip(&reduced).map(|(&d, &r)| if r { 1 } else { d }).collect();
        let mut labels = Vec::new();
        for_each_index(&kept, |index| labels.push(x.at(index)));
        flow.set_output(0, ChannelLabels::full(&shape, labels));
        Ok(())
    }
}

impl Softmax {
    /// Returns the extents (outer, axis, inner) of a shape.
    fn sizes(&self, shape: &[usize]) -> Result<(usize, usize, usize)> {
        let product = |range: &[usize]| range.iter().product::<usize>();
        if self.flatten {
            let at =
                if self.axis == shape.len() as i64 { shape.len() } else { axis(self.axis, shape.len())? };
            return Ok((product(&shape[..at]), product(&shape[at..]), 1));
        }
        let at = axis(self.axis, shape.len())?;
        Ok((product(&shape[..at]), shape[at], product(&shape[at + 1..])))
    }

    fn mixes(&self, shape: &[usize], a: usize) -> bool {
        let at = axis(self.axis, shape.len()).unwrap_or(0);
        if self.flatten { a >= at } else { a == at }
    }
}

impl Operator for Softmax {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        self.sizes(&x.shape)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (outer, axis, inner) = self.sizes(l.shape(0))?;
        if self.kind == SoftmaxKind::Hard {
            let largest = l.temp(outer * inner);
            let arg = Arg { outer, axis, inner, least: false, last: false };
            l.call(arg, vec![Slot::Input(0)], largest.clone());
            let indices = Slot::Constant(Arc::new((0..axis).map(|i| i as f32).collect()));
            let (one, all) = ([outer, 1, inner], [1, axis, 1]);
            let equal = BinaryKernel::new(BinaryOp::Equal, &one, &all, Activation::None)
                .ok_or_else(|| Error::new("shapes that do not broadcast").internal())?;
            l.call(equal, vec![largest, indices], Slot::Output(0));
            return Ok(());
        }
        let log = self.kind == SoftmaxKind::Log;
        l.call(SoftmaxKernel { outer, axis, inner, log }, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let over: Vec<usize> = (0..x.shape.len()).filter(|&a| self.mixes(&x.shape, a)).collect();
        // The largest element without some channels is another one, not nearly the same.
        let inexact = if self.kind == SoftmaxKind::Hard { Inexact::Never } else { Inexact::Passes };
        flow.mix(&x, &over, inexact, "softmax mixes all channels");
        flow.set_output(0, x);
        Ok(())
    }
}
