//! Elements picked or replaced by tables of indices: GatherElements, GatherND, ScatterElements, ScatterND.
//!
//! With constant indices all of them are one pick from a flat array: a table says for every element of
//! the output where it comes from.

use std::sync::Arc;

use super::lower::{Lowering, Slot};
use super::moving::{carry, strided};
use super::rank::{MOST_INDICES, around};
use super::{Build, Operator};
use crate::dye::flow::Flow;
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::{Fact, Inputs, axis, index as position};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{Binary, BinaryOp};
use crate::kernels::movement::Fill;
use crate::kernels::movement::Gather;
use crate::tensor::{show, strides};

/// How an update and what was there become one: the function, and what changes nothing under it. `None` where
/// the update simply takes its place.
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
            .got(other.to_owned())),
    }
}

#[derive(Debug)]
struct GatherElements {
    axis: i64,
}

/// Builds a GatherElements.
pub(super) fn gather_elements(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(GatherElements { axis: build.attrs.int_or("axis", 0)? }))
}

impl Operator for GatherElements {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, indices) = (inputs.get(0)?, inputs.get(1)?);
        let at = axis(self.axis, x.shape.len())?;
        around(&x.shape, at)?;
        let fits = x.shape.len() == indices.shape.len()
            && (0..x.shape.len()).all(|a| a == at || indices.shape[a] <= x.shape[a]);
        if !fits {
            return Err(Error::new("the indices of GatherElements do not fit")
                .expected(format!("{} but for axis {at}", show(&x.shape)))
                .got(show(&indices.shape)));
        }
        Ok(vec![x.with_shape(&indices.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (x, indices) = (l.inputs.get(0)?.shape.clone(), l.shape(0));
        let at = axis(self.axis, x.len())?;
        // Where the indices cover less than the tensor, only that part of it is looked at.
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
        let (outer, axis, inner) = around(&part, at)?;
        let kernel = Gather { outer, axis, count: indices[at], inner, own: true };
        l.call(kernel, vec![source, Slot::Input(1)], Slot::Output(0));
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        carry(self, flow)
    }
}

/// A flat pick: for every element of the output its place among those of the data, and after them those
/// of the updates.
fn pick(l: &mut Lowering, data: usize, updates: Option<usize>, table: Vec<usize>) -> Result<()> {
    let total = data + updates.unwrap_or(0);
    if total > MOST_INDICES {
        return Err(Error::new("a tensor with more elements than a table of indices can tell apart")
            .expected(format!("at most {MOST_INDICES}"))
            .got(total.to_string())
            .remedy(LEAVE_OUT));
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
    let kernel = Gather { outer: 1, axis: total, count: table.len(), inner: 1, own: false };
    let table = Slot::Constant(Arc::new(table.into_iter().map(|i| i as f32).collect()));
    l.call(kernel, vec![source, table], Slot::Output(0));
    Ok(())
}

/// Updates that join what is there. An element may be met several times: round by round, each element meets
/// its next update, or what changes nothing.
fn reduce(l: &mut Lowering, len: usize, targets: &[usize], op: BinaryOp, neutral: f32) -> Result<()> {
    let count = targets.len();
    if count >= MOST_INDICES {
        return Err(Error::new("a scatter of more updates than a table of indices can tell apart")
            .expected(format!("less than {MOST_INDICES}"))
            .got(count.to_string())
            .remedy(LEAVE_OUT));
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
    // The updates, and after them what changes nothing.
    let updates = l.temp(count + 1);
    l.call(Fill { len: count + 1, value: neutral }, vec![], updates.clone());
    let copy = strided(&[count], (count, 0, vec![1]), (count + 1, 0, vec![1]))?;
    l.call(copy, vec![Slot::Input(2)], updates.clone());
    let mut whole = Slot::Input(0);
    let last = rounds.len();
    for (round, table) in rounds.into_iter().enumerate() {
        let met = l.temp(len);
        let pick = Gather { outer: 1, axis: count + 1, count: len, inner: 1, own: false };
        l.call(pick, vec![updates.clone(), Slot::Constant(Arc::new(table))], met.clone());
        let join = Binary::new(op, &[len], &[len], Activation::None);
        let join = join.ok_or_else(|| Error::new("shapes that do not broadcast"))?;
        let target = if round + 1 == last { Slot::Output(0) } else { l.temp(len) };
        l.call(join, vec![whole, met], target.clone());
        whole = target;
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

/// Builds a GatherND.
pub(super) fn gather_nd(build: &Build) -> Result<Box<dyn Operator>> {
    let batch = build.attrs.int_or("batch_dims", 0)?;
    let batch_dims = usize::try_from(batch).map_err(|_| Error::new("a negative batch_dims"))?;
    Ok(Box::new(GatherNd { batch_dims }))
}

impl GatherNd {
    /// (elements before the batch's data, the axes that an index tuple names, the shape of what it picks).
    fn split(&self, inputs: &Inputs) -> Result<(usize, Vec<usize>, Vec<usize>, Vec<usize>)> {
        let (x, indices) = (&inputs.get(0)?.shape, &inputs.get(1)?.shape);
        let misfit = || {
            Error::new("the indices of GatherND do not fit")
                .expected(format!("tuples over the axes of {} after {}", show(x), self.batch_dims))
                .got(show(indices))
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
        pick(l, batches * box_len * inner, None, table)
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        carry(self, flow)
    }
}

#[derive(Debug)]
enum Places {
    /// Along an axis, an index for each update.
    Elements { axis: i64 },
    /// By tuples of indices.
    Nd,
}

#[derive(Debug)]
struct Scatter {
    places: Places,
    reduction: Reduction,
}

/// Builds a ScatterElements, or a Scatter of old opsets.
pub(super) fn scatter_elements(build: &Build) -> Result<Box<dyn Operator>> {
    let places = Places::Elements { axis: build.attrs.int_or("axis", 0)? };
    Ok(Box::new(Scatter { places, reduction: reduction(build)? }))
}

/// Builds a ScatterND.
pub(super) fn scatter_nd(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Scatter { places: Places::Nd, reduction: reduction(build)? }))
}

impl Operator for Scatter {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, indices, updates) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let fits = match &self.places {
            Places::Elements { axis: a } => {
                let at = axis(*a, x.shape.len())?;
                indices.shape == updates.shape
                    && indices.shape.len() == x.shape.len()
                    && (0..x.shape.len()).all(|a| a == at || indices.shape[a] <= x.shape[a])
            }
            Places::Nd => match indices.shape.split_last() {
                Some((&tuple, lead)) => {
                    tuple <= x.shape.len() && [lead, &x.shape[tuple..]].concat() == updates.shape
                }
                None => false,
            },
        };
        if !fits {
            return Err(Error::new("indices and updates of a scatter do not fit its data")
                .expected(show(&x.shape))
                .got(format!("indices {}, updates {}", show(&indices.shape), show(&updates.shape))));
        }
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (x, shape) = (l.inputs.get(0)?.shape.clone(), l.inputs.get(1)?.shape.clone());
        let indices = l.inputs.ints(1, "the indices of a scatter")?.unwrap_or_default();
        let len: usize = x.iter().product();
        let steps = strides(&x);
        let count: usize = l.inputs.get(2)?.shape.iter().product();
        // For each update, in order, the element that it meets.
        let mut targets = Vec::with_capacity(count);
        match &self.places {
            Places::Elements { axis: a } => {
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
            Places::Nd => {
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
            return reduce(l, len, &targets, op, neutral);
        }
        let mut table: Vec<usize> = (0..len).collect();
        targets.iter().enumerate().for_each(|(update, &target)| table[target] = len + update);
        pick(l, len, Some(count), table)
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        if self.reduction.is_some() {
            flow.freeze_all("adds up, multiplies or compares by a table");
            return Ok(());
        }
        carry(self, flow)?;
        // Where some channels are overwritten, their indices count the others.
        if flow.result[0].as_ref() != Some(&flow.dyed(0)) {
            flow.freeze_all("overwrites channels by their numbers");
        }
        Ok(())
    }
}
