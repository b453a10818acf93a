//! Gather and Tile: slices along an axis picked by indices, and repeated.

use super::lower::{Lowering, Slot};
use super::moving::{BoxMove, carry, strided};
use super::rank::around;
use super::rewrite::Edit;
use super::{Build, Operator, Rewrite};
use crate::dye::flow::Flow;
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs, axis, index};
use crate::kernels::movement::Gather as GatherKernel;
use crate::tensor::strides;

#[derive(Debug)]
struct Gather {
    axis: i64,
}

/// Builds a Gather.
pub(super) fn gather(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Gather { axis: build.attrs.int_or("axis", 0)? }))
}

/// More copies than this are slower than one pick by table.
const MOST_COPIES: usize = 8;

/// The run at the start of some indices: its step and length.
fn run(indices: &[usize]) -> (isize, usize) {
    let step = indices.get(1).map_or(1, |&second| second as isize - indices[0] as isize);
    (step, 1 + indices.windows(2).take_while(|w| w[1] as isize - w[0] as isize == step).count())
}

/// How many runs indices come in.
fn runs(indices: &[usize]) -> usize {
    let (mut rest, mut count) = (indices, 0);
    while !rest.is_empty() {
        rest = &rest[run(rest).1..];
        count += 1;
    }
    count
}

impl Gather {
    /// (axis, positive indices, shape of the indices).
    fn indices(&self, inputs: &Inputs) -> Result<(usize, Vec<usize>, Vec<usize>)> {
        let x = &inputs.get(0)?.shape;
        let at = axis(self.axis, x.len())?;
        let indices = inputs
            .ints(1, "the indices of Gather")?
            .ok_or_else(|| Error::new("the indices of Gather are missing"))?;
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

    /// Constant indices that follow each other at one step are one copy. Many that do not, and computed
    /// ones, are a pick by table.
    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let src = l.inputs.get(0)?.shape.clone();
        let table = l.inputs.get(1)?;
        let runs = match &table.value {
            Some(_) => runs(&self.indices(&l.inputs)?.1),
            None => usize::MAX,
        };
        if runs > MOST_COPIES {
            let (outer, axis, inner) = around(&src, axis(self.axis, src.len())?)?;
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
            let mut movement = BoxMove {
                src: &src,
                src_start: vec![0; src.len()],
                src_step: vec![1; src.len()],
                dst: &dst,
                dst_start: vec![0; src.len()],
                count: dst.clone(),
            };
            movement.src_start[at] = rest[0];
            movement.src_step[at] = step;
            movement.dst_start[at] = done;
            movement.count[at] = count;
            l.call(movement.copy()?, vec![Slot::Input(0)], Slot::Output(0));
            done += count;
        }
        Ok(())
    }

    fn keeps_constants(&self) -> bool {
        true
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        carry(self, flow)
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let at = axis(self.axis, r.inputs.get(0)?.shape.len())?;
        let kept = r.kept_inputs(0, at);
        if kept.iter().all(|&k| k) {
            return Ok(());
        }
        let (_, indices, shape) = self.indices(&r.inputs)?;
        if shape.len() > 1 {
            return Err(Error::new("a Gather of channels by a table of indices cannot be cut")
                .remedy("--protect the layers before it"));
        }
        let place = |i: usize| kept[..i].iter().filter(|&&k| k).count() as i64;
        let left: Vec<i64> = indices.iter().filter(|&&i| kept[i]).map(|&i| place(i)).collect();
        if shape.is_empty() {
            // One channel is picked: the index stays a scalar, and the channel must be there.
            return match left[..] {
                [index] => {
                    r.edits.push(Edit::Scalar(1, index));
                    Ok(())
                }
                _ => Err(Error::new("the channel that Gather picks was cut")),
            };
        }
        r.set_list("indices", 1, false, left);
        Ok(())
    }
}

#[derive(Debug)]
struct Tile;

/// Builds a Tile.
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
                .got(format!("{repeats:?}")));
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

    /// Axis by axis, the last one first: what is repeated is small then.
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

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        carry(self, flow)
    }
}
