//! The loop over time steps of a recurrent layer. The products with the layer's input, which do not depend on each
//! other, are computed before by one [`ConvKernel`](crate::kernels::conv::ConvKernel).

use bytemuck::bytes_of;

use super::cell::{Cell, GateFunction};
use super::host::Packed;
pub(crate) use super::test_cases::cases;
use crate::compare::Tolerance;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow, Prepared};
use crate::kernels::shader::{WORKGROUP, grid, row, uniform, word};

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
    /// Kind of cell.
    pub cell: Cell,
    /// Functions of gates (f), of the candidate (g) and of the cell state (h); unused ones are arbitrary.
    pub functions: [GateFunction; 3],
    /// Bound of the magnitude of all arguments of gates.
    pub clip: Option<f32>,
    /// Number of time steps.
    pub steps: usize,
    /// Number of sequences.
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

uniform! {
    f: [f32; 4],
    g: [f32; 4],
    h: [f32; 4],
    shifts: [f32; 4],
    steps: u32,
    batch: u32,
    hidden: u32,
    directions: u32,
    first: u32,
    count: u32,
    state: u32,
    second: u32,
}

pub(crate) static ROW: KernelRow = row! {
    name: "recurrent",
    file: "recurrent/recurrent",
    shared: ["nan", "activation"],
    doc: "the time steps of RNN, GRU and LSTM",
};

/// Input that holds the recurrence weights.
const R: usize = 1;

impl Kernel for RecurrentKernel {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        let (gates, h) = (self.cell.gates(), self.hidden);
        let cells = if matches!(self.cell, Cell::Lstm { .. }) { self.state_len() } else { 1 };
        let weights = self.directions * gates * h * h;
        vec![
            self.sequence_len() * gates,
            weights,
            self.directions * 4 * h,
            self.state_len(),
            cells,
            self.batch,
        ]
    }

    fn output_len(&self) -> usize {
        self.sequence_len() + self.cell.states() * self.state_len()
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        self.by_definition(inputs, output);
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        self.run(&self.packed(inputs[R]), inputs, output);
    }

    fn prepare(&self, constants: &[Option<&[f32]>]) -> Option<Box<dyn Prepared>> {
        let packed = self.packed((*constants.get(R)?)?);
        Some(Box::new(WithPacked { kernel: self.clone(), packed }))
    }

    fn dispatch(&self) -> Dispatch {
        let [f, g, h] = self.functions;
        let params = Params {
            f: f.params(),
            g: g.params(),
            h: h.params(),
            shifts: [f.shift, g.shift, h.shift, self.clip.unwrap_or(0.0)],
            steps: word(self.steps),
            batch: word(self.batch),
            hidden: word(self.hidden),
            directions: word(self.directions),
            first: word(self.first),
            count: word(self.count),
            state: word(self.sequence_len()),
            second: word(self.sequence_len() + self.state_len()),
        };
        let flag = |f: bool| f64::from(u8::from(f));
        let (coupled, peepholes) = match self.cell {
            Cell::Lstm { input_forget, peepholes } => (input_forget, peepholes),
            Cell::Rnn | Cell::Gru { .. } => (false, false),
        };
        Dispatch {
            overrides: vec![
                ("CELL", self.cell.code().into()),
                ("ACT", f.activation.code().into()),
                ("ACT_G", g.activation.code().into()),
                ("ACT_H", h.activation.code().into()),
                ("CLIP", flag(self.clip.is_some())),
                ("INPUT_FORGET", flag(coupled)),
                ("PEEPHOLES", flag(peepholes)),
                ("REVERSE", flag(self.reverse)),
                ("BATCH_FIRST", flag(self.batch_first)),
            ],
            params: bytes_of(&params).to_vec(),
            // One workgroup for each sequence and direction.
            workgroups: grid(self.batch * self.count * WORKGROUP),
        }
    }

    /// Packs R as `[directions, hidden, gates, hidden]`, so that adjacent units read adjacent weights.
    fn pack(&self, input: usize, data: &[f32]) -> Option<Vec<f32>> {
        let (rows, h) = (self.cell.gates() * self.hidden, self.hidden);
        let of_direction = |matrix: &[f32]| {
            (0..h)
                .flat_map(|k| (0..rows).map(move |row| (row, k)))
                .map(|(row, k)| matrix[row * h + k])
                .collect::<Vec<f32>>()
        };
        (input == R).then(|| data.chunks((rows * h).max(1)).flat_map(of_direction).collect())
    }

    fn tolerance(&self) -> Tolerance {
        // Rounding errors of a step pass through all later ones.
        Tolerance::NETWORK
    }
}

/// A call with packed recurrence weights.
struct WithPacked {
    kernel: RecurrentKernel,
    packed: Vec<Packed>,
}

impl Prepared for WithPacked {
    fn run(&self, inputs: &[&[f32]], output: &mut [f32]) {
        self.kernel.run(&self.packed, inputs, output);
    }
}
