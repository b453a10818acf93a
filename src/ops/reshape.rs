//! Operators that change the shape or the order of elements.
//!
//! Identity, Dropout, Flatten, Reshape, Squeeze and Unsqueeze keep the order. Transpose, Expand, DepthToSpace and
//! SpaceToDepth change it.

use super::data_movement::{moved, propagate_moved, strided};
use super::lower::{Lowering, Slot};
use super::{Build, Constancy, Operator, Rewrite};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis, broadcast};
use crate::tensor::{DType, Tensor, elements, show, strides};

/// The operators that keep the order of elements.
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
    /// The axes are an attribute before opset 13, then an input.
    Squeeze {
        axes: Option<Vec<i64>>,
    },
    Unsqueeze {
        axes: Option<Vec<i64>>,
    },
}

/// Builds Identity: returns its input unchanged.
pub(super) fn identity(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Identity))
}

/// Builds Dropout: the input unchanged, in inference.
pub(super) fn dropout(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Dropout { masked: build.outputs > 1 }))
}

/// Builds Flatten: a matrix of the axes before and after `axis`.
pub(super) fn flatten(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Flatten { axis: build.attrs.int_or("axis", 1)? }))
}

/// Builds Reshape: the elements in another shape.
pub(super) fn reshape(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Reshape { allow_zero: build.attrs.int_or("allowzero", 0)? != 0 }))
}

/// Builds Squeeze: removes axes of size 1.
pub(super) fn squeeze(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(View::Squeeze { axes: build.attrs.ints("axes")? }))
}

/// Builds Unsqueeze: inserts axes of size 1.
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
                        .remedy("export the network in evaluation mode (PyTorch: model.eval())")
                        .unsupported());
                }
                Ok(x.clone())
            }
            Self::Flatten { axis: a } => {
                let at = if *a == x.len() as i64 { x.len() } else { axis(*a, x.len())? };
                Ok(vec![x[..at].iter().product(), x[at..].iter().product()])
            }
            Self::Reshape { allow_zero } => {
                let target = inputs.ints(1, "the shape of Reshape")?.ok_or_else(|| {
                    Error::new("the shape of Reshape is missing").with_kind(ErrorKind::InvalidModel)
                })?;
                reshaped(x, &target, *allow_zero)
            }
            Self::Squeeze { axes: given } => match axes(given)? {
                None => Ok(x.iter().copied().filter(|&d| d != 1).collect()),
                Some(list) => {
                    let removed = list.iter().map(|&a| axis(a, x.len())).collect::<Result<Vec<_>>>()?;
                    if let Some(&a) = removed.iter().find(|&&a| x[a] != 1) {
                        return Err(Error::new(format!("Squeeze of axis {a}, which is not 1"))
                            .got(show(x))
                            .with_kind(ErrorKind::InvalidModel));
                    }
                    Ok((0..x.len()).filter(|a| !removed.contains(a)).map(|a| x[a]).collect())
                }
            },
            Self::Unsqueeze { axes: given } => {
                let list = axes(given)?.ok_or_else(|| {
                    Error::new("the axes of Unsqueeze are missing").with_kind(ErrorKind::InvalidModel)
                })?;
                let rank = x.len() + list.len();
                let new = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
                let mut old = x.iter().copied();
                Ok((0..rank).map(|a| if new.contains(&a) { 1 } else { old.next().unwrap_or(1) }).collect())
            }
        }
    }
}

/// Returns the shape that a Reshape to `target` produces.
fn reshaped(x: &[usize], target: &[i64], allow_zero: bool) -> Result<Vec<usize>> {
    let misfit = || {
        Error::new("a Reshape that does not fit its input")
            .expected(format!("{} elements ({})", x.iter().product::<usize>(), show(x)))
            .got(format!("the shape {target:?}"))
            .remedy("if this network was exported for one batch size, set `batch` to 1")
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
            // In inference, the mask keeps all elements.
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

    fn constancy(&self, _: &Inputs, _: &[usize]) -> Constancy {
        Constancy::Passed
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        propagate_moved(self, flow)
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let Self::Reshape { allow_zero } = self else { return Ok(()) };
        let Some(mut target) = r.literal(1) else { return Ok(()) };
        let before = target.clone();
        let (x, shape) = (&r.inputs.get(0)?.shape, &r.outputs[0].shape);
        let (mut open, mut dependent) = (Vec::new(), Vec::new());
        for (a, t) in target.iter_mut().enumerate() {
            match r.shrunk(0, a) {
                Some(left) if r.explicit || *t > 0 => {
                    *t = left as i64;
                    dependent.extend(r.follows_out[0][a].then_some(a));
                }
                None if r.explicit => {
                    let copied = !allow_zero
                        && x.get(a) == shape.get(a)
                        && r.follows_in[0].get(a) == r.follows_out[0].get(a)
                        && r.kept_inputs(0, a).iter().all(|&k| k);
                    *t = if copied { 0 } else { shape[a] as i64 };
                    open.extend((!copied).then_some(a));
                    dependent.extend((!copied && r.follows_out[0][a]).then_some(a));
                }
                _ => {}
            }
        }
        // A computed shape depends on the batch and the image size: one axis stays inferred (−1), preferably the one
        // that depends on free sizes.
        if let (true, [a], _) | (true, [], [a]) = (r.explicit, &dependent[..], &open[..]) {
            target[*a] = -1;
        }
        if target != before {
            r.set_list("shape", 1, false, target);
        }
        Ok(())
    }
}

/// The operators that change the order: output element `i` is input element `offset + Σ iₐ·stride[a]`.
#[derive(Debug)]
enum Rearrange {
    Transpose { perm: Option<Vec<i64>> },
    Expand,
    DepthToSpace { block: usize, column_row_depth: bool },
    SpaceToDepth { block: usize, column_row_depth: bool },
}

/// Builds Transpose: permutes the axes.
pub(super) fn transpose(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Rearrange::Transpose { perm: build.attrs.ints("perm")? }))
}

/// Builds Expand: broadcasts to a shape.
pub(super) fn expand(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Rearrange::Expand))
}

fn block_size(build: &Build) -> Result<usize> {
    let size = build.attrs.int_or("blocksize", 0)?;
    usize::try_from(size).ok().filter(|&b| b > 0).ok_or_else(|| {
        Error::new("the attribute blocksize does not fit")
            .expected("1 or more")
            .got(size.to_string())
            .invalid_model()
    })
}

fn column_row_depth(build: &Build) -> Result<bool> {
    match build.attrs.string("mode")?.as_deref() {
        None | Some("DCR") => Ok(false),
        Some("CRD") => Ok(true),
        Some(other) => Err(Error::new("an unknown mode").expected("DCR or CRD").got(other).invalid_model()),
    }
}

/// Builds DepthToSpace: moves blocks of channels to blocks of pixels.
pub(super) fn depth_to_space(build: &Build) -> Result<Box<dyn Operator>> {
    let column_row_depth = column_row_depth(build)?;
    Ok(Box::new(Rearrange::DepthToSpace { block: block_size(build)?, column_row_depth }))
}

/// Builds SpaceToDepth: moves blocks of pixels to blocks of channels.
pub(super) fn space_to_depth(build: &Build) -> Result<Box<dyn Operator>> {
    let column_row_depth = column_row_depth(build)?;
    Ok(Box::new(Rearrange::SpaceToDepth { block: block_size(build)?, column_row_depth }))
}

impl Rearrange {
    /// Returns the output's shape, and a strided view of the input with the output's elements in order.
    ///
    /// The view is given by its sizes and its strides in the input.
    fn view(&self, inputs: &Inputs) -> Result<(Vec<usize>, Vec<usize>, Vec<isize>)> {
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
                        .got(format!("{perm:?}"))
                        .with_kind(ErrorKind::InvalidModel));
                }
                let shape: Vec<usize> = perm.iter().map(|&a| x[a]).collect();
                Ok((shape.clone(), shape, perm.iter().map(|&a| from[a]).collect()))
            }
            Self::Expand => {
                let target = inputs.ints(1, "the shape of Expand")?.ok_or_else(|| {
                    Error::new("the shape of Expand is missing").with_kind(ErrorKind::InvalidModel)
                })?;
                let target: Vec<usize> = target
                    .iter()
                    .map(|&t| {
                        usize::try_from(t).map_err(|_| {
                            Error::new("a negative size in Expand")
                                .got(format!("{target:?}"))
                                .with_kind(ErrorKind::InvalidModel)
                        })
                    })
                    .collect::<Result<_>>()?;
                let shape = broadcast(x, &target)?;
                let lead = shape.len() - x.len();
                let steps = (0..shape.len())
                    .map(|a| if a < lead || x[a - lead] == 1 { 0 } else { from[a - lead] })
                    .collect();
                Ok((shape.clone(), shape, steps))
            }
            Self::DepthToSpace { block: b, column_row_depth } => {
                let (&[n, c, h, w], b2) = (nchw(x)?, b * b);
                if c % b2 != 0 {
                    return Err(Error::new("DepthToSpace of channels that its block does not divide")
                        .expected(format!("a multiple of {b2}"))
                        .got(c.to_string())
                        .with_kind(ErrorKind::InvalidModel));
                }
                let out = c / b2;
                let plane = (h * w) as isize;
                // Strides of (block row, block column, output channel) in the input's channels.
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
                        .got(show(x))
                        .with_kind(ErrorKind::InvalidModel));
                }
                let shape = vec![n, c * b * b, h / b, w / b];
                let (row, column) = ((*b, w as isize), (*b, 1));
                let order =
                    if *column_row_depth { [(c, from[1]), row, column] } else { [row, column, (c, from[1])] };
                let pixels = [(h / b, (b * w) as isize), (w / b, *b as isize)];
                let (view, steps) = [(n, from[0])].into_iter().chain(order).chain(pixels).unzip();
                Ok((shape, view, steps))
            }
        }
    }
}

fn nchw(x: &[usize]) -> Result<&[usize; 4]> {
    x.try_into().map_err(|_| {
        Error::new("a tensor of the wrong rank")
            .expected("N×C×H×W")
            .got(show(x))
            .with_kind(ErrorKind::InvalidModel)
    })
}

impl Operator for Rearrange {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        Ok(vec![inputs.get(0)?.with_shape(&self.view(inputs)?.0)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (_, view, from) = self.view(&l.inputs)?;
        let (src, dst) = (l.inputs.get(0)?.shape.iter().product(), view.iter().product());
        let copy = strided(&view, (src, 0, from), (dst, 0, strides(&view)))?;
        l.call(copy, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn constancy(&self, _: &Inputs, _: &[usize]) -> Constancy {
        if let Self::DepthToSpace { .. } = self { Constancy::Joined } else { Constancy::Passed }
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        if let Self::DepthToSpace { .. } = self {
            // Channels that become pixels of one channel are coupled, because pixels cannot be removed.
            let pixels = moved(self, flow)?.swap_remove(0);
            let labels = flow.coupling.classes.unite_along(&pixels, 1, flow.node.1);
            flow.set_output_along(0, 1, &labels);
            return Ok(());
        }
        propagate_moved(self, flow)
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
