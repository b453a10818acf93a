//! Operators that keep the elements in their order under another shape, and Transpose, Expand and
//! DepthToSpace, which put them in another order.

use super::data_movement::{carry, moved, strided};
use super::lower::{Lowering, Slot};
use super::{Build, Operator, Rewrite};
use crate::coupling::Propagation;
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs, axis, broadcast};
use crate::tensor::{DType, Tensor, elements, show, strides};

/// The new shape of a tensor whose elements stay in order.
#[derive(Debug)]
enum View {
    Identity,
    Dropout {
        masked: bool,
    },
    Flatten {
        axis: i64,
    },
    Reshape {
        allow_zero: bool,
    },
    /// Axes by attribute up to opset 12, then by input.
    Squeeze {
        axes: Option<Vec<i64>>,
    },
    Unsqueeze {
        axes: Option<Vec<i64>>,
    },
}

/// Builds an Identity.
pub(super) fn identity(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Identity))
}

/// Builds a Dropout, which does nothing outside training.
pub(super) fn dropout(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Dropout { masked: build.outputs > 1 }))
}

/// Builds a Flatten.
pub(super) fn flatten(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Flatten { axis: build.attrs.int_or("axis", 1)? }))
}

/// Builds a Reshape.
pub(super) fn reshape(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Reshape { allow_zero: build.attrs.int_or("allowzero", 0)? != 0 }))
}

/// Builds a Squeeze.
pub(super) fn squeeze(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Squeeze { axes: build.attrs.ints("axes")? }))
}

/// Builds an Unsqueeze.
pub(super) fn unsqueeze(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Unsqueeze { axes: build.attrs.ints("axes")? }))
}

impl View {
    fn shape(&self, inputs: &Inputs) -> Result<Vec<usize>> {
        let x = &inputs.get(0)?.shape;
        let axes = |axes: &Option<Vec<i64>>| match axes {
            Some(axes) => Ok(Some(axes.clone())),
            None => inputs.ints(1, "the axes"),
        };
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Dropout { .. } => {
                if inputs.float(2, "the training mode of Dropout")?.is_some_and(|t| t != 0.0) {
                    return Err(Error::new("Dropout in training mode")
                        .remedy("export the network in evaluation mode (PyTorch: model.eval())"));
                }
                Ok(x.clone())
            }
            Self::Flatten { axis: a } => {
                let at = if *a == x.len() as i64 { x.len() } else { axis(*a, x.len())? };
                Ok(vec![x[..at].iter().product(), x[at..].iter().product()])
            }
            Self::Reshape { allow_zero } => {
                let target = inputs
                    .ints(1, "the shape of Reshape")?
                    .ok_or_else(|| Error::new("the shape of Reshape is missing"))?;
                reshaped(x, &target, *allow_zero)
            }
            Self::Squeeze { axes: given } => match axes(given)? {
                None => Ok(x.iter().copied().filter(|&d| d != 1).collect()),
                Some(list) => {
                    let gone = list.iter().map(|&a| axis(a, x.len())).collect::<Result<Vec<_>>>()?;
                    if let Some(&a) = gone.iter().find(|&&a| x[a] != 1) {
                        return Err(Error::new(format!("Squeeze of axis {a}, which is not 1")).got(show(x)));
                    }
                    Ok((0..x.len()).filter(|a| !gone.contains(a)).map(|a| x[a]).collect())
                }
            },
            Self::Unsqueeze { axes: given } => {
                let list = axes(given)?.ok_or_else(|| Error::new("the axes of Unsqueeze are missing"))?;
                let rank = x.len() + list.len();
                let new = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
                let mut old = x.iter().copied();
                Ok((0..rank).map(|a| if new.contains(&a) { 1 } else { old.next().unwrap_or(1) }).collect())
            }
        }
    }
}

fn reshaped(x: &[usize], target: &[i64], allow_zero: bool) -> Result<Vec<usize>> {
    let misfit = || {
        Error::new("a Reshape that does not fit its input")
            .expected(format!("{} elements ({})", x.iter().product::<usize>(), show(x)))
            .got(format!("the shape {target:?}"))
            .remedy("if this network was exported for one batch size, run it with --batch 1")
    };
    let mut shape = Vec::new();
    let mut free = None;
    for (a, &t) in target.iter().enumerate() {
        shape.push(match t {
            0 if !allow_zero => *x.get(a).ok_or_else(misfit)?,
            -1 if free.is_none() => {
                free = Some(a);
                1
            }
            t => usize::try_from(t).map_err(|_| misfit())?,
        });
    }
    let (have, known) = (elements(x).ok_or_else(misfit)?, elements(&shape).ok_or_else(misfit)?);
    if let Some(a) = free {
        if known == 0 || have % known != 0 {
            return Err(misfit());
        }
        shape[a] = have / known;
    } else if have != known {
        return Err(misfit());
    }
    Ok(shape)
}

impl Operator for View {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let (x, shape) = (inputs.get(0)?, self.shape(inputs)?);
        let mut facts = vec![x.with_shape(&shape)];
        if matches!(self, Self::Dropout { masked: true }) {
            // Nothing is dropped.
            let mut mask = Tensor::int(&shape, vec![1; shape.iter().product()]);
            mask.dtype = DType::Bool;
            facts.push(Fact { from_shape: true, ..Fact::constant(mask) });
        }
        Ok(facts)
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        l.alias(0, Slot::Input(0));
        Ok(())
    }

    fn keeps_constants(&self) -> bool {
        true
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        carry(self, flow)
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let Self::Reshape { allow_zero } = self else { return Ok(()) };
        let Some(mut target) = r.literal(1) else { return Ok(()) };
        let before = target.clone();
        let (x, shape) = (&r.inputs.get(0)?.shape, &r.outputs[0].shape);
        let (mut open, mut following) = (Vec::new(), Vec::new());
        for (a, t) in target.iter_mut().enumerate() {
            match r.shrunk(0, a) {
                Some(left) if r.explicit || *t > 0 => {
                    *t = left as i64;
                    following.extend(r.follows_out[0][a].then_some(a));
                }
                None if r.explicit => {
                    let copied = !allow_zero
                        && x.get(a) == shape.get(a)
                        && r.follows_in[0].get(a) == r.follows_out[0].get(a)
                        && r.kept_inputs(0, a).iter().all(|&k| k);
                    *t = if copied { 0 } else { shape[a] as i64 };
                    open.extend((!copied).then_some(a));
                    following.extend((!copied && r.follows_out[0][a]).then_some(a));
                }
                _ => {}
            }
        }
        // A shape that was computed follows the size of images and the batch: what has to stay open does, else
        // what can.
        if let (true, [a], _) | (true, [], [a]) = (r.explicit, &following[..], &open[..]) {
            target[*a] = -1;
        }
        if target != before {
            r.set_list("shape", 1, false, target);
        }
        Ok(())
    }
}

/// Elements in another order: output element `i` is input element `offset + Σ iₐ·stride[a]`.
#[derive(Debug)]
enum Rearrange {
    Transpose { perm: Option<Vec<i64>> },
    Expand,
    DepthToSpace { block: usize, column_row_depth: bool },
    SpaceToDepth { block: usize, column_row_depth: bool },
}

/// Builds a Transpose.
pub(super) fn transpose(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Rearrange::Transpose { perm: build.attrs.ints("perm")? }))
}

/// Builds an Expand.
pub(super) fn expand(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Rearrange::Expand))
}

fn block_size(build: &Build) -> Result<usize> {
    let size = build.attrs.int_or("blocksize", 0)?;
    usize::try_from(size).ok().filter(|&b| b > 0).ok_or_else(|| {
        Error::new("the attribute blocksize does not fit").expected("1 or more").got(size.to_string())
    })
}

fn column_row_depth(build: &Build) -> Result<bool> {
    match build.attrs.string("mode")?.as_deref() {
        None | Some("DCR") => Ok(false),
        Some("CRD") => Ok(true),
        Some(other) => Err(Error::new("an unknown mode").expected("DCR or CRD").got(other)),
    }
}

/// Builds a DepthToSpace.
pub(super) fn depth_to_space(build: &Build) -> Result<Box<dyn Operator>> {
    let column_row_depth = column_row_depth(build)?;
    Ok(Box::new(Rearrange::DepthToSpace { block: block_size(build)?, column_row_depth }))
}

/// Builds a SpaceToDepth.
pub(super) fn space_to_depth(build: &Build) -> Result<Box<dyn Operator>> {
    let column_row_depth = column_row_depth(build)?;
    Ok(Box::new(Rearrange::SpaceToDepth { block: block_size(build)?, column_row_depth }))
}

impl Rearrange {
    /// The output's shape, and the walk: its axes with their strides in the input. The walk has as
    /// many elements as the output, in the output's order.
    fn walk(&self, inputs: &Inputs) -> Result<(Vec<usize>, Vec<usize>, Vec<isize>)> {
        let x = &inputs.get(0)?.shape;
        let from = strides(x);
        match self {
            Self::Transpose { perm } => {
                let perm: Vec<usize> = match perm {
                    None => (0..x.len()).rev().collect(),
                    Some(perm) => perm.iter().map(|&a| axis(a, x.len())).collect::<Result<_>>()?,
                };
                if perm.len() != x.len() || (0..x.len()).any(|a| !perm.contains(&a)) {
                    return Err(Error::new("perm is not a permutation of the axes")
                        .expected(format!("each of 0 to {}", x.len().saturating_sub(1)))
                        .got(format!("{perm:?}")));
                }
                let shape: Vec<usize> = perm.iter().map(|&a| x[a]).collect();
                Ok((shape.clone(), shape, perm.iter().map(|&a| from[a]).collect()))
            }
            Self::Expand => {
                let target = inputs
                    .ints(1, "the shape of Expand")?
                    .ok_or_else(|| Error::new("the shape of Expand is missing"))?;
                let target: Vec<usize> = target
                    .iter()
                    .map(|&t| {
                        usize::try_from(t)
                            .map_err(|_| Error::new("a negative size in Expand").got(format!("{target:?}")))
                    })
                    .collect::<Result<_>>()?;
                let shape = broadcast(x, &target)?;
                let lead = shape.len() - x.len();
                let walk = (0..shape.len())
                    .map(|a| if a < lead || x[a - lead] == 1 { 0 } else { from[a - lead] })
                    .collect();
                Ok((shape.clone(), shape, walk))
            }
            Self::DepthToSpace { block: b, column_row_depth } => {
                let (&[n, c, h, w], b2) = (nchw(x)?, b * b);
                if c % b2 != 0 {
                    return Err(Error::new("DepthToSpace of channels that its block does not divide")
                        .expected(format!("a multiple of {b2}"))
                        .got(c.to_string()));
                }
                let out = c / b2;
                let plane = (h * w) as isize;
                // Strides of (block row, block column, output channel) over the input's channels.
                let (row, column, channel) = if *column_row_depth {
                    (*b as isize, 1, b2 as isize)
                } else {
                    ((b * out) as isize, out as isize, 1)
                };
                Ok((
                    vec![n, out, h * b, w * b],
                    vec![n, out, h, *b, w, *b],
                    vec![from[0], channel * plane, w as isize, row * plane, 1, column * plane],
                ))
            }
            Self::SpaceToDepth { block: b, column_row_depth } => {
                let &[n, c, h, w] = nchw(x)?;
                if h % b != 0 || w % b != 0 {
                    return Err(Error::new("SpaceToDepth of an image that its block does not divide")
                        .expected(format!("multiples of {b}"))
                        .got(show(x)));
                }
                let shape = vec![n, c * b * b, h / b, w / b];
                let (row, column) = ((*b, w as isize), (*b, 1));
                let order =
                    if *column_row_depth { [(c, from[1]), row, column] } else { [row, column, (c, from[1])] };
                let pixels = [(h / b, (b * w) as isize), (w / b, *b as isize)];
                let walk = [(n, from[0])].into_iter().chain(order).chain(pixels);
                let (walk, steps) = walk.unzip();
                Ok((shape, walk, steps))
            }
        }
    }
}

fn nchw(x: &[usize]) -> Result<&[usize; 4]> {
    x.try_into().map_err(|_| Error::new("a tensor of the wrong rank").expected("N×C×H×W").got(show(x)))
}

impl Operator for Rearrange {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        Ok(vec![inputs.get(0)?.with_shape(&self.walk(inputs)?.0)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (_, walk, from) = self.walk(&l.inputs)?;
        let (src, dst) = (l.inputs.get(0)?.shape.iter().product(), walk.iter().product());
        let copy = strided(&walk, (src, 0, from), (dst, 0, strides(&walk)))?;
        l.call(copy, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn keeps_constants(&self) -> bool {
        true
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        if let Self::DepthToSpace { .. } = self {
            // A pixel cannot go, so the channels that become one channel's pixels go together.
            let labelled = moved(self, flow)?.swap_remove(0);
            let labels = flow.coupling.classes.unite_along(&labelled, 1, flow.node.1);
            flow.set_output_along(0, 1, &labels);
            return Ok(());
        }
        carry(self, flow)
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let (Self::Expand, Some(mut target)) = (self, r.literal(1)) else { return Ok(()) };
        let before = target.clone();
        let lead = r.outputs[0].shape.len() - target.len();
        for (a, t) in target.iter_mut().enumerate().filter(|(_, t)| **t > 1) {
            if let Some(left) = r.shrunk(0, a + lead) {
                *t = left as i64;
            }
        }
        if target != before {
            r.set_list("shape", 1, false, target);
        }
        Ok(())
    }
}
