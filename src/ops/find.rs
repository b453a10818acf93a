//! Operators that find elements: NonZero, Compress, Unique.
//!
//! How many they find is known only once the elements are. Where these are constant, so is what is found, and
//! Compress is a pick by a table; where the network computes them, the node runs on the host (`exec::tail`).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::lower::{Lowering, Slot};
use super::moving::carry;
use super::rank::around;
use super::{Build, Operator};
use crate::dye::flow::{Flow, Role};
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::movement::Gather;
use crate::tensor::{Data, Tensor, show, strides};

/// Constant input `i`, which must be there.
fn tensor<'a>(inputs: &Inputs<'a>, i: usize, what: &str) -> Result<&'a Tensor> {
    inputs.constant(i, what)?.ok_or_else(|| Error::new(format!("{what} is missing")))
}

/// What was found in constants.
pub(super) fn found(inputs: &Inputs, value: Tensor) -> Fact {
    let from_shape = inputs.facts.iter().flatten().any(|f| f.from_shape);
    Fact { from_shape, ..Fact::constant(value) }
}

#[derive(Debug)]
struct NonZero;

/// Builds a NonZero.
pub(super) fn non_zero(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(NonZero))
}

impl Operator for NonZero {
    fn shape_inputs(&self) -> &'static [usize] {
        &[0]
    }

    /// A column an element that is not zero, its index in each axis from the top down.
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
        Ok(vec![found(inputs, indices)])
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
struct Compress {
    /// `None` compresses the flattened tensor.
    axis: Option<i64>,
}

/// Builds a Compress.
pub(super) fn compress(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Compress { axis: build.attrs.int("axis")? }))
}

impl Compress {
    /// What is compressed, (outer, axis, inner), and the indices of that axis that stay.
    fn picked(&self, inputs: &Inputs) -> Result<((usize, usize, usize), Vec<usize>)> {
        let x = &inputs.get(0)?.shape;
        let split = match self.axis {
            Some(a) => around(x, axis(a, x.len())?)?,
            None => around(&[x.iter().product()], 0)?,
        };
        let condition = tensor(inputs, 1, "the condition of Compress")?;
        if condition.shape.len() != 1 || condition.len() > split.1 {
            return Err(Error::new("the condition of Compress does not fit")
                .expected(format!("a list of at most {}", split.1))
                .got(show(&condition.shape)));
        }
        let stays = condition.ints()?.iter().enumerate().filter(|(_, c)| **c != 0).map(|(i, _)| i);
        Ok((split, stays.collect()))
    }
}

impl Operator for Compress {
    fn shape_inputs(&self) -> &'static [usize] {
        &[1]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let count = self.picked(inputs)?.1.len();
        let mut shape = vec![count];
        if let Some(a) = self.axis {
            shape.clone_from(&x.shape);
            shape[axis(a, x.shape.len())?] = count;
        }
        Ok(vec![x.with_shape(&shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let ((outer, axis, inner), stays) = self.picked(&l.inputs)?;
        let table = Slot::Constant(Arc::new(stays.iter().map(|&i| i as f32).collect()));
        let kernel = Gather { outer, axis, count: stays.len(), inner, own: false };
        l.call(kernel, vec![Slot::Input(0), table], Slot::Output(0));
        Ok(())
    }

    fn keeps_constants(&self) -> bool {
        self.axis.is_some()
    }

    /// The condition loses the indices that its axis loses.
    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let Some(a) = self.axis else {
            flow.freeze_all("picks elements by their place in the whole tensor");
            return Ok(());
        };
        let at = axis(a, flow.inputs.get(0)?.shape.len())?;
        if flow.dyed(0).varies(at) {
            let mut labels = flow.along(0, at);
            labels.truncate(flow.inputs.get(1)?.shape[0]);
            flow.cut(1, 0, &labels, Role::Passenger);
        }
        carry(self, flow)
    }
}

#[derive(Debug)]
struct Unique {
    /// `None` compares the elements of the flattened tensor.
    axis: Option<i64>,
    sorted: bool,
}

/// Builds a Unique.
pub(super) fn unique(build: &Build) -> Result<Box<dyn Operator>> {
    let sorted = build.attrs.int_or("sorted", 1)? != 0;
    Ok(Box::new(Unique { axis: build.attrs.int("axis")?, sorted }))
}

/// The order of two elements; a number that is none comes last, as NumPy has it.
fn order(data: &Data, a: usize, b: usize) -> Ordering {
    match data {
        Data::Float(v) => v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())),
        Data::Int(v) => v[a].cmp(&v[b]),
    }
}

/// Elements picked out of a tensor.
fn pick(data: &Data, places: impl Iterator<Item = usize>) -> Data {
    match data {
        Data::Float(v) => Data::Float(Arc::new(places.map(|i| v[i]).collect())),
        Data::Int(v) => Data::Int(Arc::new(places.map(|i| v[i]).collect())),
    }
}

impl Operator for Unique {
    fn shape_inputs(&self) -> &'static [usize] {
        &[0]
    }

    /// The distinct slices, where each is met first, which one each slice is, and how often each is met.
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = tensor(inputs, 0, "the input of Unique")?;
        let mut shape = if self.axis.is_some() { x.shape.clone() } else { vec![x.len()] };
        let at = axis(self.axis.unwrap_or(0), shape.len())?;
        let (outer, size, inner) = around(&shape, at)?;
        let place = |slice: usize, e: usize| (e / inner * size + slice) * inner + e % inner;
        let compare = |&a: &usize, &b: &usize| {
            (0..outer * inner)
                .map(|e| order(&x.data, place(a, e), place(b, e)))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        let mut slices: Vec<usize> = (0..size).collect();
        // Stable: the first of equals stays the first.
        slices.sort_by(compare);
        let mut groups: Vec<&[usize]> = slices.chunk_by(|a, b| compare(a, b).is_eq()).collect();
        if !self.sorted {
            groups.sort_by_key(|group| group[0]);
        }
        let which: HashMap<usize, usize> =
            groups.iter().enumerate().flat_map(|(g, group)| group.iter().map(move |&s| (s, g))).collect();
        let list = |values: Vec<usize>| {
            let values: Vec<i64> = values.into_iter().map(|v| v as i64).collect();
            found(inputs, Tensor::int(&[values.len()], values))
        };
        shape[at] = groups.len();
        let places = (0..outer).flat_map(|o| {
            groups.iter().flat_map(move |g| (0..inner).map(move |i| (o * size + g[0]) * inner + i))
        });
        let distinct = Tensor { dtype: x.dtype, shape: shape.clone(), data: pick(&x.data, places) };
        Ok(vec![
            found(inputs, distinct),
            list(groups.iter().map(|g| g[0]).collect()),
            list((0..size).map(|s| which[&s]).collect()),
            list(groups.iter().map(|g| g.len()).collect()),
        ])
    }

    fn lower(&self, _: &mut Lowering) -> Result<()> {
        // Its values are in its facts: no kernel has to compute them.
        Ok(())
    }

    fn dye(&self, _: &mut Flow) -> Result<()> {
        Ok(())
    }
}
