//! Operators that compare or add up along one axis: ArgMax, ArgMin, TopK, CumSum.

use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::dye::flow::Flow;
use crate::dye::mix::Inexact;
use crate::dye::{Dyed, for_each_index};
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::{Fact, Inputs, axis};
use crate::kernels::reduction::Arg;
use crate::kernels::reduction::CumSum;
use crate::kernels::reduction::TopK as TopKKernel;
use crate::tensor::{DType, show};

/// The longest axis whose indices a float holds.
pub(super) const MOST_INDICES: usize = 1 << 24;

/// (outer, axis, inner) of a shape around an axis.
pub(super) fn around(shape: &[usize], at: usize) -> Result<(usize, usize, usize)> {
    if shape[at] > MOST_INDICES {
        return Err(Error::new("an axis that is too long for its indices")
            .expected(format!("at most {MOST_INDICES}"))
            .got(show(shape))
            .remedy(LEAVE_OUT));
    }
    Ok((shape[..at].iter().product(), shape[at], shape[at + 1..].iter().product()))
}

/// Channels on the axis along which a node mixes go together; along the others they go through.
fn carry_across(flow: &mut Flow, at: usize, reason: &str) {
    let x = flow.dyed(0);
    flow.mix(&x, &[at], Inexact::Never, reason);
    for k in 0..flow.outputs.len() {
        let shape = flow.outputs[k].shape.clone();
        // An output of another rank or length along the axis has one label there.
        let mut kept = x.shape.clone();
        kept[at] = 1;
        let mut labels = Vec::new();
        for_each_index(&kept, |index| labels.push(x.at(index)));
        let dyed = if shape.len() == x.shape.len() {
            Dyed::stored(&shape, &kept, labels)
        } else {
            Dyed::full(&shape, labels)
        };
        flow.set(k, dyed);
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

/// Builds an ArgMax.
pub(super) fn arg_max(build: &Build) -> Result<Box<dyn Operator>> {
    arg(build, false)
}

/// Builds an ArgMin.
pub(super) fn arg_min(build: &Build) -> Result<Box<dyn Operator>> {
    arg(build, true)
}

impl Operator for ArgExtreme {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let mut shape = inputs.get(0)?.shape.clone();
        let at = axis(self.axis, shape.len())?;
        if shape[at] == 0 {
            return Err(Error::new("the largest of nothing").got(show(&shape)));
        }
        around(&shape, at)?;
        if self.keep_dims {
            shape[at] = 1;
        } else {
            shape.remove(at);
        }
        Ok(vec![Fact::new(DType::I64, &shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let (outer, axis, inner) = around(x, axis(self.axis, x.len())?)?;
        let kernel = Arg { outer, axis, inner, least: self.least, last: self.last };
        l.call(kernel, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let at = axis(self.axis, flow.inputs.get(0)?.shape.len())?;
        carry_across(flow, at, "compares all channels");
        Ok(())
    }
}

/// Numbers that were given, for an error.
fn listed(numbers: Option<&[i64]>) -> String {
    numbers.map_or_else(|| "nothing".to_owned(), |numbers| format!("{numbers:?}"))
}

#[derive(Debug)]
struct TopK {
    axis: i64,
    /// Up to opset 9; later it is an input.
    k: Option<i64>,
    smallest: bool,
}

/// Builds a TopK. Unsorted results are given sorted, which the standard allows.
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
                .got(listed(other))),
        }
    }
}

impl Operator for TopK {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        let mut shape = x.shape.clone();
        let at = axis(self.axis, shape.len())?;
        around(&shape, at)?;
        shape[at] = self.count(inputs, shape[at])?;
        Ok(vec![x.with_shape(&shape), Fact::new(DType::I64, &shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let x = &l.inputs.get(0)?.shape;
        let (outer, axis, inner) = around(x, axis(self.axis, x.len())?)?;
        let k = self.count(&l.inputs, axis)?;
        for (output, indices) in [(0, false), (1, true)].into_iter().take(l.outputs.len()) {
            let kernel = TopKKernel { outer, axis, inner, k, smallest: self.smallest, indices };
            l.call(kernel, vec![Slot::Input(0)], Slot::Output(output));
        }
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let at = axis(self.axis, flow.inputs.get(0)?.shape.len())?;
        carry_across(flow, at, "ranks all channels");
        Ok(())
    }
}

#[derive(Debug)]
struct Running {
    exclusive: bool,
    reverse: bool,
}

/// Builds a CumSum.
pub(super) fn cum_sum(build: &Build) -> Result<Box<dyn Operator>> {
    let flag = |name: &str| Ok::<_, Error>(build.attrs.int_or(name, 0)? != 0);
    Ok(Box::new(Running { exclusive: flag("exclusive")?, reverse: flag("reverse")? }))
}

impl Running {
    fn axis(inputs: &Inputs) -> Result<usize> {
        let rank = inputs.get(0)?.shape.len();
        match inputs.ints(1, "the axis of CumSum")?.as_deref() {
            Some(&[a]) => axis(a, rank),
            other => Err(Error::new("the axis of CumSum must be one number").got(listed(other))),
        }
    }
}

impl Operator for Running {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let x = inputs.get(0)?;
        Self::axis(inputs)?;
        Ok(vec![x.with_shape(&x.shape)])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let (outer, axis, inner) = around(l.shape(0), Self::axis(&l.inputs)?)?;
        let kernel = CumSum { outer, axis, inner, exclusive: self.exclusive, reverse: self.reverse };
        l.call(kernel, vec![Slot::Input(0)], Slot::Output(0));
        Ok(())
    }

    fn dye(&self, flow: &mut Flow) -> Result<()> {
        let at = Self::axis(&flow.inputs)?;
        carry_across(flow, at, "adds up all channels");
        Ok(())
    }
}
