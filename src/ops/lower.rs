//! Lowering: a node becomes kernel calls over slots, and [`evaluate`] runs them in `f64`.

use std::sync::Arc;

use super::Operator;
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::Kernel;
use crate::kernels::activation::Activation;
use crate::tensor::{DType, Data, Tensor};

/// A place that a lowered call reads or writes.
#[derive(Clone, Debug)]
pub enum Slot {
    /// The node's input, by position.
    Input(usize),
    /// The node's output, by position.
    Output(usize),
    /// A temporary of this node, by number.
    Temp(usize),
    /// A constant made by the lowering.
    Constant(Arc<Vec<f32>>),
    /// What is fused as [`Fused::residual`].
    Residual,
}

/// A kernel call over slots.
#[derive(Clone, Debug)]
pub struct Call {
    /// The call.
    pub kernel: Arc<dyn Kernel>,
    /// What it reads.
    pub inputs: Vec<Slot>,
    /// What it writes, wholly or in part.
    pub output: Slot,
}

/// What a lowering emits.
#[derive(Clone, Debug)]
pub enum Emit {
    /// A kernel call.
    Call(Call),
    /// Output `output` has the elements of `source`, in the same order.
    Alias {
        /// The output's position.
        output: usize,
        /// What it equals.
        source: Slot,
    },
}

/// What a layer takes in from the nodes that follow it.
#[derive(Clone, Debug)]
pub struct Fused {
    /// For each output channel, `y = scale·x + shift`, before the activation.
    pub scale_shift: Option<(Vec<f64>, Vec<f64>)>,
    /// Whether an array like the output is added after that.
    pub residual: bool,
    /// The activation after all that.
    pub activation: Activation,
    /// Whether the largest of every 2×2 outputs is what stays.
    pub pooled: bool,
}

impl Default for Fused {
    fn default() -> Self {
        Self { scale_shift: None, residual: false, activation: Activation::None, pooled: false }
    }
}

/// The sink of one node's lowering.
#[derive(Debug)]
pub struct Lowering<'a> {
    /// The node's inputs.
    pub inputs: Inputs<'a>,
    /// The node's outputs, as inferred.
    pub outputs: &'a [Fact],
    /// What follows and is to be taken in; only for operators that say that they fuse.
    pub fused: Fused,
    /// The largest constant, in elements, that one call may read.
    pub max_constant: usize,
    /// What came out so far.
    pub emitted: Vec<Emit>,
    /// The elements of each temporary.
    pub temps: Vec<usize>,
}

impl<'a> Lowering<'a> {
    /// A sink with nothing fused and no limit.
    pub fn new(inputs: Inputs<'a>, outputs: &'a [Fact]) -> Self {
        Self {
            inputs,
            outputs,
            fused: Fused::default(),
            max_constant: usize::MAX,
            emitted: Vec::new(),
            temps: Vec::new(),
        }
    }

    /// Emits a call.
    pub fn call(&mut self, kernel: impl Kernel, inputs: Vec<Slot>, output: Slot) {
        self.emitted.push(Emit::Call(Call { kernel: Arc::new(kernel), inputs, output }));
    }

    /// Emits an alias.
    pub fn alias(&mut self, output: usize, source: Slot) {
        self.emitted.push(Emit::Alias { output, source });
    }

    /// A new temporary of `len` elements.
    pub fn temp(&mut self, len: usize) -> Slot {
        self.temps.push(len);
        Slot::Temp(self.temps.len() - 1)
    }

    /// The shape of output `k`.
    pub fn shape(&self, k: usize) -> &'a [usize] {
        &self.outputs[k].shape
    }
}

/// Runs a node on constants, in `f64`, from its lowering and the kernels' references.
pub fn evaluate(op: &dyn Operator, inputs: &Inputs, outputs: &[Fact]) -> Result<Vec<Tensor>> {
    // Where no box is left there is nothing to compute, and no kernel that has to know it.
    if outputs.iter().all(Fact::is_empty) {
        return Ok(outputs.iter().map(|fact| Tensor::from_f64(fact.dtype, &fact.shape, &[])).collect());
    }
    let values: Vec<Vec<f64>> = inputs
        .facts
        .iter()
        .map(|fact| fact.and_then(|f| f.value.as_ref()).map(Tensor::to_f64).unwrap_or_default())
        .collect();
    let mut lowering = Lowering::new(inputs.clone(), outputs);
    op.lower(&mut lowering)?;
    let mut temps: Vec<Vec<f64>> = lowering.temps.iter().map(|&n| vec![f64::NAN; n]).collect();
    let mut results: Vec<Option<Vec<f64>>> = vec![None; outputs.len()];
    // An alias of an input keeps integers that `f64` cannot hold (INT64_MAX as "to the end").
    let mut whole: Vec<Option<Data>> = vec![None; outputs.len()];
    let read = |slot: &Slot, temps: &[Vec<f64>], results: &[Option<Vec<f64>>]| match slot {
        Slot::Input(i) => Ok(values.get(*i).cloned().unwrap_or_default()),
        Slot::Temp(t) => Ok(temps[*t].clone()),
        Slot::Output(k) => {
            results[*k].clone().ok_or_else(|| Error::new("a constant is read before it is made"))
        }
        Slot::Constant(c) => Ok(c.iter().map(|&v| f64::from(v)).collect()),
        Slot::Residual => Err(Error::new("a residual that no operand provides")),
    };
    for emit in &lowering.emitted {
        match emit {
            Emit::Alias { output, source } => {
                if let Slot::Input(i) = source {
                    whole[*output] =
                        inputs.optional(*i).and_then(|f| f.value.as_ref()).map(|v| v.data.clone());
                }
                results[*output] = Some(read(source, &temps, &results)?);
            }
            Emit::Call(call) => {
                let ins =
                    call.inputs.iter().map(|s| read(s, &temps, &results)).collect::<Result<Vec<_>>>()?;
                let ins: Vec<&[f64]> = ins.iter().map(Vec::as_slice).collect();
                let out = match &call.output {
                    Slot::Temp(t) => &mut temps[*t],
                    Slot::Output(k) => {
                        results[*k].get_or_insert_with(|| vec![f64::NAN; call.kernel.output_len()])
                    }
                    Slot::Input(_) | Slot::Constant(_) | Slot::Residual => {
                        return Err(Error::new("a call writes to its input"));
                    }
                };
                call.kernel.reference(&ins, out);
            }
        }
    }
    outputs
        .iter()
        .zip(results)
        .zip(whole)
        .map(|((fact, result), whole)| {
            let result = result.unwrap_or_default();
            if crate::tensor::elements(&fact.shape) != Some(result.len()) {
                return Err(Error::new("a constant has a shape that does not fit its elements"));
            }
            let same_kind = |data: &Data| matches!(data, Data::Int(_)) != fact.dtype.is_float();
            Ok(match whole.filter(same_kind) {
                Some(data) => Tensor { dtype: fact.dtype, shape: fact.shape.clone(), data },
                None => Tensor::from_f64(fact.dtype, &fact.shape, &result),
            })
        })
        .collect()
}

/// The type of a result that keeps its input's.
pub(super) fn same_type(inputs: &Inputs) -> Result<DType> {
    Ok(inputs.get(0)?.dtype)
}
