//! What all operators share that only move data: their lowering is strided copies, and the dye runs
//! the same copies on labels.

use std::any::Any;

use super::Operator;
use super::lower::{Emit, Lowering, Slot};
use crate::dye::flow::Flow;
use crate::dye::{Dyed, FROZEN, Label};
use crate::error::{Error, LEAVE_OUT, Result};
use crate::fact::Inputs;
use crate::kernels::movement::Copy;
use crate::kernels::movement::Gather;
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
    let mut lowering = Lowering::new(flow.inputs.clone(), flow.outputs);
    op.lower(&mut lowering)?;
    // Pixels of a channel that stay together are moved as one: the largest units that all of it allows.
    let shape = &flow.outputs[0].shape;
    let units = (0..shape.len()).map(|first| shape[first..].iter().product()).filter(|&unit| unit > 1);
    for unit in units.chain([1]) {
        if let Some(moved) = moved_by(unit, &lowering, flow)? {
            return Ok(moved);
        }
    }
    Err(Error::new("labels that cannot be moved one by one"))
}

/// The same where `unit` neighbours are one element; `None` where it tears some apart.
fn moved_by(unit: usize, lowering: &Lowering, flow: &Flow) -> Result<Option<Vec<Dyed>>> {
    let moves: Option<Vec<Move>> = lowering.emitted.iter().map(|emit| Move::of(emit, unit)).collect();
    let Some(moves) = moves else { return Ok(None) };
    let labels: Vec<_> = (0..flow.labels.len()).map(|i| flow.dyed(i).units(unit)).collect();
    let lens = |lens: &mut dyn Iterator<Item = usize>| -> Option<Vec<Vec<Label>>> {
        lens.map(|n| n.is_multiple_of(unit).then(|| vec![FROZEN; n / unit])).collect()
    };
    let temps = lens(&mut lowering.temps.iter().copied());
    let results = lens(&mut flow.outputs.iter().map(|f| elements(&f.shape).unwrap_or(0)));
    let (Some(mut temps), Some(mut results)) = (temps, results) else { return Ok(None) };
    for (emit, kind) in lowering.emitted.iter().zip(moves) {
        match emit {
            Emit::Alias { output, source } => match read(source, unit, &labels, &temps, &results) {
                Some(labels) => results[*output] = labels,
                None => return Ok(None),
            },
            Emit::Call(call) => {
                let target = match call.output {
                    Slot::Temp(t) => &mut temps[t],
                    Slot::Output(k) => &mut results[k],
                    Slot::Input(_) | Slot::Constant(_) | Slot::Addend => {
                        return Err(Error::new("a call writes to its input"));
                    }
                };
                let mut written = std::mem::take(target);
                let source = call.inputs.first().map(|slot| read(slot, unit, &labels, &temps, &results));
                match (kind, source.flatten()) {
                    (Move::Other, _) => written.fill(FROZEN),
                    (_, None) => return Ok(None),
                    (Move::Copy(copy), Some(source)) => copy.apply(&source, &mut written),
                    (Move::Gather(gather), Some(source)) => match table(&call.inputs[1], &flow.inputs) {
                        Some(table) => gather.apply(&source, &table, FROZEN, &mut written),
                        None => written.fill(FROZEN),
                    },
                }
                match call.output {
                    Slot::Temp(t) => temps[t] = written,
                    Slot::Output(k) => results[k] = written,
                    Slot::Input(_) | Slot::Constant(_) | Slot::Addend => {}
                }
            }
        }
    }
    let dyed =
        flow.outputs.iter().zip(results).map(|(fact, labels)| Dyed::of_units(&fact.shape, unit, labels));
    Ok(dyed.collect())
}

/// What a call does to labels.
enum Move {
    Copy(Copy),
    Gather(Gather),
    /// Nothing that they survive, or an alias.
    Other,
}

impl Move {
    /// By whole units.
    fn of(emit: &Emit, unit: usize) -> Option<Self> {
        let Emit::Call(call) = emit else { return Some(Self::Other) };
        let kernel: &dyn Any = &*call.kernel;
        if let Some(copy) = kernel.downcast_ref::<Copy>() {
            copy.of_units(unit).map(Self::Copy)
        } else if let Some(gather) = kernel.downcast_ref::<Gather>() {
            gather.of_units(unit).map(Self::Gather)
        } else {
            Some(Self::Other)
        }
    }
}

/// The indices of a pick, where they are constant.
fn table(slot: &Slot, inputs: &Inputs) -> Option<Vec<f64>> {
    match slot {
        Slot::Constant(c) => Some(c.iter().map(|&i| i.into()).collect()),
        Slot::Input(i) => Some(inputs.optional(*i)?.value.as_ref()?.to_f64()),
        Slot::Temp(_) | Slot::Output(_) | Slot::Addend => None,
    }
}

fn read(
    slot: &Slot,
    unit: usize,
    labels: &[Option<Vec<Label>>],
    temps: &[Vec<Label>],
    results: &[Vec<Label>],
) -> Option<Vec<Label>> {
    match slot {
        Slot::Input(i) => labels[*i].clone(),
        Slot::Temp(t) => Some(temps[*t].clone()),
        Slot::Output(k) => Some(results[*k].clone()),
        Slot::Constant(c) => c.len().is_multiple_of(unit).then(|| vec![FROZEN; c.len() / unit]),
        // Nothing is fused where labels flow.
        Slot::Addend => None,
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
