//! Normalizations by statistics of the input: InstanceNormalization, GroupNormalization, LayerNormalization,
//! RMSNormalization, MeanVarianceNormalization, LpNormalization.
//!
//! They mix the axes over which they normalize, so that channels along these axes are coupled.

use std::sync::Arc;

use super::axes::split_at_channels;
use super::data_movement::strided;
use super::lower::{Lowering, Slot};
use super::{Build, Operator, Rewrite};
use crate::coupling::{ChannelLabels, FROZEN, Inexact, Propagation};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis, broadcast};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Affine;
use crate::kernels::elementwise::Unary;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::kernels::normalization::Normalize;
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::tensor::{show, strides};

/// Emits the scale and bias of each channel, 1 and 0 if absent.
///
/// # Errors
/// Scale or bias of another length.
fn emit_affine(l: &mut Lowering, (outer, channels, inner): (usize, usize, usize), from: Slot) -> Result<()> {
    let one = |l: &Lowering, i: usize, default: f32| match l.inputs.optional(i) {
        Some(fact) if fact.shape.iter().product::<usize>() == channels => Ok(Slot::Input(i)),
        Some(fact) => Err(Error::new("scale or bias does not fit the channels")
            .expected(channels.to_string())
            .got(show(&fact.shape))
            .invalid_model()),
        None => Ok(Slot::Constant(Arc::new(vec![default; channels]))),
    };
    let (scale, bias) = (one(l, 1, 1.0)?, one(l, 2, 0.0)?);
    let kernel = Affine { outer, channels, inner, activation: Activation::None };
    l.call(kernel, vec![from, scale, bias], Slot::Output(0));
    Ok(())
}

/// Aligns scale and bias with axis `along` of `x`, or freezes both if they are computed.
fn label_parameters(flow: &mut Propagation, x: &ChannelLabels, along: usize) {
    for i in [1, 2] {
        if flow.is_constant(i) {
            flow.label_per_channel(i, 0, x, along);
        } else {
            let own = flow.input_labels(i);
            flow.freeze(own.labels(), "is a computed scale or bias");
            flow.freeze(x.labels(), "has a computed scale or bias");
        }
    }
}

#[derive(Debug)]
struct InstanceNorm {
    epsilon: f32,
}

/// Builds InstanceNormalization: normalizes each channel of each image.
pub(super) fn instance_norm(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(InstanceNorm { epsilon: build.attrs.float_or("epsilon", 1e-5)? }))
}

impl Operator for InstanceNorm {
    fn parameters(&self) -> Vec<usize> {
        vec![1, 2]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        split_at_channels(&inputs.get(0)?.shape)?;
        let x = inputs.get(0)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (n, c, inner) = split_at_channels(&l.inputs.get(0)?.shape)?;
        let normal = l.temp(n * c * inner);
        let kernel = Normalize { rows: n * c, len: inner, epsilon: self.epsilon, centred: true };
        l.call(kernel, vec![Slot::Input(0)], normal.clone());
        emit_affine(l, (n, c, inner), normal)
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let plane: Vec<usize> = (2..x.shape.len()).collect();
        flow.mix(&x, &plane, Inexact::Passes, "normalises over all channels");
        label_parameters(flow, &x, 1);
        flow.set_output(0, x);
        Ok(())
    }

    /// Returns the bias, unless ε is so small that rounding errors of the mean count.
    fn normalized_constants(&self, inputs: &Inputs) -> Option<Vec<f64>> {
        let parameter = |i: usize| Some(inputs.optional(i)?.value.as_ref()?.to_f64());
        parameter(1).and(parameter(2)).filter(|_| self.epsilon >= 1e-6)
    }
}

#[derive(Debug)]
struct GroupNorm {
    epsilon: f32,
    groups: usize,
    /// True before opset 21, when scale and bias have one element for each group.
    by_group: bool,
}

/// Builds GroupNormalization: normalizes groups of channels of each image.
pub(super) fn group_norm(build: &Build) -> Result<Box<dyn Operator>> {
    let groups = build.attrs.int_or("num_groups", 0)?;
    let groups = usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| {
        Error::new("the attribute num_groups does not fit")
            .expected("1 or more")
            .got(groups.to_string())
            .invalid_model()
    })?;
    Ok(Box::new(GroupNorm {
        epsilon: build.attrs.float_or("epsilon", 1e-5)?,
        groups,
        by_group: build.opset < 21,
    }))
}

impl Operator for GroupNorm {
    fn parameters(&self) -> Vec<usize> {
        vec![1, 2]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (_, c, _) = split_at_channels(&inputs.get(0)?.shape)?;
        if c % self.groups != 0 {
            return Err(Error::new("channels that num_groups does not divide")
                .expected(format!("a multiple of {}", self.groups))
                .got(c.to_string())
                .with_kind(ErrorKind::InvalidModel));
        }
        let x = inputs.get(0)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (n, c, inner) = split_at_channels(&l.inputs.get(0)?.shape)?;
        let len = c / self.groups * inner;
        let normal = l.temp(n * c * inner);
        let kernel = Normalize { rows: n * self.groups, len, epsilon: self.epsilon, centred: true };
        l.call(kernel, vec![Slot::Input(0)], normal.clone());
        let layout = if self.by_group { (n, self.groups, len) } else { (n, c, inner) };
        emit_affine(l, layout, normal)
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        // Viewed as groups × channels of a group, one of the two axes shrinks.
        let labels = flow.axis_labels(0, 1);
        let each = labels.len() / self.groups;
        let x = ChannelLabels::full(&[self.groups, each], labels.clone());
        flow.mix(&x, &[1], Inexact::Passes, "normalises over all channels");
        flow.keep_rectangular(&x);
        if self.by_group {
            label_parameters(flow, &x, 0);
        } else {
            label_parameters(flow, &ChannelLabels::along(&[labels.len()], 0, &labels), 0);
        }
        flow.set_output_along(0, 1, &labels);
        Ok(())
    }

    /// Adapts the number of groups if whole groups are removed, not if each group loses equally many channels.
    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let kept = r.kept_outputs(0, 1);
        let each = kept.len() / self.groups;
        let left = |group: &[bool]| group.iter().filter(|&&k| k).count();
        let groups: Vec<usize> = kept.chunks(each.max(1)).map(left).filter(|&n| n > 0).collect();
        if groups.len() != self.groups {
            r.set_int("num_groups", groups.len() as i64);
        }
        match groups.first() {
            Some(first) if groups.iter().any(|n| n != first) => {
                Err(Error::new("the groups of a normalization would differ in size")
                    .got(format!("{groups:?}"))
                    .internal())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct LayerNorm {
    epsilon: f32,
    axis: i64,
    centred: bool,
}

/// Builds LayerNormalization: normalizes over trailing axes.
pub(super) fn layer_norm(build: &Build) -> Result<Box<dyn Operator>> {
    layer(build, true)
}

/// Builds RMSNormalization: divides by the root mean square over trailing axes.
pub(super) fn rms_norm(build: &Build) -> Result<Box<dyn Operator>> {
    layer(build, false)
}

fn layer(build: &Build, centred: bool) -> Result<Box<dyn Operator>> {
    Ok(Box::new(LayerNorm {
        epsilon: build.attrs.float_or("epsilon", 1e-5)?,
        axis: build.attrs.int_or("axis", -1)?,
        centred,
    }))
}

impl LayerNorm {
    /// Emits the mean and the inverse standard deviation of each row, outputs 1 and 2.
    fn emit_statistics(&self, l: &mut Lowering, rows: usize, len: usize) -> Result<()> {
        let join = |op, a: &[usize], b: &[usize], activation| {
            BinaryKernel::new(op, a, b, activation)
                .ok_or_else(|| Error::new("rows that do not broadcast").internal())
        };
        let mean = |l: &mut Lowering, from: Slot, to: Slot| {
            l.call(ReduceKernel { op: ReduceOp::Mean, outer: rows, axis: len, inner: 1 }, vec![from], to);
        };
        mean(l, Slot::Input(0), Slot::Output(1));
        let [centred, squares] = [(); 2].map(|()| l.temp(rows * len));
        let [variance, deviation] = [(); 2].map(|()| l.temp(rows));
        let (whole, row) = ([rows, len], [rows, 1]);
        l.call(
            join(BinaryOp::Sub, &whole, &row, Activation::None)?,
            vec![Slot::Input(0), Slot::Output(1)],
            centred.clone(),
        );
        l.call(
            join(BinaryOp::Mul, &whole, &whole, Activation::None)?,
            vec![centred.clone(), centred],
            squares.clone(),
        );
        mean(l, squares, variance.clone());
        let epsilon = Slot::Constant(Arc::new(vec![self.epsilon]));
        let root = join(BinaryOp::Add, &[rows], &[1], Activation::Sqrt)?;
        l.call(root, vec![variance, epsilon], deviation.clone());
        l.call(Unary { len: rows, activation: Activation::Reciprocal }, vec![deviation], Slot::Output(2));
        Ok(())
    }
}

impl Operator for LayerNorm {
    fn parameters(&self) -> Vec<usize> {
        vec![1, 2]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let at = axis(self.axis, x.shape.len())?;
        for i in 1..inputs.facts.len() {
            if let Some(fact) = inputs.optional(i)
                && broadcast(&x.shape, &fact.shape)? != x.shape
            {
                return Err(Error::new("scale or bias does not broadcast to the input")
                    .expected(show(&x.shape))
                    .got(show(&fact.shape))
                    .with_kind(ErrorKind::InvalidModel));
            }
        }
        // The optional outputs, mean and inverse standard deviation, have one element for each row.
        let mut row = x.shape.clone();
        row[at..].fill(1);
        Ok(vec![x.with_shape(&x.shape), x.with_shape(&row), x.with_shape(&row)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let shape = l.inputs.get(0)?.shape.clone();
        let at = axis(self.axis, shape.len())?;
        let (rows, len) = (shape[..at].iter().product::<usize>(), shape[at..].iter().product::<usize>());
        if l.outputs.len() > 1 {
            self.emit_statistics(l, rows, len)?;
        }
        let steps: Vec<(usize, BinaryOp)> = [(1, BinaryOp::Mul), (2, BinaryOp::Add)]
            .into_iter()
            .filter(|&(i, _)| l.inputs.optional(i).is_some())
            .collect();
        let target = |l: &mut Lowering, last: bool| if last { Slot::Output(0) } else { l.temp(rows * len) };
        let mut from = target(l, steps.is_empty());
        let kernel = Normalize { rows, len, epsilon: self.epsilon, centred: self.centred };
        l.call(kernel, vec![Slot::Input(0)], from.clone());
        for (k, &(i, op)) in steps.iter().enumerate() {
            let to = target(l, k + 1 == steps.len());
            let kernel = BinaryKernel::new(op, &shape, &l.inputs.get(i)?.shape, Activation::None)
                .ok_or_else(|| Error::new("scale or bias does not broadcast to the input").internal())?;
            l.call(kernel, vec![from, Slot::Input(i)], to.clone());
            from = to;
        }
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let over: Vec<usize> = (axis(self.axis, x.shape.len())?..x.shape.len()).collect();
        flow.mix(&x, &over, Inexact::Passes, "normalises over all channels");
        flow.pointwise();
        for k in 1..flow.outputs.len() {
            let frozen = ChannelLabels::uniform(&flow.outputs[k].shape, FROZEN);
            flow.freeze(x.labels(), "its statistics are read");
            flow.set_output(k, frozen);
        }
        Ok(())
    }
}

/// The normalizations over any axes, without scale and bias.
#[derive(Debug)]
enum AxisNorm {
    /// MeanVarianceNormalization, by default over all axes except the channels.
    MeanVariance { axes: Vec<i64> },
    /// LpNormalization along one axis, by the L1 or L2 norm.
    Lp { axis: i64, op: ReduceOp },
}

/// Builds MeanVarianceNormalization: normalizes over the given axes.
pub(super) fn mean_variance_norm(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(AxisNorm::MeanVariance { axes: build.attrs.ints("axes")?.unwrap_or(vec![0, 2, 3]) }))
}

/// Builds LpNormalization: divides by the L1 or L2 norm along an axis.
pub(super) fn lp_norm(build: &Build) -> Result<Box<dyn Operator>> {
    let op = match build.attrs.int_or("p", 2)? {
        1 => ReduceOp::L1,
        2 => ReduceOp::L2,
        p => {
            return Err(Error::new("an unknown p of LpNormalization")
                .expected("1 or 2")
                .got(p.to_string())
                .invalid_model());
        }
    };
    Ok(Box::new(AxisNorm::Lp { axis: build.attrs.int_or("axis", -1)?, op }))
}

impl AxisNorm {
    fn axes(&self, rank: usize) -> Result<Vec<usize>> {
        match self {
            Self::MeanVariance { axes } => axes.iter().map(|&a| axis(a, rank)).collect(),
            Self::Lp { axis: a, .. } => Ok(vec![axis(*a, rank)?]),
        }
    }
}

impl Operator for AxisNorm {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        self.axes(x.shape.len())?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let shape = l.inputs.get(0)?.shape.clone();
        let over = self.axes(shape.len())?;
        // One copy moves the normalized axes to the end, another one moves them back.
        let kept = (0..shape.len()).filter(|a| !over.contains(a));
        let order: Vec<usize> = kept.chain(over.iter().copied()).collect();
        let moved: Vec<usize> = order.iter().map(|&a| shape[a]).collect();
        let len: usize = shape.iter().product();
        let row: usize = over.iter().map(|&a| shape[a]).product();
        let in_order = order.windows(2).all(|w| w[0] < w[1]);
        let from: Vec<isize> = order.iter().map(|&a| strides(&shape)[a]).collect();
        let (source, target) =
            if in_order { (Slot::Input(0), Slot::Output(0)) } else { (l.temp(len), l.temp(len)) };
        if !in_order {
            let copy = strided(&moved, (len, 0, from.clone()), (len, 0, strides(&moved)))?;
            l.call(copy, vec![Slot::Input(0)], source.clone());
        }
        let rows = len / row.max(1);
        match self {
            Self::MeanVariance { .. } => {
                // The standard adds 1e-9 to the standard deviation; the square of that is added to the variance.
                let kernel = Normalize { rows, len: row, epsilon: 1e-18, centred: true };
                l.call(kernel, vec![source], target.clone());
            }
            Self::Lp { op, .. } => {
                let norm = l.temp(rows);
                let kernel = ReduceKernel { op: *op, outer: rows, axis: row, inner: 1 };
                l.call(kernel, vec![source.clone()], norm.clone());
                // A row of zeros is divided by the least positive number, and stays zero.
                let least = l.temp(rows);
                let floor = Slot::Constant(Arc::new(vec![f32::MIN_POSITIVE]));
                let at_least = BinaryKernel::new(BinaryOp::Max, &[rows], &[1], Activation::None);
                let divide = BinaryKernel::new(BinaryOp::Div, &[rows, row], &[rows, 1], Activation::None);
                let (Some(at_least), Some(divide)) = (at_least, divide) else {
                    return Err(Error::new("rows that do not broadcast").internal());
                };
                l.call(at_least, vec![norm, floor], least.clone());
                l.call(divide, vec![source, least], target.clone());
            }
        }
        if !in_order {
            let copy = strided(&moved, (len, 0, strides(&moved)), (len, 0, from))?;
            l.call(copy, vec![target], Slot::Output(0));
        }
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let over = self.axes(x.shape.len())?;
        flow.mix(&x, &over, Inexact::Passes, "normalises over all channels");
        flow.set_output(0, x);
        Ok(())
    }
}
