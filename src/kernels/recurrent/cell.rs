//! The kinds of recurrent cells, and the functions of their gates.

use crate::kernels::activation::Activation;

/// A kind of recurrent cell, by the equations of the ONNX standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The simple cell `h' = f(x + R·h)`.
    Rnn,
    /// A gated recurrent unit, with the gates update, reset and hidden.
    Gru {
        /// True if the reset gate multiplies `R·h` instead of `h`.
        linear_before_reset: bool,
    },
    /// A long short-term memory, with the gates input, output, forget and cell.
    Lstm {
        /// True if the forget gate is 1 minus the input gate.
        input_forget: bool,
        /// True if gates also depend on the cell's state.
        peepholes: bool,
    },
}

impl Cell {
    /// Returns the number of gates.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }

    /// Returns the number of vectors that pass from step to step, or within a step, through the output.
    pub fn states(self) -> usize {
        match self {
            Self::Rnn | Self::Gru { linear_before_reset: true } => 1,
            Self::Gru { linear_before_reset: false } | Self::Lstm { .. } => 2,
        }
    }

    /// The cell's number in `shaders/recurrent/recurrent.wgsl`.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Rnn => 0,
            Self::Gru { linear_before_reset: false } => 1,
            Self::Gru { linear_before_reset: true } => 2,
            Self::Lstm { .. } => 3,
        }
    }
}

/// The function of a gate, `outer·f(inner·x) + shift`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateFunction {
    /// The elementwise function f.
    pub activation: Activation,
    /// The factor of the argument.
    pub inner: f32,
    /// The factor of the function's value.
    pub outer: f32,
    /// The term added to the product.
    pub shift: f32,
}

impl From<Activation> for GateFunction {
    fn from(activation: Activation) -> Self {
        Self { activation, inner: 1.0, outer: 1.0, shift: 0.0 }
    }
}

impl GateFunction {
    /// Applies the function in `f64`.
    pub(super) fn apply_f64(&self, x: f64) -> f64 {
        let [inner, outer, shift] = [self.inner, self.outer, self.shift].map(f64::from);
        outer * self.activation.apply_f64(inner * x) + shift
    }

    /// Applies the function to each element.
    pub(super) fn apply_slice(&self, xs: &mut [f32]) {
        if self.inner != 1.0 {
            xs.iter_mut().for_each(|x| *x *= self.inner);
        }
        self.activation.apply_slice(xs);
        if (self.outer, self.shift) != (1.0, 0.0) {
            xs.iter_mut().for_each(|x| *x = self.outer * *x + self.shift);
        }
    }

    /// The parameters of the activation, then the factors of argument and value.
    pub(super) fn params(&self) -> [f32; 4] {
        let [a, b] = self.activation.params();
        [a, b, self.inner, self.outer]
    }
}
