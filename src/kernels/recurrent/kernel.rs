//! The loop over time steps of a recurrent layer. The products with the layer's input, which do not depend on each
//! other, are computed before by one [`ConvKernel`](crate::kernels::conv::ConvKernel).

use bytemuck::bytes_of;

use super::cell::Cell;
use super::host::Packed;
use super::shape::RecurrentKernel;
use crate::compare::Tolerance;
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow, Prepared};
use crate::kernels::shader::{WORKGROUP, grid, row, uniform, word};

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

    fn packs(&self, input: usize) -> bool {
        input == R
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
