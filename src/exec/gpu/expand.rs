//! From a plan's steps to launches: each step by the way that is chosen for it on this device.
//!
//! The choice looks at the adapter and the shape, never at the batch, so that an image gets the same bits in any
//! company. Temporaries of ways live beside the plan's buffers and serve one step after the other.

use std::ops::Range;
use std::sync::Arc;

use super::{Gpu, lock};
use crate::error::{Error, Result};
use crate::exec::info::DeviceInfo;
use crate::kernels::Kernel;
use crate::kernels::source::{Types, own_reads_halves};
use crate::kernels::way::{Adapters, Source, TEXELS, Way};
use crate::plan::{BufferId, ConstantId, Operand, Plan, Step};
use crate::tensor::Precision;

/// Which way is taken.
#[derive(Clone, Copy, Debug)]
pub enum Pick<'a> {
    /// What was timed, else what the rules say.
    Best,
    /// The one of this name, where a step has it; no name is the kernel's own shader.
    Named(&'a str),
}

/// What a launch reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Buffer(BufferId),
    Temp(usize),
    Constant(ConstantId),
}

/// One launch: a kernel over places.
pub(super) struct Piece {
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) inputs: Vec<Place>,
    pub(super) output: Place,
    pub(super) types: Types,
    pub(super) node: String,
}

/// A plan's launches.
pub(super) struct Expanded {
    pub(super) pieces: Vec<Piece>,
    /// Each step's.
    pub(super) steps: Vec<Range<usize>>,
    /// Elements of the temporaries.
    pub(super) temps: Vec<usize>,
}

impl Expanded {
    pub(super) fn new(gpu: &Gpu, plan: &Plan, pick: Pick) -> Result<Self> {
        let mut all = Self { pieces: vec![], steps: vec![], temps: vec![] };
        for step in &plan.steps {
            let first = all.pieces.len();
            match way(gpu, plan, &step.kernel, pick).map_err(|e| e.node(&step.node))? {
                Some(way) => all.add(plan, step, way)?,
                None => {
                    let inputs = step.inputs.iter().map(|&operand| place(operand)).collect();
                    all.push(plan, step, &step.kernel, inputs, Place::Buffer(step.output))?;
                }
            }
            all.steps.push(first..all.pieces.len());
        }
        Ok(all)
    }

    fn push(
        &mut self,
        plan: &Plan,
        step: &Step,
        kernel: &Arc<dyn Kernel>,
        inputs: Vec<Place>,
        output: Place,
    ) -> Result<()> {
        let node = step.node.clone();
        let types = types(plan, &**kernel, &inputs, output).map_err(|e| e.node(&node))?;
        self.pieces.push(Piece { kernel: Arc::clone(kernel), inputs, output, types, node });
        Ok(())
    }

    fn add(&mut self, plan: &Plan, step: &Step, way: Way) -> Result<()> {
        self.temps.resize(self.temps.len().max(way.temps.len()), 0);
        self.temps.iter_mut().zip(&way.temps).for_each(|(have, &need)| *have = (*have).max(need));
        for call in &way.calls {
            let source = |&source: &Source| match source {
                Source::Input(input) => place(step.inputs[input]),
                Source::Temp(temp) => Place::Temp(temp),
            };
            let output = call.output.map_or(Place::Buffer(step.output), Place::Temp);
            self.push(plan, step, &call.kernel, call.inputs.iter().map(source).collect(), output)?;
        }
        Ok(())
    }
}

fn place(operand: Operand) -> Place {
    match operand {
        Operand::Buffer(id) => Place::Buffer(id),
        Operand::Constant(id) => Place::Constant(id),
    }
}

/// What a launch's arrays are made of. Temporaries are single precision, and so are weights that meet them: the
/// transforms of Winograd's method multiply what rounding they have.
fn types(plan: &Plan, kernel: &dyn Kernel, inputs: &[Place], output: Place) -> Result<Types> {
    let row = kernel.row();
    let temps = inputs.iter().any(|place| matches!(place, Place::Temp(_)));
    let of_input = |(input, &place): (usize, &Place)| {
        let precision = match place {
            Place::Buffer(id) => plan.precision(id),
            Place::Constant(_) if plan.f16_storage.is_some() && !temps && row.weighs_halves(input) => {
                Precision::F16
            }
            Place::Constant(_) | Place::Temp(_) => Precision::F32,
        };
        (kernel.view(input), precision)
    };
    let inputs_of = inputs.iter().enumerate().map(of_input).collect();
    let output = if let Place::Buffer(id) = output { plan.precision(id) } else { Precision::F32 };
    let types = Types { output, inputs: inputs_of, addend: kernel.addend() };
    let read = types.inputs.iter().zip(inputs).enumerate().all(|(input, (&(_, precision), place))| {
        precision == Precision::F32 || matches!(place, Place::Constant(_)) || own_reads_halves(kernel, input)
    });
    if read && (output == Precision::F32 || row.writes_halves()) {
        return Ok(types);
    }
    Err(Error::new(format!("the plan gives the kernel {} halves where it takes none", row.name)))
}

/// The way to compute a call; `None` is its own shader.
fn way(gpu: &Gpu, plan: &Plan, kernel: &Arc<dyn Kernel>, pick: Pick) -> Result<Option<Way>> {
    let mut ways = kernel.ways().into_iter();
    match pick {
        Pick::Best => {
            if let Some(name) = lock(&gpu.tuned).way(&**kernel, plan.f16_storage.is_some()) {
                return Ok(ways.find(|way| way.name == name && goes(way, &gpu.info)));
            }
            let kind = if gpu.info.kind == "cpu" { Adapters::Software } else { Adapters::Real };
            Ok(ways.find(|way| way.rule == Some(kind) && goes(way, &gpu.info)))
        }
        Pick::Named(name) => match ways.find(|way| way.name == name) {
            Some(way) if !goes(&way, &gpu.info) => {
                Err(Error::new(format!("the device cannot go the way \"{name}\"")))
            }
            found => Ok(found),
        },
    }
}

/// Whether a device has what a way needs.
pub(super) fn goes(way: &Way, info: &DeviceInfo) -> bool {
    let bindable = info.max_storage_buffer_binding_size.min(info.max_buffer_size);
    let viewed = |kernel: &dyn Kernel| {
        let rows = |(input, len)| kernel.view(input).rows(len);
        kernel.input_lens().into_iter().enumerate().map(rows).max().unwrap_or(0)
    };
    way.temps.iter().all(|&len| len as u64 * 4 <= bindable)
        && way.calls.iter().all(|call| {
            let kernel = &*call.kernel;
            let (rows, most) = (viewed(kernel), info.max_texture_dimension as usize);
            kernel.subgroup().is_none_or(|size| info.subgroup_size == Some(size))
                && (rows == 0 || rows.max(TEXELS) <= most)
        })
}
