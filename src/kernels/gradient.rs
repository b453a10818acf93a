//! Gradients of kernel calls, as calls of other kernels.
//!
//! A call `y = k(x₀, x₁, …)` propagates the gradient `∂L/∂y` of a loss `L` to an input: `∂L/∂xᵢ = (∂y/∂xᵢ)ᵀ · ∂L/∂y`.
//! [`Kernel::gradient`] returns the calls that compute this product from the inputs, the output and its gradient: plain
//! data, like an [`Algorithm`](super::algorithm::Algorithm). `train::differentiate` appends them to a plan.

use std::sync::Arc;

use super::kernel::Kernel;
pub use super::kernel::{Gradient, GradientCall, GradientCalls, GradientOperand};

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
