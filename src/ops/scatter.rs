//! The operators GatherElements, GatherND, ScatterElements and ScatterND.
//!
//! With constant indices, each of them is one gather from a flat array, by a table with the source of every output
//! element.

use std::sync::Arc;

use super::axes::{MOST_INDICES, split_at_axis};
use super::data_movement::strided;
use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::coupling::{ChannelLabels, FROZEN, Inexact, Propagation, for_each_index};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis, index as position};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::kernels::movement::Fill;
use crate::kernels::movement::{GatherKernel, ScatterKernel};
use crate::tensor::{show, strides};

/// The function that combines an update with the element it meets, and its neutral element.
///
/// `None` if the update replaces the element.
type Reduction = Option<(BinaryOp, f32)>;

fn reduction(build: &Build) -> Result<Reduction> {
    match build.attrs.string("reduction")?.as_deref() {
        None | Some("none") => Ok(None),
        Some("add") => Ok(Some((BinaryOp::Add, 0.0))),
        Some("mul") => Ok(Some((BinaryOp::Mul, 1.0))),
        Some("max") => Ok(Some((BinaryOp::Max, f32::NEG_INFINITY))),
        Some("min") => Ok(Some((BinaryOp::Min, f32::INFINITY))),
        Some(other) => Err(Error::new("an unknown reduction of a scatter")
            .expected("none, add, mul, max or min")
            .got(other.to_owned())
            .invalid_model()),
    }
}

#[derive(Debug)]
struct GatherElements {
    axis: i64,
}

/// Builds GatherElements: one element for each index along an axis.
pub(super) fn gather_elements(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(GatherElements { axis: build.attrs.int_or("axis", 0)? }))
}

impl Operator for GatherElements {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, indices) = (inputs.get(0)?, inputs.get(1)?);
        let at = axis(self.axis, x.shape.len())?;
        split_at_axis(&x.shape, at)?;
        let fits = x.shape.len() == indices.shape.len()
            && (0..x.shape.len()).all(|a| a == at || indices.shape[a] <= x.shape[a]);
        if !fits {
            return Err(Error::new("the indices of GatherElements do not fit")
                .expected(format!("{} except for axis {at}", show(&x.shape)))
                .got(show(&indices.shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(vec![x.with_shape(&indices.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (x, indices) = (l.inputs.get(0)?.shape.clone(), l.shape(0));
        let at = axis(self.axis, x.len())?;
        // Only the part of the tensor that the indices cover is used.
        let mut part = indices.to_vec();
        part[at] = x[at];
        let mut source = Slot::Input(0);
        if part != x {
            let (src, len) = (x.iter().product(), part.iter().product());
            source = l.temp(len);
            l.call(
                strided(&part, (src, 0, strides(&x)), (len, 0, strides(&part)))?,
                vec![Slot::Input(0)],
                source.clone(),
            );
        }
        let (outer, axis, inner) = split_at_axis(&part, at)?;
        let kernel = GatherKernel { outer, axis, count: indices[at], inner, own: true };
        l.call(kernel, vec![source, Slot::Input(1)], Slot::Output(0));
        Ok(())
    }

    /// Ties the data to the indices along all axes but the gathered one: positions there are those of the indices.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let at = axis(self.axis, x.shape.len())?;
        flow.mix(&x, &[at], Inexact::Never, "is indexed by numbers that do not follow a cut");
        let shape = flow.outputs[0].shape.clone();
        let data = x.along_others(&shape, &|axis| (axis != at).then_some(axis));
        let y = positional(flow, data, &[1]);
        flow.set_output(0, y);
        Ok(())
    }
}

/// Unites labels with those of the inputs `others`, of one shape, position by position, and returns them.
///
/// An input that is computed without labels has a size that stays. Constants lose the positions that the labels lose.
fn positional(flow: &mut Propagation, labels: ChannelLabels, others: &[usize]) -> ChannelLabels {
    for &i in others {
        if flow.is_constant(i) {
            for axis in (0..labels.shape.len()).filter(|&a| labels.shape[a] > 1) {
                flow.label_per_channel(i, axis, &labels, axis);
            }
            continue;
        }
        let own = flow.input_labels(i);
        if own.varying().is_empty() && own.labels().iter().all(|&l| l == FROZEN) {
            flow.freeze(labels.labels(), "takes elements at positions whose number stays");
        }
        let stored: Vec<usize> = (0..labels.shape.len())
            .map(|a| if labels.varies(a) || own.varies(a) { labels.shape[a] } else { 1 })
            .collect();
        for_each_index(&stored, |index| {
            flow.coupling.classes.unite(labels.at(index), own.at(index), flow.node.1);
        });
    }
    labels
}

/// Emits a flat gather from the elements of the data, followed by those of the updates.
///
/// # Errors
/// More elements than a table can address.
fn gather_flat(l: &mut Lowering, data: usize, updates: Option<usize>, table: Vec<usize>) -> Result<()> {
    let total = data + updates.unwrap_or(0);
    if total > MOST_INDICES {
        return Err(Error::new("a tensor with more elements than a table of indices can address")
            .expected(format!("at most {MOST_INDICES}"))
            .got(total.to_string())
            .unsupported());
    }
    let mut source = Slot::Input(0);
    if let Some(count) = updates {
        source = l.temp(total);
        l.call(
            strided(&[data], (data, 0, vec![1]), (total, 0, vec![1]))?,
            vec![Slot::Input(0)],
            source.clone(),
        );
        l.call(
            strided(&[count], (count, 0, vec![1]), (total, data, vec![1]))?,
            vec![Slot::Input(2)],
            source.clone(),
        );
    }
    let kernel = GatherKernel { outer: 1, axis: total, count: table.len(), inner: 1, own: false };
    let table = Slot::Constant(Arc::new(table.into_iter().map(|i| i as f32).collect()));
    l.call(kernel, vec![source, table], Slot::Output(0));
    Ok(())
}

/// Emits a scatter that combines updates with the elements they meet.
///
/// Several updates may meet one element. In each round, every element is combined with its next update, or with the
/// neutral element.
///
/// # Errors
/// More updates than a table can address.
fn scatter_reduce(l: &mut Lowering, len: usize, targets: &[usize], op: BinaryOp, neutral: f32) -> Result<()> {
    let count = targets.len();
    if count >= MOST_INDICES {
        return Err(Error::new("a scatter of more updates than a table of indices can address")
            .expected(format!("less than {MOST_INDICES}"))
            .got(count.to_string())
            .unsupported());
    }
    let mut met = vec![0; len];
    let mut rounds: Vec<Vec<f32>> = Vec::new();
    for (update, &target) in targets.iter().enumerate() {
        if met[target] == rounds.len() {
            rounds.push(vec![count as f32; len]);
        }
        rounds[met[target]][target] = update as f32;
        met[target] += 1;
    }
    // The updates, followed by the neutral element.
    let updates = l.temp(count + 1);
    l.call(Fill { len: count + 1, value: neutral }, vec![], updates.clone());
    let copy = strided(&[count], (count, 0, vec![1]), (count + 1, 0, vec![1]))?;
    l.call(copy, vec![Slot::Input(2)], updates.clone());
    let mut result = Slot::Input(0);
    let last = rounds.len();
    for (round, table) in rounds.into_iter().enumerate() {
        let met = l.temp(len);
        let gather = GatherKernel { outer: 1, axis: count + 1, count: len, inner: 1, own: false };
        l.call(gather, vec![updates.clone(), Slot::Constant(Arc::new(table))], met.clone());
        let join = BinaryKernel::new(op, &[len], &[len], Activation::None);
        let join = join.ok_or_else(|| Error::new("shapes that do not broadcast").internal())?;
        let target = if round + 1 == last { Slot::Output(0) } else { l.temp(len) };
        l.call(join, vec![result, met], target.clone());
        result = target;
    }
    if last == 0 {
        l.alias(0, Slot::Input(0));
    }
    Ok(())
}

#[derive(Debug)]
struct GatherNd {
    batch_dims: usize,
}

/// Builds GatherND: slices by tuples of indices.
pub(super) fn gather_nd(build: &Build) -> Result<Box<dyn Operator>> {
    let batch = build.attrs.int_or("batch_dims", 0)?;
    let batch_dims =
        usize::try_from(batch).map_err(|_| Error::new("a negative batch_dims").invalid_model())?;
    Ok(Box::new(GatherNd { batch_dims }))
}

impl GatherNd {
    /// Returns (number of batches, indexed axes, axes of a slice, output shape).
    fn split(&self, inputs: &Inputs) -> Result<(usize, Vec<usize>, Vec<usize>, Vec<usize>)> {
        let (x, indices) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        let misfit = || {
            Error::new("the indices of GatherND do not fit")
                .expected(format!("tuples over the axes of {} after {}", show(x), self.batch_dims))
                .got(show(indices))
                .with_kind(ErrorKind::InvalidModel)
        };
        let (&tuple, lead) = indices.split_last().ok_or_else(misfit)?;
        let b = self.batch_dims;
        if tuple == 0 || b > lead.len() || b + tuple > x.len() || x[..b] != lead[..b] {
            return Err(misfit());
        }
        let shape = [lead, &x[b + tuple..]].concat();
        Ok((x[..b].iter().product(), x[b..b + tuple].to_vec(), x[b + tuple..].to_vec(), shape))
    }
}

impl Operator for GatherNd {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        Ok(vec![inputs.get(0)?.with_shape(&self.split(inputs)?.3)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (batches, axes, rest, _) = self.split(&l.inputs)?;
        let indices = l.inputs.ints(1, "the indices of GatherND")?.unwrap_or_default();
        let (inner, steps) = (rest.iter().product::<usize>(), strides(&axes));
        let box_len = axes.iter().product::<usize>();
        let tuples = indices.len() / axes.len();
        let mut table = Vec::with_capacity(tuples * inner);
        for (t, tuple) in indices.chunks(axes.len()).enumerate() {
            let batch = t * batches / tuples.max(1);
            let mut at = batch * box_len;
            for ((&index, &size), &step) in tuple.iter().zip(&axes).zip(&steps) {
                at += position(index, size)? * step as usize;
            }
            table.extend(at * inner..(at + 1) * inner);
        }
        gather_flat(l, batches * box_len * inner, None, table)
    }

    /// Lets labels pass along batch axes and the axes of a slice; along indexed axes nothing can be removed.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let (_, indexed, _, shape) = self.split(&flow.inputs)?;
        let (batch, end) = (self.batch_dims, self.batch_dims + indexed.len());
        let over: Vec<usize> = (batch..end).collect();
        flow.mix(&x, &over, Inexact::Never, "is indexed by numbers that do not follow a cut");
        let lead = flow.inputs.get(1)?.shape.len() - 1;
        let y = x.along_others(&shape, &|axis| match axis {
            axis if axis < batch => Some(axis),
            axis if axis < lead => None,
            axis => Some(axis - lead + end),
        });
        for axis in 0..batch {
            flow.label_per_channel(1, axis, &y, axis);
        }
        flow.set_output(0, y);
        Ok(())
    }
}

/// Emits the data, in which elements at computed indices along axis `at` are replaced by the updates.
///
/// # Errors
/// Updates for a part of the data's other axes.
fn scatter_computed(l: &mut Lowering, at: usize) -> Result<()> {
    let (x, shape) = (&l.inputs.get(0)?.shape, &l.inputs.get(1)?.shape);
    if (0..x.len()).any(|a| a != at && shape[a] != x[a]) {
        return Err(Error::new("a scatter by computed indices to a part of its data is not supported")
            .expected(format!("{} except for axis {at}", show(x)))
            .got(show(shape))
            .unsupported());
    }
    let (outer, axis, inner) = split_at_axis(x, at)?;
    let len = x.iter().product();
    l.call(strided(&[len], (len, 0, vec![1]), (len, 0, vec![1]))?, vec![Slot::Input(0)], Slot::Output(0));
    let kernel = ScatterKernel { outer, axis, count: shape[at], inner, flat: false };
    l.call(kernel, vec![Slot::Input(2), Slot::Input(1)], Slot::Output(0));
    Ok(())
}

/// Emits the data, in which slices at computed indices along the first axis are replaced by the updates.
fn scatter_slices(l: &mut Lowering) -> Result<()> {
    let x = &l.inputs.get(0)?.shape;
    let (outer, axis, inner) = split_at_axis(x, 0)?;
    let count: usize = l.inputs.get(1)?.shape.iter().product();
    let len = x.iter().product();
    l.call(strided(&[len], (len, 0, vec![1]), (len, 0, vec![1]))?, vec![Slot::Input(0)], Slot::Output(0));
    // Each element of a slice needs the index of its slice.
    let indices = l.temp(count * inner);
    let repeat =
        strided(&[count, inner], (count, 0, vec![1, 0]), (count * inner, 0, vec![inner as isize, 1]))?;
    l.call(repeat, vec![Slot::Input(1)], indices.clone());
    let kernel = ScatterKernel { outer, axis, count, inner, flat: false };
    l.call(kernel, vec![Slot::Input(2), indices], Slot::Output(0));
    Ok(())
}

#[derive(Debug)]
enum ScatterIndices {
    /// One index along an axis for each update.
    Elements { axis: i64 },
    /// One tuple of indices for each slice of updates.
    Nd,
}

#[derive(Debug)]
struct Scatter {
    indices: ScatterIndices,
    reduction: Reduction,
}

/// Builds ScatterElements, or Scatter of old opsets: replaces elements by indices along an axis.
pub(super) fn scatter_elements(build: &Build) -> Result<Box<dyn Operator>> {
    let indices = ScatterIndices::Elements { axis: build.attrs.int_or("axis", 0)? };
    Ok(Box::new(Scatter { indices, reduction: reduction(build)? }))
}

/// Builds ScatterND: replaces slices by tuples of indices.
pub(super) fn scatter_nd(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Scatter { indices: ScatterIndices::Nd, reduction: reduction(build)? }))
}

impl Operator for Scatter {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, indices, updates) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let fits = match &self.indices {
            ScatterIndices::Elements { axis: a } => {
                let at = axis(*a, x.shape.len())?;
                indices.shape == updates.shape
                    && indices.shape.len() == x.shape.len()
                    && (0..x.shape.len()).all(|a| a == at || indices.shape[a] <= x.shape[a])
            }
            ScatterIndices::Nd => match indices.shape.split_last() {
                Some((&tuple, lead)) => {
                    tuple <= x.shape.len() && [lead, &x.shape[tuple..]].concat() == updates.shape
                }
                None => false,
            },
        };
        if !fits {
            return Err(Error::new("indices and updates of a scatter do not fit its data")
                .expected(show(&x.shape))
                .got(format!("indices {}, updates {}", show(&indices.shape), show(&updates.shape)))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (x, shape) = (l.inputs.get(0)?.shape.clone(), l.inputs.get(1)?.shape.clone());
        if let (ScatterIndices::Elements { axis: a }, None, None) =
            (&self.indices, &self.reduction, &l.inputs.get(1)?.value)
        {
            return scatter_computed(l, axis(*a, x.len())?);
        }
        let one_index = matches!(self.indices, ScatterIndices::Nd) && shape.last() == Some(&1);
        if one_index && self.reduction.is_none() && l.inputs.get(1)?.value.is_none() {
            return scatter_slices(l);
        }
        let indices = l.inputs.ints(1, "the indices of a scatter")?.unwrap_or_default();
        let len: usize = x.iter().product();
        let steps = strides(&x);
        let count: usize = l.inputs.get(2)?.shape.iter().product();
        // The flat index of the element that each update meets.
        let mut targets = Vec::with_capacity(count);
        match &self.indices {
            ScatterIndices::Elements { axis: a } => {
                let at = axis(*a, x.len())?;
                let own = strides(&shape);
                for (u, &index) in indices.iter().enumerate() {
                    let coordinate = |a: usize| u / own[a] as usize % shape[a];
                    let target: usize = (0..x.len())
                        .map(|a| {
                            let i = if a == at { position(index, x[a])? } else { coordinate(a) };
                            Ok(i * steps[a] as usize)
                        })
                        .sum::<Result<usize>>()?;
                    targets.push(target);
                }
            }
            ScatterIndices::Nd => {
                let tuple = shape.last().copied().unwrap_or(0).max(1);
                let inner: usize = x[tuple.min(x.len())..].iter().product();
                for indices in indices.chunks(tuple) {
                    let mut target = 0;
                    for (a, &index) in indices.iter().enumerate() {
                        target += position(index, x[a])? * steps[a] as usize;
                    }
                    targets.extend(target..target + inner);
                }
            }
        }
        if let Some((op, neutral)) = self.reduction {
            return scatter_reduce(l, len, &targets, op, neutral);
        }
        let mut table: Vec<usize> = (0..len).collect();
        targets.iter().enumerate().for_each(|(update, &target)| table[target] = len + update);
        gather_flat(l, len, Some(count), table)
    }

    /// Lets labels pass along axes that are not indexed, where updates and indices have the positions of the data.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let x = flow.input_labels(0);
        let rank = x.shape.len();
        let tuple = flow.inputs.get(1)?.shape.last().copied().unwrap_or(0);
        let indexed: Vec<usize> = match &self.indices {
            ScatterIndices::Elements { axis: a } => vec![axis(*a, rank)?],
            ScatterIndices::Nd => (0..tuple.min(rank)).collect(),
        };
        flow.mix(&x, &indexed, Inexact::Never, "is indexed by numbers that do not follow a cut");
        let whole = x.along_others(&x.shape, &|axis| (!indexed.contains(&axis)).then_some(axis));
        let shape = flow.inputs.get(2)?.shape.clone();
        match &self.indices {
            ScatterIndices::Elements { .. } => {
                let updates = whole.along_others(&shape, &|axis| Some(axis));
                positional(flow, updates, &[1, 2]);
            }
            ScatterIndices::Nd => {
                // The axes of a slice are the last ones of data and updates.
                if !flow.is_constant(1) {
                    let own = flow.input_labels(1);
                    flow.freeze(own.labels(), "gives the positions of updates whose number stays");
                }
                let lead = shape.len() - (rank - indexed.len());
                let updates =
                    whole.along_others(&shape, &|axis| axis.checked_sub(lead).map(|a| a + indexed.len()));
                positional(flow, updates, &[2]);
            }
        }
        flow.set_output(0, whole);
        Ok(())
    }
}
