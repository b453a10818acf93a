//! The operators Gather and Tile, which select and repeat slices along axes.

use super::axes::split_at_axis;
use super::data_movement::{RegionCopy, propagate_moved, strided};
use super::lower::{Lowering, Slot};
use super::rewrite::Edit;
use super::{Build, Constancy, Operator, Rewrite};
use crate::coupling::{Inexact, Propagation};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis, index};
use crate::kernels::movement::GatherKernel;
use crate::tensor::strides;

#[derive(Debug)]
struct Gather {
    axis: i64,
}

/// Builds Gather: slices along an axis by indices.
pub(super) fn gather(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Gather { axis: build.attrs.int_or("axis", 0)? }))
}

/// The largest number of copies that is faster than one gather by table.
const MOST_COPIES: usize = 8;

/// Returns the step and length of the equidistant run at the start of `indices`.
fn run(indices: &[usize]) -> (isize, usize) {
    let step = indices.get(1).map_or(1, |&second| second as isize - indices[0] as isize);
    (step, 1 + indices.windows(2).take_while(|w| w[1] as isize - w[0] as isize == step).count())
}

/// Returns the number of equidistant runs in `indices`.
fn runs(indices: &[usize]) -> usize {
    let (mut rest, mut count) = (indices, 0);
    while !rest.is_empty() {
        rest = &rest[run(rest).1..];
        count += 1;
    }
    count
}

impl Gather {
    /// Returns the axis, the non-negative indices, and the shape of the indices.
    fn indices(&self, inputs: &Inputs) -> Result<(usize, Vec<usize>, Vec<usize>)> {
        let x = &inputs.get(0)?.shape;
        let at = axis(self.axis, x.len())?;
        let indices = inputs
            .ints(1, "the indices of Gather")?
            .ok_or_else(|| Error::new("the indices of Gather are missing").internal())?;
        let positive = indices.iter().map(|&i| index(i, x[at])).collect::<Result<Vec<_>>>()?;
        Ok((at, positive, inputs.get(1)?.shape.clone()))
    }
}

impl Operator for Gather {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, indices) = (inputs.get(0)?, inputs.get(1)?);
        let at = axis(self.axis, x.shape.len())?;
        if indices.value.is_some() {
            self.indices(inputs)?;
        }
        Ok(vec![x.with_shape(&[&x.shape[..at], &indices.shape, &x.shape[at + 1..]].concat())])
    }

    /// Lowers each equidistant run of constant indices to a copy.
    ///
    /// Computed indices, and those with many runs, become a gather by table.
    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let src = l.inputs.get(0)?.shape.clone();
        let table = l.inputs.get(1)?;
        let runs = match &table.value {
            Some(_) => runs(&self.indices(&l.inputs)?.1),
            None => usize::MAX,
        };
        if runs > MOST_COPIES {
            let (outer, axis, inner) = split_at_axis(&src, axis(self.axis, src.len())?)?;
            let count = table.shape.iter().product();
            let kernel = GatherKernel { outer, axis, count, inner, own: false };
            l.call(kernel, vec![Slot::Input(0), Slot::Input(1)], Slot::Output(0));
            return Ok(());
        }
        let (at, indices, _) = self.indices(&l.inputs)?;
        let mut dst = src.clone();
        dst[at] = indices.len();
        let mut done = 0;
        while done < indices.len() {
            let rest = &indices[done..];
            let (step, count) = run(rest);
            let mut copy = RegionCopy {
                src: &src,
                src_start: vec![0; src.len()],
                src_step: vec![1; src.len()],
                dst: &dst,
                dst_start: vec![0; src.len()],
                count: dst.clone(),
            };
            copy.src_start[at] = rest[0];
            copy.src_step[at] = step;
            copy.dst_start[at] = done;
            copy.count[at] = count;
            l.call(copy.kernel()?, vec![Slot::Input(0)], Slot::Output(0));
            done += count;
        }
        Ok(())
    }

    /// Cuts the indices of a codebook: its values are shared by all of them.
    fn sources(&self, inputs: &Inputs, along: usize) -> Option<Vec<(usize, usize)>> {
        (inputs.get(0).ok()?.shape.len() == 1).then(|| vec![(1, along)])
    }

    fn constancy(&self, inputs: &Inputs, channels: &[usize]) -> Constancy {
        let Ok(x) = inputs.get(0) else { return Constancy::Lost };
        let known = inputs.optional(1).is_some_and(|indices| indices.value.is_some());
        match axis(self.axis, x.shape.len()) {
            Ok(at) if known || !channels.contains(&at) => Constancy::Passed,
            _ => Constancy::Lost,
        }
    }

    /// Moves labels by constant indices; computed ones may select any slice, so that only whole tensors of slices shrink.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        if flow.is_constant(1) {
            return propagate_moved(self, flow);
        }
        let x = flow.input_labels(0);
        let at = axis(self.axis, x.shape.len())?;
        flow.mix(&x, &[at], Inexact::Never, "is indexed by computed numbers");
        let indices = flow.input_labels(1);
        flow.freeze(indices.labels(), "are computed indices");
        let count = indices.shape.len();
        let y = x.along_others(&flow.outputs[0].shape, &|axis| match axis {
            axis if axis < at => Some(axis),
            axis if axis < at + count => None,
            axis => Some(axis + 1 - count),
        });
        flow.set_output(0, y);
        Ok(())
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let at = axis(self.axis, r.inputs.get(0)?.shape.len())?;
        // Along an axis with computed indices nothing is removed.
        let kept = r.kept_inputs(0, at);
        if kept.iter().all(|&k| k) {
            return Ok(());
        }
        let (_, indices, shape) = self.indices(&r.inputs)?;
        if shape.len() > 1 {
            return Err(Error::new("a Gather of channels by a table of indices cannot be cut")
                .remedy("name the layers before it in `protect`")
                .unsupported());
        }
        let new_index = |i: usize| kept[..i].iter().filter(|&&k| k).count() as i64;
        let left: Vec<i64> = indices.iter().filter(|&&i| kept[i]).map(|&i| new_index(i)).collect();
        if shape.is_empty() {
            // A scalar index selects one channel, which must be kept.
            return match left[..] {
                [index] => {
                    r.edits.push(Edit::Scalar(1, index));
                    Ok(())
                }
                _ => Err(Error::new("the channel that Gather selects was cut").internal()),
            };
        }
        r.set_list("indices", 1, false, left);
        Ok(())
    }
}

#[derive(Debug)]
struct Tile;

/// Builds Tile: repeats a tensor along its axes.
pub(super) fn tile(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Tile))
}

impl Tile {
    fn repeats(inputs: &Inputs) -> Result<Vec<usize>> {
        let rank = inputs.get(0)?.shape.len();
        let repeats = inputs.ints(1, "the repeats of Tile")?.unwrap_or_default();
        let positive: Vec<usize> = repeats.iter().filter_map(|&r| usize::try_from(r).ok()).collect();
        if positive.len() != rank {
            return Err(Error::new("the repeats of Tile do not fit")
                .expected(format!("{rank} numbers from 0 up"))
                .got(format!("{repeats:?}"))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(positive)
    }
}

impl Operator for Tile {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let shape: Vec<usize> = x.shape.iter().zip(Self::repeats(inputs)?).map(|(d, r)| d * r).collect();
        Ok(vec![x.with_shape(&shape)])
    }

    /// Repeats one axis after the other, starting with the last, so that intermediate tensors stay small.
    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let mut shape = l.inputs.get(0)?.shape.clone();
        let repeats = Self::repeats(&l.inputs)?;
        let axes: Vec<usize> = (0..shape.len()).rev().filter(|&a| repeats[a] != 1).collect();
        let mut source = Slot::Input(0);
        for (done, &a) in axes.iter().enumerate() {
            let (outer, inner) = (shape[..a].iter().product(), shape[a..].iter().product::<usize>());
            let walk = [outer, repeats[a], inner];
            let (src, dst) = (outer * inner, walk.iter().product());
            shape[a] *= repeats[a];
            let target = if done + 1 == axes.len() { Slot::Output(0) } else { l.temp(dst) };
            let copy = strided(&walk, (src, 0, vec![inner as isize, 0, 1]), (dst, 0, strides(&walk)))?;
            l.call(copy, vec![source], target.clone());
            source = target;
        }
        if axes.is_empty() {
            l.alias(0, source);
        }
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        propagate_moved(self, flow)
    }
}
