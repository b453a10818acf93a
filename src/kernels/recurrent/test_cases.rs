//! Test cases of the recurrent kernel.

use std::sync::Arc;

use super::cell::{Cell, GateFunction};
use super::shape::RecurrentKernel;
use crate::kernels::activation::Activation;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::Kernel;

const GRU: Cell = Cell::Gru { linear_before_reset: false };
const GRU_LINEAR: Cell = Cell::Gru { linear_before_reset: true };
const LSTM: Cell = Cell::Lstm { input_forget: false, peepholes: false };

/// A forward layer with the default functions.
fn layer(cell: Cell, [steps, batch, hidden]: [usize; 3]) -> RecurrentKernel {
    let functions = match cell {
        Cell::Rnn => [Activation::Tanh, Activation::None, Activation::None],
        Cell::Gru { .. } | Cell::Lstm { .. } => [Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
    };
    RecurrentKernel {
        cell,
        functions: functions.map(GateFunction::from),
        clip: None,
        steps,
        batch,
        hidden,
        directions: 1,
        first: 0,
        count: 1,
        reverse: false,
        batch_first: false,
    }
}

fn both(layer: RecurrentKernel) -> RecurrentKernel {
    RecurrentKernel { directions: 2, count: 2, ..layer }
}

/// A case with full sequences, or sequences of these lengths.
fn case(label: &str, kernel: RecurrentKernel, lengths: Option<&[f32]>) -> Case {
    let mut inputs: Vec<Vec<f32>> =
        kernel.input_lens().iter().enumerate().map(|(i, &len)| noise(len, 21 + i as u64)).collect();
    // Weights of this size keep the states of many units away from the ends of the functions.
    let scale = 2.0 / (kernel.hidden as f32).sqrt();
    inputs[1].iter_mut().for_each(|w| *w *= scale);
    inputs[5] = lengths.map_or_else(|| vec![kernel.steps as f32; kernel.batch], <[f32]>::to_vec);
    Case { label: label.to_owned(), kernel: Arc::new(kernel), inputs }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, cell) in
        [("RNN", Cell::Rnn), ("GRU", GRU), ("GRU, linear before reset", GRU_LINEAR), ("LSTM", LSTM)]
    {
        cases.push(case(&format!("{name}, one of everything"), layer(cell, [1, 1, 1]), None));
        let wide = both(layer(cell, [5, 3, 65]));
        cases.push(case(&format!("{name}, both directions, more units than invocations"), wide, None));
        let ragged = both(layer(cell, [7, 6, 17]));
        let lengths = [7.0, 0.0, 3.0, 1.0, 9.0, 6.0];
        cases.push(case(&format!("{name}, sequences of several lengths"), ragged, Some(&lengths)));
        let turned =
            RecurrentKernel { reverse: true, batch_first: true, clip: Some(0.4), ..layer(cell, [4, 5, 16]) };
        cases.push(case(
            &format!("{name}, backwards, batch first, clipped"),
            turned,
            Some(&[4.0, 2.0, 4.0, 4.0, 3.0]),
        ));
    }
    let peepholes = Cell::Lstm { input_forget: false, peepholes: true };
    cases.push(case("peepholes", both(layer(peepholes, [6, 2, 9])), None));
    let coupled = Cell::Lstm { input_forget: true, peepholes: true };
    cases.push(case("a forget gate coupled to the input gate", both(layer(coupled, [6, 2, 9])), None));
    let scaled = GateFunction { activation: Activation::Tanh, inner: 0.7, outer: 1.3, shift: 0.0 };
    let affine = GateFunction { activation: Activation::None, inner: 1.0, outer: 0.25, shift: 0.5 };
    let functions = [affine, scaled, Activation::Softsign.into()];
    cases.push(case(
        "functions with factors",
        RecurrentKernel { functions, ..layer(LSTM, [4, 2, 33]) },
        None,
    ));
    let functions =
        [Activation::HardSigmoid(0.3, 0.4), Activation::Elu(0.6), Activation::None].map(Into::into);
    cases.push(case(
        "functions with parameters",
        RecurrentKernel { functions, ..layer(GRU, [4, 2, 5]) },
        None,
    ));
    let functions = [Activation::LeakyRelu(0.2), Activation::None, Activation::None].map(Into::into);
    cases.push(case(
        "an RNN of rectifiers",
        RecurrentKernel { functions, ..layer(Cell::Rnn, [3, 9, 130]) },
        None,
    ));
    let second = RecurrentKernel { first: 1, count: 1, ..both(layer(LSTM, [3, 2, 5])) };
    cases.push(case("one of two directions", second, None));
    cases
}
