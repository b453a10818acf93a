//! Operators that compare or accumulate along one axis: ArgMax, ArgMin, TopK, CumSum.

use super::axes::split_at_axis;
use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::coupling::{ChannelLabels, Inexact, Propagation, for_each_index};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::reduction::Arg;
use crate::kernels::reduction::CumSumKernel;
use crate::kernels::reduction::TopKKernel;
use crate::tensor::{DType, show};

/// Unites channels along axis `at`, which the node mixes, and passes those of other axes on.
fn propagate_across(flow: &mut Propagation, at: usize, reason: &str) {
    let x = flow.input_labels(0);
    flow.mix(&x, &[at], Inexact::Never, reason);
    for k in 0..flow.outputs.len() {
        let shape = flow.outputs[k].shape.clone();
        // An output may lack the axis, or have another length along it.
        let mut kept = x.shape.clone();
        kept[at] = 1;
        let mut labels = Vec::new();
        for_each_index(&kept, |index| labels.push(x.at(index)));
        let labels = if shape.len() == x.shape.len() {
            ChannelLabels::broadcast(&shape, &kept, labels)
        } else {
            ChannelLabels::full(&shape, labels)
        };
        flow.set_output(k, labels);
    }
}

#[derive(Debug)]
struct ArgExtreme {
    axis: i64,
    keep_dims: bool,
    least: bool,
    last: bool,
}

fn arg(build: &Build, least: bool) -> Result<Box<dyn Operator>> {
    Ok(Box::new(ArgExtreme {
        axis: build.attrs.int_or("axis", 0)?,
        keep_dims: build.attrs.int_or("keepdims", 1)? != 0,
        least,
        last: build.attrs.int_or("select_last_index", 0)? != 0,
    }))
}

/// Builds ArgMax: the index of the largest element along an axis.
pub(super) fn arg_max(build: &Build) -> Result<Box<dyn Operator>> {
    arg(build, false)
}

/// Builds ArgMin: the index of the smallest element along an axis.
pub(super) fn arg_min(build: &Build) -> Result<Box<dyn Operator>> {
    arg(build, true)
}

impl Operator for ArgExtreme {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let mut shape = inputs.get(0)?.shape.clone();
        let at = axis(self.axis, shape.len())?;
        if shape[at] == 0 {
            return Err(Error::new("an axis without elements")
                .got(show(&shape))
                .with_kind(ErrorKind::InvalidModel));
        }
        split_at_axis(&shape, at)?;
        if self.keep_dims {
            shape[at] = 1;
        } else {
            shape.remove(at);
        }
        Ok(vec![Fact::new(DType::I64, &shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let (outer, axis, inner) = split_at_axis(x, axis(self.axis, x.len())?)?;
        let kernel = Arg { outer, axis, inner, least: self.least, last: self.last };
        l.call(kernel, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let at = axis(self.axis, flow.inputs.get(0)?.shape.len())?;
        propagate_across(flow, at, "compares all channels");
        Ok(())
    }
}

/// Formats the numbers of an input for an error message.
fn listed(numbers: Option<&[i64]>) -> String {
    numbers.map_or_else(|| "nothing".to_owned(), |numbers| format!("{numbers:?}"))
}

#[derive(Debug)]
struct TopK {
    axis: i64,
    /// The attribute `k`, which is an input since opset 10.
    k: Option<i64>,
    smallest: bool,
}

/// Builds TopK: the k largest or smallest elements along an axis, with their indices.
///
/// The results are sorted even if the node does not require it.
pub(super) fn top_k(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(TopK {
        axis: build.attrs.int_or("axis", -1)?,
        k: build.attrs.int("k")?,
        smallest: build.attrs.int_or("largest", 1)? == 0,
    }))
}

impl TopK {
    fn count(&self, inputs: &Inputs, size: usize) -> Result<usize> {
        let given = match self.k {
            Some(k) => Some(vec![k]),
            None => inputs.ints(1, "the k of TopK")?,
        };
        match given.as_deref() {
            Some(&[k]) if (0..=size as i64).contains(&k) => Ok(k as usize),
            other => Err(Error::new("the k of TopK does not fit")
                .expected(format!("one number up to {size}"))
                .got(listed(other))
                .with_kind(ErrorKind::InvalidModel)),
        }
    }
}

impl Operator for TopK {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let mut shape = x.shape.clone();
        let at = axis(self.axis, shape.len())?;
        split_at_axis(&shape, at)?;
        shape[at] = self.count(inputs, shape[at])?;
        Ok(vec![x.with_shape(&shape), Fact::new(DType::I64, &shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let (outer, axis, inner) = split_at_axis(x, axis(self.axis, x.len())?)?;
        let k = self.count(&l.inputs, axis)?;
        for (output, indices) in [(0, false), (1, true)].into_iter().take(l.outputs.len()) {
            let kernel = TopKKernel { outer, axis, inner, k, smallest: self.smallest, indices };
            l.call(kernel, vec![Slot::Input(0)], Slot::Output(output));
        }
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let at = axis(self.axis, flow.inputs.get(0)?.shape.len())?;
        propagate_across(flow, at, "ranks all channels");
        Ok(())
    }
}

#[derive(Debug)]
struct CumSum {
    exclusive: bool,
    reverse: bool,
}

/// Builds CumSum: running sums along an axis.
pub(super) fn cum_sum(build: &Build) -> Result<Box<dyn Operator>> {
    let flag = |name: &str| Ok::<_, Error>(build.attrs.int_or(name, 0)? != 0);
    Ok(Box::new(CumSum { exclusive: flag("exclusive")?, reverse: flag("reverse")? }))
}

impl CumSum {
    fn axis(inputs: &Inputs) -> Result<usize> {
        let rank = inputs.get(0)?.shape.len();
        match inputs.ints(1, "the axis of CumSum")?.as_deref() {
            Some(&[a]) => axis(a, rank),
            other => Err(Error::new("the axis of CumSum must be one number")
                .got(listed(other))
                .with_kind(ErrorKind::InvalidModel)),
        }
    }
}

impl Operator for CumSum {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        Self::axis(inputs)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (outer, axis, inner) = split_at_axis(l.shape(0), Self::axis(&l.inputs)?)?;
        let kernel = CumSumKernel { outer, axis, inner, exclusive: self.exclusive, reverse: self.reverse };
        l.call(kernel, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let at = Self::axis(&flow.inputs)?;
        propagate_across(flow, at, "adds up all channels");
        Ok(())
    }
}
