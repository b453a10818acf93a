//! Gradients of kernel calls, as calls of other kernels.
//!
//! A call `y = k(x₀, x₁, …)` propagates the gradient `∂L/∂y` of a loss `L` to an input: `∂L/∂xᵢ = (∂y/∂xᵢ)ᵀ · ∂L/∂y`.
//! [`Kernel::gradient`] returns the calls that compute this product from the inputs, the output and its gradient: plain
//! data, like an [`Algorithm`](super::algorithm::Algorithm). `train::differentiate` appends them to a plan.

use std::sync::Arc;

use super::kernel::Kernel;

/// The gradient of one input of a call.
#[derive(Clone, Debug)]
pub enum Gradient {
    /// No derivative is implemented; training names the node.
    Unknown,
    /// Zero: the input holds indices or conditions, or the output is piecewise constant in it.
    Zero,
    /// Calls that compute the gradient.
    Calls(GradientCalls),
}

/// An operand of a call of a gradient.
#[derive(Clone, Debug)]
pub enum GradientOperand {
    /// An input of the differentiated call.
    Input(usize),
    /// The output of the differentiated call.
    Output,
    /// The gradient of the output; it has the length of the whole output buffer.
    OutputGradient,
    /// A temporary, by its number.
    Temp(usize),
    /// Constant numbers.
    Constant(Arc<Vec<f32>>),
}

/// One call of a gradient, which writes a temporary in whole or in part.
#[derive(Clone, Debug)]
pub struct GradientCall {
    /// The kernel that is called.
    pub kernel: Arc<dyn Kernel>,
    /// The operands that the call reads.
    pub inputs: Vec<GradientOperand>,
    /// The number of the temporary that the call writes.
    pub output: usize,
}

/// The calls of a gradient, in order of execution.
#[derive(Clone, Debug)]
pub struct GradientCalls {
    /// The number of elements of each temporary.
    pub temps: Vec<usize>,
    /// The calls.
    pub calls: Vec<GradientCall>,
    /// The operand that equals the gradient, with the length of the input.
    pub result: GradientOperand,
}

/// Collects the calls of a gradient.
#[derive(Debug, Default)]
pub struct GradientBuilder {
    temps: Vec<usize>,
    calls: Vec<GradientCall>,
}

impl GradientBuilder {
    /// Adds a call that writes a temporary of its own, and returns the temporary.
    pub fn call(&mut self, kernel: impl Kernel, inputs: Vec<GradientOperand>) -> GradientOperand {
        self.temps.push(kernel.output_len());
        let output = self.temps.len() - 1;
        self.calls.push(GradientCall { kernel: Arc::new(kernel), inputs, output });
        GradientOperand::Temp(output)
    }

    /// Adds a call that writes a part of the temporary `into`.
    ///
    /// # Panics
    /// If `into` is not a temporary.
    pub fn call_into(&mut self, kernel: impl Kernel, inputs: Vec<GradientOperand>, into: &GradientOperand) {
        let &GradientOperand::Temp(output) = into else { panic!("a call writes to {into:?}") };
        self.calls.push(GradientCall { kernel: Arc::new(kernel), inputs, output });
    }

    /// Returns the gradient, which `result` equals.
    pub fn finish(self, result: GradientOperand) -> Gradient {
        Gradient::Calls(GradientCalls { temps: self.temps, calls: self.calls, result })
    }
}
