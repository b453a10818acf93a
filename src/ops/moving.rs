//! What all operators share that only move data: their lowering is strided copies, and the dye runs
//! the same copies on labels.

use std::any::Any;

use super::Operator;
use super::lower::{Emit, Lowering, Slot};
use crate::dye::flow::Flow;
use crate::dye::{Dyed, FROZEN, Label};
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::Inputs;
use crate::kernels::copy::Copy;
use crate::kernels::gather::Gather;
use crate::tensor::{elements, strides};

/// Runs an operator that only moves data on the labels of its inputs. Places that a fill writes, or that
/// indices choose which are not constant, are [`FROZEN`].
pub(super) fn carry(op: &dyn Operator, flow: &mut Flow) -> Result<()> {
    for (k, dyed) in moved(op, flow)?.into_iter().enumerate() {
        flow.set(k, dyed);
    }
    Ok(())
}

/// Where the labels of its inputs go.
pub(super) fn moved(op: &dyn Operator, flow: &Flow) -> Result<Vec<Dyed>> {
    let labels: Vec<Vec<Label>> = (0..flow.labels.len()).map(|i| flow.dyed(i).expand()).collect();
    let mut lowering = Lowering::new(flow.inputs.clone(), flow.outputs);
    op.lower(&mut lowering)?;
    let mut temps: Vec<Vec<Label>> = lowering.temps.iter().map(|&n| vec![FROZEN; n]).collect();
    let mut results: Vec<Vec<Label>> =
        flow.outputs.iter().map(|f| vec![FROZEN; elements(&f.shape).unwrap_or(0)]).collect();
    for emit in lowering.emitted {
        match emit {
            Emit::Alias { output, source } => results[output] = read(&source, &labels, &temps, &results),
            Emit::Call(call) => {
                let kernel: &dyn Any = &*call.kernel;
                let target = match call.output {
                    Slot::Temp(t) => &mut temps[t],
                    Slot::Output(k) => &mut results[k],
                    Slot::Input(_) | Slot::Constant(_) => {
                        return Err(Error::new("a call writes to its input"));
                    }
                };
                let mut written = std::mem::take(target);
                if let Some(copy) = kernel.downcast_ref::<Copy>() {
                    copy.apply(&read(&call.inputs[0], &labels, &temps, &results), &mut written);
                } else if let Some(gather) = kernel.downcast_ref::<Gather>()
                    && let Some(table) = table(&call.inputs[1], &flow.inputs)
                {
                    let source = read(&call.inputs[0], &labels, &temps, &results);
                    gather.apply(&source, &table, FROZEN, &mut written);
                } else {
                    written.fill(FROZEN);
                }
                match call.output {
                    Slot::Temp(t) => temps[t] = written,
                    Slot::Output(k) => results[k] = written,
                    Slot::Input(_) | Slot::Constant(_) => {}
                }
            }
        }
    }
    Ok(flow.outputs.iter().zip(results).map(|(fact, data)| Dyed::full(&fact.shape, data)).collect())
}

/// The indices of a pick, where they are constant.
fn table(slot: &Slot, inputs: &Inputs) -> Option<Vec<f64>> {
    match slot {
        Slot::Constant(c) => Some(c.iter().map(|&i| i.into()).collect()),
        Slot::Input(i) => Some(inputs.optional(*i)?.value.as_ref()?.to_f64()),
        Slot::Temp(_) | Slot::Output(_) => None,
    }
}

fn read(slot: &Slot, labels: &[Vec<Label>], temps: &[Vec<Label>], results: &[Vec<Label>]) -> Vec<Label> {
    match slot {
        Slot::Input(i) => labels[*i].clone(),
        Slot::Temp(t) => temps[*t].clone(),
        Slot::Output(k) => results[*k].clone(),
        Slot::Constant(c) => vec![FROZEN; c.len()],
    }
}

/// A box of the source that goes to a box of the target: how operators write their copies.
#[derive(Clone, Debug)]
pub(super) struct BoxMove<'a> {
    /// The source's shape.
    pub(super) src: &'a [usize],
    /// The first source index of each axis.
    pub(super) src_start: Vec<usize>,
    /// The step on the source along each axis; negative walks backwards.
    pub(super) src_step: Vec<isize>,
    /// The target's shape.
    pub(super) dst: &'a [usize],
    /// The first target index of each axis.
    pub(super) dst_start: Vec<usize>,
    /// How many indices of each axis are moved.
    pub(super) count: Vec<usize>,
}

impl BoxMove<'_> {
    /// The strided copy. An error where it has more axes than the kernel knows.
    pub(super) fn copy(&self) -> Result<Copy> {
        let (ss, ds) = (strides(self.src), strides(self.dst));
        let offset = |start: &[usize], strides: &[isize]| {
            start.iter().zip(strides).map(|(&i, &s)| i * s as usize).sum::<usize>()
        };
        let src_strides = ss.iter().zip(&self.src_step).map(|(s, step)| s * step).collect();
        strided(
            &self.count,
            (self.src.iter().product(), offset(&self.src_start, &ss), src_strides),
            (self.dst.iter().product(), offset(&self.dst_start, &ds), ds.clone()),
        )
    }
}

/// A strided copy from `(length, offset, strides)` to the same of the target.
pub(super) fn strided(
    shape: &[usize],
    src: (usize, usize, Vec<isize>),
    dst: (usize, usize, Vec<isize>),
) -> Result<Copy> {
    Copy::new(shape, src.0, src.1, &src.2, dst.0, dst.1, &dst.2).ok_or_else(|| {
        Error::new("a move over more axes than the engine knows").expected("at most 6 axes").remedy(LEAVE_OUT)
    })
}
