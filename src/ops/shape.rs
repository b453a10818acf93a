//! Constants, and the shape arithmetic that exporters leave in a graph.

use super::lower::{Lowering, Slot};
use super::moving::{BoxMove, carry, strided};
use super::rewrite::Edit;
use super::{Build, Operator, Rewrite};
use crate::dye::flow::Flow;
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::tensor::{Tensor, elements, strides};

/// More elements than a shape computation can want.
const MOST_ELEMENTS: usize = 1 << 28;

/// Values that are known as soon as their inputs' shapes are.
#[derive(Debug)]
enum Known {
    Constant(Tensor),
    Shape { start: i64, end: Option<i64> },
    Size,
    ConstantOfShape(Tensor),
    Range,
}

/// Builds a Constant.
pub(super) fn constant(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let value = if let Some(tensor) = attrs.tensor("value")? {
        tensor
    } else if let Some(values) = attrs.floats("value_floats")? {
        Tensor::float(&[values.len()], values)
    } else if let Some(values) = attrs.ints("value_ints")? {
        Tensor::int(&[values.len()], values)
    } else if let Some(value) = attrs.int("value_int")? {
        Tensor::int(&[], vec![value])
    } else if let Some(value) = attrs.float("value_float")? {
        Tensor::float(&[], vec![value])
    } else {
        return Err(Error::new("a Constant whose value is not numbers")
            .expected("one of value, value_float, value_floats, value_int, value_ints")
            .remedy("string and sparse constants are not supported"));
    };
    Ok(Box::new(Known::Constant(value)))
}

/// Builds a Shape.
pub(super) fn shape(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Known::Shape { start: build.attrs.int_or("start", 0)?, end: build.attrs.int("end")? }))
}

/// Builds a Size.
pub(super) fn size(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Known::Size))
}

/// Builds a ConstantOfShape.
pub(super) fn constant_of_shape(build: &Build) -> Result<Box<dyn Operator>> {
    let value = build.attrs.tensor("value")?.unwrap_or_else(|| Tensor::float(&[1], vec![0.0]));
    Ok(Box::new(Known::ConstantOfShape(value)))
}

/// Builds a Range.
pub(super) fn range(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Known::Range))
}

impl Known {
    fn value(&self, inputs: &Inputs) -> Result<Tensor> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Shape { start, end } => {
                let shape = &inputs.get(0)?.shape;
                let rank = shape.len() as i64;
                let clip = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
                let (start, end) = (clip(*start), clip(end.unwrap_or(rank)));
                let dims: Vec<i64> = shape[start..end.max(start)].iter().map(|&d| d as i64).collect();
                Ok(Tensor::int(&[dims.len()], dims))
            }
            Self::Size => {
                let count: usize = inputs.get(0)?.shape.iter().product();
                Ok(Tensor::int(&[], vec![count as i64]))
            }
            Self::ConstantOfShape(value) => {
                let dims = inputs
                    .ints(0, "the shape of ConstantOfShape")?
                    .ok_or_else(|| Error::new("the shape of ConstantOfShape is missing"))?;
                let shape: Vec<usize> = dims.iter().filter_map(|&d| usize::try_from(d).ok()).collect();
                let count = elements(&shape).filter(|&n| n <= MOST_ELEMENTS && shape.len() == dims.len());
                let count = count.ok_or_else(|| {
                    Error::new("an impossible shape")
                        .expected("a shape that fits memory")
                        .got(format!("{dims:?}"))
                })?;
                let fill = value.to_f64().first().copied().unwrap_or(0.0);
                Ok(Tensor::from_f64(value.dtype, &shape, &vec![fill; count]))
            }
            Self::Range => {
                let number =
                    |i, what| inputs.float(i, what)?.ok_or_else(|| Error::new(format!("{what} is missing")));
                let (start, limit, delta) =
                    (number(0, "the start")?, number(1, "the limit")?, number(2, "the step")?);
                let count = ((limit - start) / delta).ceil().max(0.0);
                if !(count <= MOST_ELEMENTS as f64) {
                    return Err(
                        Error::new("an impossible Range").got(format!("{start} to {limit} by {delta}"))
                    );
                }
                let values: Vec<f64> = (0..count as usize).map(|i| start + i as f64 * delta).collect();
                Ok(Tensor::from_f64(inputs.get(0)?.dtype, &[values.len()], &values))
            }
        }
    }
}

impl Operator for Known {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let mut fact = Fact::constant(self.value(inputs)?);
        fact.from_shape = matches!(self, Self::Shape { .. } | Self::Size) && inputs.get(0)?.value.is_none();
        Ok(vec![fact])
    }

    fn lower(&self, _: &mut Lowering) -> Result<()> {
        // Its value is in its fact: no kernel has to compute it.
        Ok(())
    }

    fn dye(&self, _: &mut Flow) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Gather {
    axis: i64,
}

/// Builds a Gather.
pub(super) fn gather(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Gather { axis: build.attrs.int_or("axis", 0)? }))
}

impl Gather {
    /// (axis, positive indices, shape of the indices).
    fn indices(&self, inputs: &Inputs) -> Result<(usize, Vec<usize>, Vec<usize>)> {
        let x = &inputs.get(0)?.shape;
        let at = axis(self.axis, x.len())?;
        let indices = inputs
            .ints(1, "the indices of Gather")?
            .ok_or_else(|| Error::new("the indices of Gather are missing"))?;
        let positive = indices.iter().map(|&i| axis(i, x[at])).collect::<Result<Vec<_>>>();
        let positive = positive.map_err(|e| e.context("an index of Gather"))?;
        Ok((at, positive, inputs.get(1)?.shape.clone()))
    }
}

impl Operator for Gather {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let (at, _, shape) = self.indices(inputs)?;
        Ok(vec![x.with_shape(&[&x.shape[..at], &shape, &x.shape[at + 1..]].concat())])
    }

    /// Indices that follow each other at one step are one copy.
    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let src = l.inputs.get(0)?.shape.clone();
        let (at, indices, _) = self.indices(&l.inputs)?;
        let mut dst = src.clone();
        dst[at] = indices.len();
        let mut done = 0;
        while done < indices.len() {
            let rest = &indices[done..];
            let step = rest.get(1).map_or(1, |&second| second as isize - rest[0] as isize);
            let count = 1 + rest.windows(2).take_while(|w| w[1] as isize - w[0] as isize == step).count();
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

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        carry(self, flow)
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let (at, indices, shape) = self.indices(&r.inputs)?;
        let kept = r.kept_inputs(0, at);
        if kept.iter().all(|&k| k) {
            return Ok(());
        }
        if shape.len() > 1 {
            return Err(Error::new("a Gather of channels by a table of indices cannot be cut"));
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

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let from = strides(x);
        let mut walk = Vec::new();
        let mut steps = Vec::new();
        for (a, repeat) in Self::repeats(&l.inputs)?.into_iter().enumerate() {
            walk.extend([repeat, x[a]]);
            steps.extend([0, from[a]]);
        }
        let dst = walk.iter().product();
        let copy = strided(&walk, (x.iter().product(), 0, steps), (dst, 0, strides(&walk)))?;
        l.call(copy, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        carry(self, flow)
    }
}
