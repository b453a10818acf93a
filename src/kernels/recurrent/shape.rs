//! The parameters of a recurrent layer's loop over time steps, and the positions of its data.

use super::cell::{Cell, GateFunction};

/// All time steps of one or both directions of a recurrent layer.
///
/// Inputs, with the batch before the steps and before the directions if `batch_first`:
/// * the input's products and biases, `[steps, batch, directions, gates, hidden]`;
/// * the recurrence weights R, `[directions, gates, hidden, hidden]`, which are constant;
/// * constants of each hidden unit, `[directions, 4, hidden]`: the peepholes of the input, output and forget gate, and
///   the bias that a reset gate multiplies;
/// * the initial hidden state, `[directions, batch, hidden]`;
/// * the initial cell state of the same shape for an LSTM, else one unused number;
/// * the number of steps of each sequence, `[batch]`.
///
/// Output: hidden states `[steps, directions, batch, hidden]` (`[batch, steps, directions, hidden]` if `batch_first`),
/// then final states `[directions, batch, hidden]`: the hidden state, and the cell state of an LSTM. A GRU that resets
/// before the product has the last reset state in place of the cell state. All are zero beyond a sequence's end, and
/// final states of an empty sequence are zero.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentKernel {
    /// Kind of the recurrent cells.
    pub cell: Cell,
    /// Functions of gates (f), of the candidate (g) and of the cell state (h); unused ones are arbitrary.
    pub functions: [GateFunction; 3],
    /// Bound of the magnitude of all arguments of gates.
    pub clip: Option<f32>,
    /// Number of time steps.
    pub steps: usize,
    /// Number of sequences in the batch.
    pub batch: usize,
    /// Number of hidden units.
    pub hidden: usize,
    /// Number of directions in inputs and output, 1 or 2; the second one runs backwards.
    pub directions: usize,
    /// First direction that this call computes.
    pub first: usize,
    /// Number of directions that this call computes.
    pub count: usize,
    /// True if the only direction runs backwards.
    pub reverse: bool,
    /// True if the batch is the first axis of inputs and outputs.
    pub batch_first: bool,
}

impl RecurrentKernel {
    /// Number of elements of all hidden states of all steps.
    pub fn sequence_len(&self) -> usize {
        self.steps * self.state_len()
    }

    /// Number of elements of the final states of one kind.
    pub fn state_len(&self) -> usize {
        self.directions * self.batch * self.hidden
    }

    /// Returns whether a direction runs backwards.
    pub(super) fn is_backward(&self, direction: usize) -> bool {
        if self.directions == 2 { direction == 1 } else { self.reverse }
    }

    /// Position of the first gate's product in the first input.
    pub(super) fn input_at(&self, step: usize, sequence: usize, direction: usize) -> usize {
        let row = if self.batch_first { sequence * self.steps + step } else { step * self.batch + sequence };
        (row * self.directions + direction) * self.cell.gates() * self.hidden
    }

    /// Position of a step's hidden state in the output.
    pub(super) fn output_at(&self, step: usize, sequence: usize, direction: usize) -> usize {
        let row = if self.batch_first {
            (sequence * self.steps + step) * self.directions + direction
        } else {
            (step * self.directions + direction) * self.batch + sequence
        };
        row * self.hidden
    }

    /// Position of a sequence's state among the states of one kind.
    pub(super) fn state_at(&self, sequence: usize, direction: usize) -> usize {
        let row = if self.batch_first {
            sequence * self.directions + direction
        } else {
            direction * self.batch + sequence
        };
        row * self.hidden
    }

    /// Converts the length of a sequence, which computed numbers may put out of range.
    pub(super) fn length(&self, length: f64) -> usize {
        // NaN becomes 0.
        (length as usize).min(self.steps)
    }
}
