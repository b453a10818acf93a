//! The operators Concat and Split.

use super::data_movement::{RegionCopy, propagate_moved};
use super::lower::{Lowering, Slot};
use super::rewrite::Edit;
use super::{Build, Constancy, Operator, Rewrite};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::tensor::show;

#[derive(Debug)]
struct Concat {
    axis: i64,
}

#[derive(Debug)]
struct Split {
    axis: i64,
    /// The attribute `split`, which is an input since opset 13.
    sizes: Option<Vec<i64>>,
    by_attribute: bool,
    /// True if the node has the attribute `num_outputs` (since opset 18).
    numbered: bool,
    outputs: usize,
}

/// Builds Concat: joins tensors along an axis.
pub(super) fn concat(build: &Build) -> Result<Box<dyn Operator>> {
    let axis = build
        .attrs
        .int("axis")?
        .ok_or_else(|| Error::new("the attribute axis is missing").invalid_model())?;
    Ok(Box::new(Concat { axis }))
}

/// Builds Split: splits a tensor along an axis.
pub(super) fn split(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    Ok(Box::new(Split {
        axis: attrs.int_or("axis", 0)?,
        sizes: attrs.ints("split")?,
        by_attribute: build.opset < 13,
        numbered: attrs.int("num_outputs")?.is_some(),
        outputs: build.outputs,
    }))
}

/// Returns the copy of `count` indices of `axis`, from `src_at` to `dst_at`.
fn slab<'a>(
    (src, src_at): (&'a [usize], usize),
    (dst, dst_at): (&'a [usize], usize),
    axis: usize,
    count: usize,
) -> RegionCopy<'a> {
    let mut copy = RegionCopy {
        src,
        src_start: vec![0; src.len()],
        src_step: vec![1; src.len()],
        dst,
        dst_start: vec![0; dst.len()],
        count: src.to_vec(),
    };
    copy.src_start[axis] = src_at;
    copy.dst_start[axis] = dst_at;
    copy.count[axis] = count;
    copy
}

impl Operator for Concat {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let first = inputs.get(0)?;
        let at = axis(self.axis, first.shape.len())?;
        let mut shape = first.shape.clone();
        shape[at] = 0;
        for i in 0..inputs.facts.len() {
            let part = inputs.get(i)?;
            let fits = part.shape.len() == shape.len()
                && (0..shape.len()).all(|a| a == at || part.shape[a] == shape[a]);
            if !fits {
                return Err(Error::new(format!("input {i} of Concat does not fit the first"))
                    .expected(format!("{} except for axis {at}", show(&first.shape)))
                    .got(show(&part.shape))
                    .with_kind(ErrorKind::InvalidModel));
            }
            shape[at] += part.shape[at];
        }
        Ok(vec![first.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let dst = l.shape(0);
        let at = axis(self.axis, dst.len())?;
        let mut start = 0;
        for i in 0..l.inputs.facts.len() {
            let src = &l.inputs.get(i)?.shape;
            if !src.contains(&0) {
                let copy = slab((src, 0), (dst, start), at, src[at]).kernel()?;
                l.call(copy, vec![Slot::Input(i)], Slot::Output(0));
            }
            start += src[at];
        }
        Ok(())
    }

    fn constancy(&self, _: &Inputs, _: &[usize]) -> Constancy {
        Constancy::Passed
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        propagate_moved(self, flow)
    }
}

impl Split {
    fn sizes(&self, inputs: &Inputs) -> Result<Vec<usize>> {
        let x = inputs.get(0)?;
        let whole = x.shape[axis(self.axis, x.shape.len())?];
        let given = match &self.sizes {
            Some(sizes) => Some(sizes.clone()),
            None => inputs.ints(1, "the sizes of Split")?,
        };
        let sizes: Vec<usize> = match given {
            Some(sizes) => sizes.iter().map(|&s| usize::try_from(s).unwrap_or(usize::MAX)).collect(),
            None => {
                let part = whole.div_ceil(self.outputs.max(1));
                (0..self.outputs).map(|k| part.min(whole.saturating_sub(k * part))).collect()
            }
        };
        let sum = sizes.iter().try_fold(0usize, |n, &s| n.checked_add(s));
        if sizes.len() != self.outputs || sum != Some(whole) {
            return Err(Error::new("the parts of Split do not fit")
                .expected(format!("{} parts of {whole} in all", self.outputs))
                .got(format!("{sizes:?}"))
                .with_kind(ErrorKind::InvalidModel));
        }
        Ok(sizes)
    }
}

impl Operator for Split {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let at = axis(self.axis, x.shape.len())?;
        let part = |size: usize| {
            let mut shape = x.shape.clone();
            shape[at] = size;
            x.with_shape(&shape)
        };
        Ok(self.sizes(inputs)?.into_iter().map(part).collect())
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let src = &l.inputs.get(0)?.shape;
        let at = axis(self.axis, src.len())?;
        let mut start = 0;
        for (k, size) in self.sizes(&l.inputs)?.into_iter().enumerate() {
            let copy = slab((src, start), (l.shape(k), 0), at, size).kernel()?;
            l.call(copy, vec![Slot::Input(0)], Slot::Output(k));
            start += size;
        }
        Ok(())
    }

    fn constancy(&self, _: &Inputs, _: &[usize]) -> Constancy {
        Constancy::Passed
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        propagate_moved(self, flow)
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let at = axis(self.axis, r.inputs.get(0)?.shape.len())?;
        if (0..r.outputs.len()).all(|k| r.shrunk(k, at).is_none()) {
            return Ok(());
        }
        let sizes = (0..r.outputs.len())
            .map(|k| r.kept_outputs(k, at).iter().filter(|&&kept| kept).count() as i64)
            .collect();
        if self.numbered {
            r.edits.push(Edit::Remove("num_outputs"));
        }
        r.set_list("split", 1, self.by_attribute, sizes);
        Ok(())
    }
}
