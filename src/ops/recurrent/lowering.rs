//! The lowering of a recurrent layer: the input's products of all steps, the loop over steps, copies of the outputs.

use std::sync::Arc;

use super::attributes::Attributes;
use super::sizes::Sizes;
use super::{B, INITIAL_C, INITIAL_H, LENGTHS, P, R, W, X};
use crate::error::{Error, Result};
use crate::kernels::activation::Activation;
use crate::kernels::conv::ConvKernel;
use crate::kernels::recurrent::{Cell, RecurrentKernel};
use crate::kernels::window::Windows;
use crate::ops::conv_lowering::split_filters;
use crate::ops::data_movement::strided;
use crate::ops::lower::{Lowering, Slot};
use crate::tensor::Tensor;

/// The rows of the constants of a hidden unit: three peepholes and a bias.
const CONSTANTS: usize = 4;

/// Lowers a recurrent layer.
///
/// # Errors
/// Weights that are not constant.
pub(super) fn lower(l: &mut Lowering, attributes: &Attributes, sizes: &Sizes) -> Result<()> {
    let cell = Sizes::cell(attributes, &l.inputs);
    let weights = constant(l, W, "the weights W")?;
    let recurrence = Slot::Constant(constant(l, R, "the weights R")?);
    let (bias, constants) = biases(l, sizes, cell)?;
    let rows = sizes.gate_rows();
    let products = l.temp(sizes.positions() * rows);
    let kernel = ConvKernel {
        batch: sizes.positions(),
        groups: 1,
        in_channels: sizes.channels,
        out_channels: rows,
        windows: Windows::points([1, 1]),
        out_offset: 0,
        out_total: rows,
        residual: false,
        activation: Activation::None,
    };
    split_filters(
        l,
        kernel,
        (Slot::Input(X), Slot::Constant(weights), Slot::Constant(Arc::new(bias))),
        products.clone(),
    );
    let whole = RecurrentKernel {
        cell,
        functions: attributes.functions[0],
        clip: attributes.clip,
        steps: sizes.steps,
        batch: sizes.batch,
        hidden: sizes.hidden,
        directions: sizes.directions,
        first: 0,
        count: sizes.directions,
        reverse: attributes.reverse(),
        batch_first: sizes.batch_first,
    };
    let (sequence, state) = (whole.sequence_len(), whole.state_len());
    let filled = |value: f32, len: usize| Slot::Constant(Arc::new(vec![value; len]));
    let present = |i: usize| l.inputs.optional(i).map(|_| Slot::Input(i));
    let initial_h = present(INITIAL_H).unwrap_or_else(|| filled(0.0, state));
    let initial_c = match cell {
        Cell::Lstm { .. } => present(INITIAL_C).unwrap_or_else(|| filled(0.0, state)),
        Cell::Rnn | Cell::Gru { .. } => filled(0.0, 1),
    };
    let lengths = present(LENGTHS).unwrap_or_else(|| filled(sizes.steps as f32, sizes.batch));
    let constants = Slot::Constant(Arc::new(constants));
    let operands = vec![products, recurrence, constants, initial_h, initial_c, lengths];
    let len = sequence + cell.states() * state;
    let all = l.temp(len);
    let equal = attributes.functions.iter().all(|functions| *functions == whole.functions);
    let calls: Vec<RecurrentKernel> = if equal {
        vec![whole]
    } else {
        let of_direction =
            |(first, &functions)| RecurrentKernel { first, count: 1, functions, ..whole.clone() };
        attributes.functions.iter().enumerate().map(of_direction).collect()
    };
    for call in calls {
        l.call(call, operands.clone(), all.clone());
    }
    for (k, (first, count)) in
        [(0, sequence), (sequence, state), (sequence + state, state)].into_iter().enumerate()
    {
        // An absent output is a scalar.
        if l.outputs.get(k).is_some_and(|fact| !fact.shape.is_empty()) {
            let copy = strided(&[count], (len, first, vec![1]), (count, 0, vec![1]))?;
            l.call(copy, vec![all.clone()], Slot::Output(k));
        }
    }
    Ok(())
}

/// Returns the elements of a constant input.
fn constant(l: &Lowering, i: usize, what: &str) -> Result<Arc<Vec<f32>>> {
    let missing = || Error::new(format!("input {i} is missing")).invalid_model();
    Ok(l.inputs.constant(i, what)?.ok_or_else(missing)?.floats()?.clone())
}

/// Returns the biases that are added to the input's products, and the constants of each hidden unit.
///
/// The bias of a product that the reset gate multiplies is added to that product alone.
fn biases(l: &Lowering, sizes: &Sizes, cell: Cell) -> Result<(Vec<f32>, Vec<f32>)> {
    let h = sizes.hidden;
    let rows = sizes.gates * h;
    let stored = |i: usize, what: &str, len: usize| -> Result<Arc<Vec<f32>>> {
        match l.inputs.constant(i, what)?.map(Tensor::floats) {
            Some(values) => Ok(values?.clone()),
            None => Ok(Arc::new(vec![0.0; sizes.directions * len])),
        }
    };
    let biases = stored(B, "the bias B", 2 * rows)?;
    let peepholes = stored(P, "the weights P", 3 * h)?;
    let reset = cell == Cell::Gru { linear_before_reset: true };
    let (mut sums, mut constants) = (Vec::with_capacity(sizes.directions * rows), Vec::new());
    for (biases, peepholes) in biases.chunks(2 * rows).zip(peepholes.chunks(3 * h)) {
        let (of_input, of_state) = biases.split_at(rows);
        let separate = if reset { 2 * h } else { rows };
        let both = of_input.iter().zip(of_state).enumerate();
        sums.extend(both.map(|(row, (a, b))| if row < separate { a + b } else { *a }));
        constants.extend_from_slice(peepholes);
        let alone = of_state.get(separate..).unwrap_or_default();
        constants.extend_from_slice(alone);
        constants.resize(constants.len() + h - alone.len(), 0.0);
    }
    debug_assert_eq!(constants.len(), sizes.directions * CONSTANTS * h);
    Ok((sums, constants))
}
