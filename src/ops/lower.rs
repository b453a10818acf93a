//! Lowering of nodes to kernel calls over slots, and their evaluation in `f64` ([`evaluate`]).

use std::sync::Arc;

use super::Operator;
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::Kernel;
use crate::kernels::activation::Activation;
use crate::tensor::{DType, Data, Tensor};

/// An operand of a lowered call.
#[derive(Clone, Debug)]
pub enum Slot {
    /// An input of the node, by position.
    Input(usize),
    /// An output of the node, by position.
    Output(usize),
    /// A temporary of the node, by number.
    Temp(usize),
    /// A constant created by the lowering.
    Constant(Arc<Vec<f32>>),
    /// The residual of [`Fused::residual`].
    Residual,
}

/// A kernel call over slots.
#[derive(Clone, Debug)]
pub struct Call {
    /// The kernel to run.
    pub kernel: Arc<dyn Kernel>,
    /// The operands that the kernel reads.
    pub inputs: Vec<Slot>,
    /// The operand that the kernel writes, in whole or in part.
    pub output: Slot,
}

/// An item that a lowering emits.
#[derive(Clone, Debug)]
pub enum Emit {
    /// A call of a kernel.
    Call(Call),
    /// An output with the elements of another operand, in equal order.
    Alias {
        /// The position of the output.
        output: usize,
        /// The operand that it equals.
        source: Slot,
    },
}

/// The operations of following nodes that are fused into a layer, in the order of the fields.
#[derive(Clone, Debug)]
pub struct Fused {
    /// The scale and shift of each output channel, `y = scale·x + shift`.
    pub scale_shift: Option<(Vec<f64>, Vec<f64>)>,
    /// True if a residual of the output's shape is added.
    pub residual: bool,
    /// The activation that is applied.
    pub activation: Activation,
    /// True if a 2×2 max pool follows.
    pub pooled: bool,
}

impl Default for Fused {
    fn default() -> Self {
        Self { scale_shift: None, residual: false, activation: Activation::None, pooled: false }
    }
}

/// The integers of a layer whose input 0 holds 8-bit integers in place of floats.
#[derive(Clone, Debug)]
pub struct Integers {
    /// True if the input holds integers from -128 to 127, false from 0 to 255.
    pub signed: bool,
    /// The integer of the input that stands for zero.
    pub zero: i32,
    /// The weights, integers from -128 to 127.
    pub weights: Arc<Vec<f32>>,
    /// The scale of each output channel's sum: that of the input times that of the weights.
    pub scales: Vec<f64>,
}

/// The sink of one node's lowering.
#[derive(Debug)]
pub struct Lowering<'a> {
    /// The facts of the node's inputs.
    pub inputs: Inputs<'a>,
    /// The facts of the node's outputs.
    pub outputs: &'a [Fact],
    /// The operations to fuse, which the operator must support ([`Operator::fuses_scale_shift`] and others).
    pub fused: Fused,
    /// The integers to compute with, for layers that read them ([`Operator::reads_integers`]).
    pub integers: Option<Integers>,
    /// True if quantizations may round in one call, which has no gradient.
    pub rounds_at_once: bool,
    /// The largest constant, in elements, that one call may read.
    pub max_constant: usize,
    /// The items emitted so far.
    pub emitted: Vec<Emit>,
    /// The number of elements of each temporary.
    pub temps: Vec<usize>,
}

impl<'a> Lowering<'a> {
    /// Creates an empty sink that fuses nothing and limits no constant.
    pub fn new(inputs: Inputs<'a>, outputs: &'a [Fact]) -> Self {
        Self {
            inputs,
            outputs,
            fused: Fused::default(),
            integers: None,
            rounds_at_once: false,
            max_constant: usize::MAX,
            emitted: Vec::new(),
            temps: Vec::new(),
        }
    }

    /// Emits a kernel call.
    pub fn call(&mut self, kernel: impl Kernel, inputs: Vec<Slot>, output: Slot) {
        self.emitted.push(Emit::Call(Call { kernel: Arc::new(kernel), inputs, output }));
    }

    /// Emits an output that equals `source`.
    pub fn alias(&mut self, output: usize, source: Slot) {
        self.emitted.push(Emit::Alias { output, source });
    }

    /// Allocates a temporary of `len` elements.
    pub fn temp(&mut self, len: usize) -> Slot {
        self.temps.push(len);
        Slot::Temp(self.temps.len() - 1)
    }

    /// Returns the shape of output `k`.
    pub fn shape(&self, k: usize) -> &'a [usize] {
        &self.outputs[k].shape
    }
}

/// Evaluates a node on constant inputs in `f64`, by its lowering and the kernels' references.
///
/// # Errors
/// Inputs that the operator refuses, and lowerings that do not fill their outputs.
pub fn evaluate(op: &dyn Operator, inputs: &Inputs, outputs: &[Fact]) -> Result<Vec<Tensor>> {
    // Kernels need not support empty outputs.
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
    // An alias of an input preserves integers that `f64` cannot represent (INT64_MAX as "to the end").
    let mut exact: Vec<Option<Data>> = vec![None; outputs.len()];
    let read = |slot: &Slot, temps: &[Vec<f64>], results: &[Option<Vec<f64>>]| match slot {
        Slot::Input(i) => Ok(values.get(*i).cloned().unwrap_or_default()),
        Slot::Temp(t) => Ok(temps[*t].clone()),
        Slot::Output(k) => {
            results[*k].clone().ok_or_else(|| Error::new("a constant is read before it is made").internal())
        }
        Slot::Constant(c) => Ok(c.iter().map(|&v| f64::from(v)).collect()),
        Slot::Residual => Err(Error::new("a call reads a residual that was not fused").internal()),
    };
    for emit in &lowering.emitted {
        match emit {
            Emit::Alias { output, source } => {
                if let Slot::Input(i) = source {
                    exact[*output] =
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
                        return Err(Error::new("a call writes to its input").internal());
                    }
                };
                call.kernel.reference(&ins, out);
            }
        }
    }
    outputs
        .iter()
        .zip(results)
        .zip(exact)
        .map(|((fact, result), exact)| {
            let result = result.unwrap_or_default();
            if crate::tensor::elements(&fact.shape) != Some(result.len()) {
                return Err(Error::new("a constant has a shape that does not fit its elements").internal());
            }
            let same_kind = |data: &Data| matches!(data, Data::Int(_)) != fact.dtype.is_float();
            Ok(match exact.filter(same_kind) {
                Some(data) => Tensor { dtype: fact.dtype, shape: fact.shape.clone(), data },
                None => Tensor::from_f64(fact.dtype, &fact.shape, &result),
            })
        })
        .collect()
}

/// Returns the element type of input 0, for operators that preserve the type.
pub(super) fn same_type(inputs: &Inputs) -> Result<DType> {
    Ok(inputs.get(0)?.dtype)
}
