//! Operators that only move data: their lowering to strided copies, which also moves channel labels.

use std::any::Any;

use super::Operator;
use super::lower::{Emit, Lowering, Slot};
use crate::coupling::{ChannelLabels, FROZEN, Label, Propagation};
use crate::error::{Error, Result};
use crate::fact::Inputs;
use crate::kernels::movement::Copy;
use crate::kernels::movement::GatherKernel;
use crate::tensor::{elements, strides};

/// Propagates labels by running the lowering of an operator that only moves data on them.
///
/// Elements that a fill writes are [`FROZEN`].
pub(super) fn propagate_moved(op: &dyn Operator, flow: &mut Propagation) -> Result<()> {
    for (k, labels) in moved(op, flow)?.into_iter().enumerate() {
        flow.set_output(k, labels);
    }
    Ok(())
}

/// Returns the labels of the outputs of an operator that only moves data.
pub(super) fn moved(op: &dyn Operator, flow: &Propagation) -> Result<Vec<ChannelLabels>> {
    let mut lowering = Lowering::new(flow.inputs.clone(), flow.outputs);
    op.lower(&mut lowering)?;
    // Pixels of a channel that stay together are moved as one unit, the largest that all calls allow.
    let shape = &flow.outputs[0].shape;
    let units = (0..shape.len()).map(|first| shape[first..].iter().product()).filter(|&unit| unit > 1);
    for unit in units.chain([1]) {
        if let Some(moved) = moved_by(unit, &lowering, flow)? {
            return Ok(moved);
        }
    }
    Err(Error::new("labels that cannot be moved one by one").internal())
}

/// Moves labels in units of `unit` consecutive elements; `None` if a call splits such a unit.
fn moved_by(unit: usize, lowering: &Lowering, flow: &Propagation) -> Result<Option<Vec<ChannelLabels>>> {
    let moves: Option<Vec<LabelMove>> =
        lowering.emitted.iter().map(|emit| LabelMove::of(emit, unit)).collect();
    let Some(moves) = moves else { return Ok(None) };
    let labels: Vec<_> = (0..flow.labels.len()).map(|i| flow.input_labels(i).units(unit)).collect();
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
                    Slot::Input(_) | Slot::Constant(_) | Slot::Residual => {
                        return Err(Error::new("a call writes to its input").internal());
                    }
                };
                let mut written = std::mem::take(target);
                let source = call.inputs.first().map(|slot| read(slot, unit, &labels, &temps, &results));
                match (kind, source.flatten()) {
                    (LabelMove::Other, _) => written.fill(FROZEN),
                    (_, None) => return Ok(None),
                    (LabelMove::Copy(copy), Some(source)) => copy.apply(&source, &mut written),
                    (LabelMove::GatherKernel(gather), Some(source)) => {
                        let table = table(&call.inputs[1], &flow.inputs)
                            .ok_or_else(|| Error::new("labels cannot follow computed indices").internal())?;
                        gather.apply(&source, &table, FROZEN, &mut written);
                    }
                }
                match call.output {
                    Slot::Temp(t) => temps[t] = written,
                    Slot::Output(k) => results[k] = written,
                    Slot::Input(_) | Slot::Constant(_) | Slot::Residual => {}
                }
            }
        }
    }
    let outputs = flow
        .outputs
        .iter()
        .zip(results)
        .map(|(fact, labels)| ChannelLabels::from_units(&fact.shape, unit, labels));
    Ok(outputs.collect())
}

/// The effect of a call on labels.
enum LabelMove {
    Copy(Copy),
    GatherKernel(GatherKernel),
    /// A call that discards labels, or an alias.
    Other,
}

impl LabelMove {
    /// Classifies an emitted item, in whole units.
    fn of(emit: &Emit, unit: usize) -> Option<Self> {
        let Emit::Call(call) = emit else { return Some(Self::Other) };
        let kernel: &dyn Any = &*call.kernel;
        if let Some(copy) = kernel.downcast_ref::<Copy>() {
            copy.of_units(unit).map(Self::Copy)
        } else if let Some(gather) = kernel.downcast_ref::<GatherKernel>() {
            gather.of_units(unit).map(Self::GatherKernel)
        } else {
            Some(Self::Other)
        }
    }
}

/// Returns the indices of a gather, if they are constant.
fn table(slot: &Slot, inputs: &Inputs) -> Option<Vec<f64>> {
    match slot {
        Slot::Constant(c) => Some(c.iter().map(|&i| i.into()).collect()),
        Slot::Input(i) => Some(inputs.optional(*i)?.value.as_ref()?.to_f64()),
        Slot::Temp(_) | Slot::Output(_) | Slot::Residual => None,
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
        // Lowerings that move labels fuse nothing.
        Slot::Residual => None,
    }
}

/// A copy of a rectangular region of the source to a region of the target.
#[derive(Clone, Debug)]
pub(super) struct RegionCopy<'a> {
    /// The shape of the source.
    pub(super) src: &'a [usize],
    /// The first source index of each axis.
    pub(super) src_start: Vec<usize>,
    /// The step in the source along each axis; a negative step reverses the order.
    pub(super) src_step: Vec<isize>,
    /// The shape of the target.
    pub(super) dst: &'a [usize],
    /// The first target index of each axis.
    pub(super) dst_start: Vec<usize>,
    /// The number of indices moved along each axis.
    pub(super) count: Vec<usize>,
}

impl RegionCopy<'_> {
    /// Returns the strided copy.
    ///
    /// # Errors
    /// More axes than the kernel supports.
    pub(super) fn kernel(&self) -> Result<Copy> {
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

/// Creates a strided copy from `(length, offset, strides)` of the source to those of the target.
///
/// # Errors
/// More than 6 axes.
pub(super) fn strided(
    shape: &[usize],
    src: (usize, usize, Vec<isize>),
    dst: (usize, usize, Vec<isize>),
) -> Result<Copy> {
    Copy::new(shape, src.0, src.1, &src.2, dst.0, dst.1, &dst.2).ok_or_else(|| {
        Error::new("a copy over more axes than the engine supports").expected("at most 6 axes").unsupported()
    })
}
