//! The sizes of a recurrent layer, from the shapes of its inputs.

use super::attributes::Attributes;
use super::{B, INITIAL_C, INITIAL_H, LENGTHS, P, R, W, X};
use crate::error::{Error, Result};
use crate::fact::Inputs;
use crate::kernels::recurrent::Cell;
use crate::tensor::show;

/// The sizes of a recurrent layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) steps: usize,
    pub(super) batch: usize,
    /// The number of input channels.
    pub(super) channels: usize,
    pub(super) hidden: usize,
    pub(super) directions: usize,
    pub(super) gates: usize,
    pub(super) batch_first: bool,
}

impl Sizes {
    /// Derives the sizes, and checks that all inputs fit them.
    ///
    /// # Errors
    /// Inputs that violate the standard.
    pub(super) fn of(inputs: &Inputs, attributes: &Attributes) -> Result<Self> {
        let (x, r) = (&inputs.get(X)?.shape, &inputs.get(R)?.shape);
        let wrong = |what: &str, expected: &str, got: &[usize]| {
            Error::new(format!("a recurrent layer has inputs that do not fit: {what}"))
                .expected(expected)
                .got(show(got))
                .invalid_model()
        };
        let batch_first = attributes.batch_first;
        let (&[first, second, channels], &[.., hidden]) = (x.as_slice(), r.as_slice()) else {
            return Err(wrong("the input X", "three axes: steps, batch and channels", x));
        };
        let (steps, batch) = if batch_first { (second, first) } else { (first, second) };
        let (directions, gates) = (attributes.directions(), attributes.cell.gates());
        let sizes = Self { steps, batch, channels, hidden, directions, gates, batch_first };
        if steps == 0 || hidden == 0 {
            return Err(wrong("the input X", "at least one step and one hidden unit", x));
        }
        if attributes.hidden.is_some_and(|declared| declared != hidden) {
            return Err(Error::new("the attribute hidden_size does not fit the weights R")
                .expected(hidden.to_string())
                .got(attributes.hidden.unwrap_or_default().to_string())
                .invalid_model());
        }
        let rows = gates * hidden;
        let state = sizes.state_shape();
        let expected: [(usize, &str, Vec<usize>); 7] = [
            (W, "the weights W", vec![directions, rows, channels]),
            (R, "the weights R", vec![directions, rows, hidden]),
            (B, "the bias B", vec![directions, 2 * rows]),
            (LENGTHS, "the input sequence_lens", vec![batch]),
            (INITIAL_H, "the input initial_h", state.clone()),
            (INITIAL_C, "the input initial_c", state),
            (P, "the weights P", vec![directions, 3 * hidden]),
        ];
        // W and R are required.
        inputs.get(W)?;
        for (i, what, shape) in expected {
            let misfit = inputs.optional(i).filter(|fact| fact.shape != shape);
            if let Some(fact) = misfit {
                return Err(wrong(what, &show(&shape), &fact.shape));
            }
        }
        Ok(sizes)
    }

    /// Returns the shape of the output of all steps.
    pub(super) fn output_shape(&self) -> Vec<usize> {
        let Self { steps, batch, hidden, directions, .. } = *self;
        if self.batch_first {
            vec![batch, steps, directions, hidden]
        } else {
            vec![steps, directions, batch, hidden]
        }
    }

    /// Returns the shape of initial and final states.
    pub(super) fn state_shape(&self) -> Vec<usize> {
        let Self { batch, hidden, directions, .. } = *self;
        if self.batch_first { vec![batch, directions, hidden] } else { vec![directions, batch, hidden] }
    }

    /// Returns the number of steps of all sequences.
    pub(super) fn positions(&self) -> usize {
        self.steps * self.batch
    }

    /// Returns the number of rows of the weights of all directions.
    pub(super) fn gate_rows(&self) -> usize {
        self.directions * self.gates * self.hidden
    }

    /// Returns the kind of cell, given whether peepholes are present.
    pub(super) fn cell(attributes: &Attributes, inputs: &Inputs) -> Cell {
        match attributes.cell {
            Cell::Lstm { input_forget, .. } => {
                Cell::Lstm { input_forget, peepholes: inputs.optional(P).is_some() }
            }
            other => other,
        }
    }
}
