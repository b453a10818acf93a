//! Operators that search for elements, with data-dependent output shapes: NonZero, Compress, Unique.
//!
//! If the searched elements are constant, the result is constant, and Compress is a gather by table. If the network
//! computes them, the node runs on the host (`exec::host_subgraph`).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::axes::split_at_axis;
use super::data_movement::propagate_moved;
use super::lower::{Lowering, Slot};
use super::{Build, Constancy, Operator};
use crate::coupling::{Propagation, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::movement::GatherKernel;
use crate::tensor::{Data, Tensor, show, strides};

/// Returns constant input `i`.
///
/// # Errors
/// An absent input, and one that is not constant.
fn tensor<'a>(inputs: &Inputs<'a>, i: usize, what: &str) -> Result<&'a Tensor> {
    inputs
        .constant(i, what)?
        .ok_or_else(|| Error::new(format!("{what} is missing")).with_kind(ErrorKind::InvalidModel))
}

/// Returns the fact of a value that was computed from constant inputs.
pub(super) fn constant_result(inputs: &Inputs, value: Tensor) -> Fact {
    let from_shape = inputs.facts.iter().flatten().any(|f| f.from_shape);
    Fact { from_shape, ..Fact::constant(value) }
}

#[derive(Debug)]
struct NonZero;

/// Builds NonZero: the indices of all elements that are not zero.
pub(super) fn non_zero(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(NonZero))
}

impl Operator for NonZero {
    fn shape_inputs(&self) -> &'static [usize] {
        &[0]
    }

    /// Returns one column for each non-zero element, with its index along each axis.
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = tensor(inputs, 0, "the input of NonZero")?;
        let places: Vec<usize> = match &x.data {
            Data::Float(v) => (0..v.len()).filter(|&i| v[i] != 0.0).collect(),
            Data::Int(v) => (0..v.len()).filter(|&i| v[i] != 0).collect(),
        };
        let rows = x.shape.iter().zip(strides(&x.shape));
        let indices =
            rows.flat_map(|(&size, step)| places.iter().map(move |i| (i / step as usize % size) as i64));
        let indices = Tensor::int(&[x.shape.len(), places.len()], indices.collect());
        Ok(vec![constant_result(inputs, indices)])
    }

    fn lower(&self, _: &mut Lowering) -> Result<()> {
        // The fact contains the value, so no kernel computes it.
        Ok(())
    }

    fn propagate(&self, _: &mut Propagation) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Compress {
    /// `None` compresses the flattened tensor.
    axis: Option<i64>,
}

/// Builds Compress: the slices whose condition is true.
pub(super) fn compress(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Compress { axis: build.attrs.int("axis")? }))
}

impl Compress {
    /// Returns the extents around the axis, and the indices of the axis that are kept.
    fn selected(&self, inputs: &Inputs) -> Result<((usize, usize, usize), Vec<usize>)> {
        let x = &inputs.get(0)?.shape;
        let split = match self.axis {
            Some(a) => split_at_axis(x, axis(a, x.len())?)?,
            None => split_at_axis(&[x.iter().product()], 0)?,
        };
        let condition = tensor(inputs, 1, "the condition of Compress")?;
        if condition.shape.len() != 1 || condition.len() > split.1 {
            return Err(Error::new("the condition of Compress does not fit")
                .expected(format!("a list of at most {}", split.1))
                .got(show(&condition.shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        let kept = condition.ints()?.iter().enumerate().filter(|(_, c)| **c != 0).map(|(i, _)| i);
        Ok((split, kept.collect()))
    }
}

impl Operator for Compress {
    fn shape_inputs(&self) -> &'static [usize] {
        &[1]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let count = self.selected(inputs)?.1.len();
        let mut shape = vec![count];
        if let Some(a) = self.axis {
            shape.clone_from(&x.shape);
            shape[axis(a, x.shape.len())?] = count;
        }
        Ok(vec![x.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let ((outer, axis, inner), kept) = self.selected(&l.inputs)?;
        let table = Slot::Constant(Arc::new(kept.iter().map(|&i| i as f32).collect()));
        let kernel = GatherKernel { outer, axis, count: kept.len(), inner, own: false };
        l.call(kernel, vec![Slot::Input(0), table], Slot::Output(0));
        Ok(())
    }

    fn constancy(&self, _: &Inputs, _: &[usize]) -> Constancy {
        if self.axis.is_some() { Constancy::Passed } else { Constancy::Lost }
    }

    /// Moves labels along, and removes indices of the condition together with those of the axis.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let Some(a) = self.axis else {
            flow.freeze_all("picks elements by their place in the whole tensor");
            return Ok(());
        };
        let at = axis(a, flow.inputs.get(0)?.shape.len())?;
        if flow.input_labels(0).varies(at) {
            let mut labels = flow.axis_labels(0, at);
            labels.truncate(flow.inputs.get(1)?.shape[0]);
            flow.label_constant(1, 0, &labels, Role::PerChannel);
        }
        propagate_moved(self, flow)
    }
}

#[derive(Debug)]
struct Unique {
    /// `None` compares the elements of the flattened tensor.
    axis: Option<i64>,
    sorted: bool,
}

/// Builds Unique: the distinct elements or slices, with indices and counts.
pub(super) fn unique(build: &Build) -> Result<Box<dyn Operator>> {
    let sorted = build.attrs.int_or("sorted", 1)? != 0;
    Ok(Box::new(Unique { axis: build.attrs.int("axis")?, sorted }))
}

/// Compares two elements; NaN is the largest number, as in NumPy.
fn compare_elements(data: &Data, a: usize, b: usize) -> Ordering {
    match data {
        Data::Float(v) => v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())),
        Data::Int(v) => v[a].cmp(&v[b]),
    }
}

/// Returns the elements of a tensor at `places`.
fn select(data: &Data, places: impl Iterator<Item = usize>) -> Data {
    match data {
        Data::Float(v) => Data::Float(Arc::new(places.map(|i| v[i]).collect())),
        Data::Int(v) => Data::Int(Arc::new(places.map(|i| v[i]).collect())),
    }
}

impl Operator for Unique {
    fn shape_inputs(&self) -> &'static [usize] {
        &[0]
    }

    /// Returns the distinct slices, their first indices, the inverse indices, and the counts.
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = tensor(inputs, 0, "the input of Unique")?;
        let mut shape = if self.axis.is_some() { x.shape.clone() } else { vec![x.len()] };
        let at = axis(self.axis.unwrap_or(0), shape.len())?;
        let (outer, size, inner) = split_at_axis(&shape, at)?;
        let place = |slice: usize, e: usize| (e / inner * size + slice) * inner + e % inner;
        let compare = |&a: &usize, &b: &usize| {
            (0..outer * inner)
                .map(|e| compare_elements(&x.data, place(a, e), place(b, e)))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        let mut slices: Vec<usize> = (0..size).collect();
        // The stable sort keeps the first of equal slices first.
        slices.sort_by(compare);
        let mut groups: Vec<&[usize]> = slices.chunk_by(|a, b| compare(a, b).is_eq()).collect();
        if !self.sorted {
            groups.sort_by_key(|group| group[0]);
        }
        let which: HashMap<usize, usize> =
            groups.iter().enumerate().flat_map(|(g, group)| group.iter().map(move |&s| (s, g))).collect();
        let list = |values: Vec<usize>| {
            let values: Vec<i64> = values.into_iter().map(|v| v as i64).collect();
            constant_result(inputs, Tensor::int(&[values.len()], values))
        };
        shape[at] = groups.len();
        let places = (0..outer).flat_map(|o| {
            groups.iter().flat_map(move |g| (0..inner).map(move |i| (o * size + g[0]) * inner + i))
        });
        let distinct = Tensor { dtype: x.dtype, shape: shape.clone(), data: select(&x.data, places) };
        Ok(vec![
            constant_result(inputs, distinct),
            list(groups.iter().map(|g| g[0]).collect()),
            list((0..size).map(|s| which[&s]).collect()),
            list(groups.iter().map(|g| g.len()).collect()),
        ])
    }

    fn lower(&self, _: &mut Lowering) -> Result<()> {
        // The facts contain the values, so no kernel computes them.
        Ok(())
    }

    fn propagate(&self, _: &mut Propagation) -> Result<()> {
        Ok(())
    }
}
