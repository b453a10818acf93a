//! Lowers a plan's steps to launches, each by the algorithm that is chosen for it on this device.
//!
//! The choice depends on the adapter and the shape, never on the batch: an image gets the same bits in every batch.
//! Steps share the temporaries of their algorithms, which stand beside the plan's buffers.

use std::ops::Range;
use std::sync::Arc;

use super::device::Gpu;
use super::pipeline::lock;
use crate::error::{Error, Result};
use crate::exec::info::DeviceInfo;
use crate::kernels::Kernel;
use crate::kernels::algorithm::{AdapterKind, Algorithm, CallInput};
use crate::kernels::algorithms::algorithms;
use crate::kernels::binding::ROW_TEXELS;
use crate::kernels::movement::Relayout;
use crate::kernels::source::{ShaderTypes, shader_reads_f16};
use crate::plan::{BufferId, ConstantId, Operand, Plan, Step};
use crate::tensor::Precision;

/// The most elements of computed weights that can be packed: an `f32` represents their positions exactly.
const MOST_MOVED: usize = 1 << 24;

/// How the algorithm of each step is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) enum AlgorithmChoice<'a> {
    /// The fastest if the shape was autotuned, else the first whose rule matches the adapter.
    Best,
    /// The algorithm of this name if the step has one, else the kernel's own shader.
    Named(&'a str),
}

/// An operand of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LaunchOperand {
    Buffer(BufferId),
    Temp(usize),
    Constant(ConstantId),
    /// A table of [`LoweredPlan::tables`].
    Table(usize),
}

/// One launch: a kernel with its operands.
pub(super) struct LoweredCall {
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) inputs: Vec<LaunchOperand>,
    /// Elements of each input; more than the kernel's if it is packed on the device.
    pub(super) lens: Vec<usize>,
    pub(super) output: LaunchOperand,
    pub(super) types: ShaderTypes,
    /// True for a part of an algorithm that replaces the kernel's own shader.
    pub(super) is_replacement: bool,
    /// The node of the step, for errors.
    pub(super) node: String,
}

/// A plan as launches.
pub(super) struct LoweredPlan {
    pub(super) calls: Vec<LoweredCall>,
    /// The calls of each step.
    pub(super) steps: Vec<Range<usize>>,
    /// Elements of each temporary.
    pub(super) temps: Vec<usize>,
    /// The tables by which computed weights are packed.
    pub(super) tables: Vec<Vec<f32>>,
}

impl LoweredPlan {
    /// Lowers all steps of a plan.
    ///
    /// # Errors
    /// Fails if a named algorithm does not run on the device, or if the plan stores an array as f16 that a shader
    /// needs as f32.
    pub(super) fn new(gpu: &Gpu, plan: &Plan, choice: AlgorithmChoice) -> Result<Self> {
        let mut all = Self { calls: vec![], steps: vec![], temps: vec![], tables: vec![] };
        for step in &plan.steps {
            let first = all.calls.len();
            match choose(gpu, plan, step, choice).map_err(|e| e.node(&step.node))? {
                Some(algorithm) => all.add(plan, step, algorithm)?,
                None => {
                    let inputs = step.inputs.iter().map(|&operand| place(operand)).collect();
                    all.push(plan, step, &step.kernel, inputs, LaunchOperand::Buffer(step.output))?;
                }
            }
            all.steps.push(first..all.calls.len());
        }
        Ok(all)
    }

    fn push(
        &mut self,
        plan: &Plan,
        step: &Step,
        kernel: &Arc<dyn Kernel>,
        inputs: Vec<LaunchOperand>,
        output: LaunchOperand,
    ) -> Result<()> {
        let node = step.node.clone();
        let (inputs, lens) = self.packed(plan, step, &**kernel, inputs)?;
        let types = types(plan, &**kernel, &inputs, output).map_err(|e| e.node(&node))?;
        self.calls.push(LoweredCall {
            kernel: Arc::clone(kernel),
            inputs,
            lens,
            output,
            types,
            is_replacement: false,
            node,
        });
        Ok(())
    }

    /// Packs computed inputs of a call by calls of their own, each to a temporary; returns all inputs with their lengths.
    fn packed(
        &mut self,
        plan: &Plan,
        step: &Step,
        kernel: &dyn Kernel,
        mut inputs: Vec<LaunchOperand>,
    ) -> Result<(Vec<LaunchOperand>, Vec<usize>)> {
        let mut lens = kernel.input_lens();
        for (input, place) in inputs.iter_mut().enumerate() {
            let constant = matches!(place, LaunchOperand::Constant(_) | LaunchOperand::Table(_));
            let Some(table) = (!constant).then(|| Relayout::table(kernel, input)).flatten() else { continue };
            if lens[input] > MOST_MOVED || !kernel.packs_by_moving() {
                return Err(Error::new("computed weights are too large to be packed on the device")
                    .expected(format!("at most {MOST_MOVED} elements"))
                    .got(lens[input].to_string())
                    .node(&step.node)
                    .remedy("set `device` to cpu"));
            }
            // A temporary of its own: the call may use the others.
            self.temps.push(table.len());
            let relayout: Arc<dyn Kernel> = Arc::new(Relayout { from: lens[input], to: table.len() });
            lens[input] = table.len();
            self.tables.push(table);
            let operands = vec![*place, LaunchOperand::Table(self.tables.len() - 1)];
            *place = LaunchOperand::Temp(self.temps.len() - 1);
            self.push(plan, step, &relayout, operands, *place)?;
        }
        Ok((inputs, lens))
    }

    fn add(&mut self, plan: &Plan, step: &Step, algorithm: Algorithm) -> Result<()> {
        self.temps.resize(self.temps.len().max(algorithm.temps.len()), 0);
        self.temps.iter_mut().zip(&algorithm.temps).for_each(|(have, &need)| *have = (*have).max(need));
        for call in &algorithm.calls {
            let source = |&source: &CallInput| match source {
                CallInput::Input(input) => place(step.inputs[input]),
                CallInput::Temp(temp) => LaunchOperand::Temp(temp),
            };
            let output = call.output.map_or(LaunchOperand::Buffer(step.output), LaunchOperand::Temp);
            let first = self.calls.len();
            self.push(plan, step, &call.kernel, call.inputs.iter().map(source).collect(), output)?;
            self.calls[first..].iter_mut().for_each(|call| call.is_replacement = true);
        }
        Ok(())
    }
}

fn place(operand: Operand) -> LaunchOperand {
    match operand {
        Operand::Buffer(id) => LaunchOperand::Buffer(id),
        Operand::Constant(id) => LaunchOperand::Constant(id),
    }
}

/// The types of a launch's arrays.
///
/// Temporaries are f32, and so are the weights beside them: Winograd's transforms amplify rounding errors.
fn types(
    plan: &Plan,
    kernel: &dyn Kernel,
    inputs: &[LaunchOperand],
    output: LaunchOperand,
) -> Result<ShaderTypes> {
    let row = kernel.row();
    let temps = inputs.iter().any(|place| matches!(place, LaunchOperand::Temp(_)));
    let of_input = |(input, &place): (usize, &LaunchOperand)| {
        let precision = match place {
            LaunchOperand::Buffer(id) => plan.precision(id),
            LaunchOperand::Constant(_)
                if plan.f16_storage.is_some() && !temps && row.reads_f16_weights(input) =>
            {
                Precision::F16
            }
            LaunchOperand::Constant(_) | LaunchOperand::Temp(_) | LaunchOperand::Table(_) => Precision::F32,
        };
        (kernel.binding(input), precision)
    };
    let inputs_of = inputs.iter().enumerate().map(of_input).collect();
    let output = if let LaunchOperand::Buffer(id) = output { plan.precision(id) } else { Precision::F32 };
    let types = ShaderTypes { output, inputs: inputs_of, residual: kernel.residual() };
    let read = types.inputs.iter().zip(inputs).enumerate().all(|(input, (&(_, precision), place))| {
        precision == Precision::F32
            || matches!(place, LaunchOperand::Constant(_))
            || shader_reads_f16(kernel, input)
    });
    if read && (output == Precision::F32 || row.writes_f16()) {
        return Ok(types);
    }
    Err(Error::new(format!("the plan stores an array as f16 that the kernel {} takes as f32 only", row.name)))
}

/// Chooses the algorithm of a call; `None` is its own shader.
fn choose(gpu: &Gpu, plan: &Plan, step: &Step, choice: AlgorithmChoice) -> Result<Option<Algorithm>> {
    let kernel = &step.kernel;
    let runs = |algorithm: &Algorithm| {
        runs_on(algorithm, &gpu.info) && reads(algorithm, step) && !gpu.refuses(algorithm)
    };
    let list = algorithms(&**kernel);
    match choice {
        AlgorithmChoice::Best => {
            if let Some(name) = lock(&gpu.autotuned).algorithm(&**kernel, plan.f16_storage.is_some()) {
                if name.is_empty() {
                    return Ok(None);
                }
                if let Some(tuned) = list.iter().find(|algorithm| algorithm.name == name && runs(algorithm)) {
                    return Ok(Some(tuned.clone()));
                }
            }
            let kind = if gpu.info.kind == "cpu" { AdapterKind::Software } else { AdapterKind::Hardware };
            Ok(list.into_iter().find(|algorithm| algorithm.rule == Some(kind) && runs(algorithm)))
        }
        AlgorithmChoice::Named(name) => match list.into_iter().find(|algorithm| algorithm.name == name) {
            Some(algorithm) if !runs(&algorithm) => {
                Err(Error::new(format!("the device cannot run the algorithm \"{name}\"")))
            }
            found => Ok(found),
        },
    }
}

/// Returns whether an algorithm can pack those inputs of a step that are computed.
fn reads(algorithm: &Algorithm, step: &Step) -> bool {
    let computed = |input: &CallInput| match *input {
        CallInput::Input(input) => matches!(step.inputs[input], Operand::Buffer(_)),
        CallInput::Temp(_) => false,
    };
    let weights = |input: &CallInput| computed(input) && *input == CallInput::Input(1);
    algorithm.calls.iter().all(|call| call.kernel.packs_by_moving() || !call.inputs.iter().any(weights))
}

/// Returns whether a device has the limits and the subgroup size that an algorithm needs.
pub(super) fn runs_on(algorithm: &Algorithm, info: &DeviceInfo) -> bool {
    let bindable = info.max_storage_buffer_binding_size.min(info.max_buffer_size);
    let texture_rows = |kernel: &dyn Kernel| {
        let rows = |(input, len)| kernel.binding(input).texture_rows(len);
        kernel.input_lens().into_iter().enumerate().map(rows).max().unwrap_or(0)
    };
    algorithm.temps.iter().all(|&len| len as u64 * 4 <= bindable)
        && algorithm.calls.iter().all(|call| {
            let kernel = &*call.kernel;
            let (rows, most) = (texture_rows(kernel), info.max_texture_dimension as usize);
            kernel.subgroup().is_none_or(|size| info.subgroup_size == Some(size))
                && (rows == 0 || rows.max(ROW_TEXELS) <= most)
        })
}
