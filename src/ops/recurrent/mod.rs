//! The operators RNN, GRU and LSTM: one product with the input for all time steps, then the loop over steps.

mod attributes;
mod lowering;
mod sizes;

use attributes::Attributes;
use sizes::Sizes;

use super::lower::Lowering;
use super::rewrite::{Edit, Rewrite};
use super::{Build, Layer, Operator};
use crate::coupling::{ChannelLabels, Propagation, Role};
use crate::error::Result;
use crate::fact::{Fact, Inputs};
use crate::kernels::recurrent::Cell;

/// The positions of the inputs: X, W, R, B, lengths of sequences, initial states, peepholes.
const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const B: usize = 3;
const LENGTHS: usize = 4;
const INITIAL_H: usize = 5;
const INITIAL_C: usize = 6;
const P: usize = 7;

#[derive(Debug)]
struct Recurrent {
    attributes: Attributes,
}

/// Builds RNN: a layer of simple recurrent cells.
pub(super) fn rnn(build: &Build) -> Result<Box<dyn Operator>> {
    recurrent(build, Cell::Rnn)
}

/// Builds GRU: a layer of gated recurrent units.
pub(super) fn gru(build: &Build) -> Result<Box<dyn Operator>> {
    let linear_before_reset = build.attrs.int_or("linear_before_reset", 0)? != 0;
    recurrent(build, Cell::Gru { linear_before_reset })
}

/// Builds LSTM: a layer of long short-term memories.
pub(super) fn lstm(build: &Build) -> Result<Box<dyn Operator>> {
    let input_forget = build.attrs.int_or("input_forget", 0)? != 0;
    recurrent(build, Cell::Lstm { input_forget, peepholes: false })
}

fn recurrent(build: &Build, cell: Cell) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Recurrent { attributes: Attributes::read(&build.attrs, cell)? }))
}

impl Recurrent {
    fn sizes(&self, inputs: &Inputs) -> Result<Sizes> {
        Sizes::of(inputs, &self.attributes)
    }

    /// Returns whether an initial state is a constant of zeros, which can be left out.
    fn is_zero_state(inputs: &Inputs, i: usize) -> bool {
        let zero = |fact: &Fact| fact.value.as_ref().is_some_and(|v| v.to_f64().iter().all(|&v| v == 0.0));
        inputs.optional(i).is_some_and(zero)
    }
}

impl Operator for Recurrent {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let sizes = self.sizes(inputs)?;
        let x = inputs.get(X)?;
        let state = x.with_shape(&sizes.state_shape());
        let states = if matches!(self.attributes.cell, Cell::Lstm { .. }) { 2 } else { 1 };
        let mut outputs = vec![x.with_shape(&sizes.output_shape())];
        outputs.extend(vec![state; states]);
        Ok(outputs)
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let sizes = self.sizes(&l.inputs)?;
        lowering::lower(l, &self.attributes, &sizes)
    }

    /// Hidden unit `h` of every direction has one label: it owns a row of each gate's weights and biases, a column of R,
    /// and its place in states and outputs.
    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let sizes = self.sizes(&flow.inputs)?;
        let computed = |i: &usize| flow.inputs.optional(*i).is_some() && !flow.is_constant(*i);
        if [W, R, B, P].iter().any(computed) {
            flow.freeze_all("has weights that are computed");
            return Ok(());
        }
        let x = flow.axis_labels(X, 2);
        let rows = flow.input_labels(X);
        if !rows.varies(2) {
            flow.freeze(rows.labels(), "multiplies along an axis that is not the channels'");
        }
        let lengths = flow.input_labels(LENGTHS);
        flow.freeze(lengths.labels(), "takes the lengths of sequences from it");
        let units = flow.filter_labels(W, 1, sizes.hidden);
        let of_gates = |gates: usize| units.repeat(gates);
        let gates = self.attributes.cell.gates();
        flow.add_producer(W, 1, &of_gates(gates), &units);
        flow.label_constant(W, 2, &x, Role::Consumer);
        flow.label_constant(R, 1, &of_gates(gates), Role::Producer);
        flow.label_constant(R, 2, &units, Role::Consumer);
        flow.label_constant(B, 1, &of_gates(2 * gates), Role::Producer);
        flow.label_constant(P, 1, &of_gates(3), Role::Producer);
        for i in [INITIAL_H, INITIAL_C] {
            if flow.is_constant(i) {
                if !Self::is_zero_state(&flow.inputs, i) {
                    flow.label_constant(i, 2, &units, Role::PerChannel);
                }
            } else if flow.inputs.optional(i).is_some() {
                let state = flow.axis_labels(i, 2);
                flow.unite_all(&units, &state);
            }
        }
        for (k, fact) in flow.outputs.iter().enumerate() {
            // An absent output is a scalar.
            if let Some(last) = fact.shape.len().checked_sub(1) {
                flow.set_output(k, ChannelLabels::along(&fact.shape, last, &units));
            }
        }
        Ok(())
    }

    fn rewrite(&self, r: &mut Rewrite) -> Result<()> {
        let units = r.kept_inputs(R, 2);
        let left = units.iter().filter(|&&k| k).count();
        if left == units.len() {
            return Ok(());
        }
        r.set_int("hidden_size", left as i64);
        for i in [INITIAL_H, INITIAL_C] {
            if Self::is_zero_state(&r.inputs, i) {
                r.edits.push(Edit::Omit(i));
            }
        }
        Ok(())
    }

    fn macs(&self, inputs: &Inputs, outputs: &[Fact]) -> u64 {
        let Ok(sizes) = self.sizes(inputs) else { return 0 };
        let of_input = sizes.gate_rows() * sizes.channels;
        let recurrence = self.recurrence(inputs, outputs).map_or(0, |(_, macs)| macs);
        sizes.positions() as u64 * of_input as u64 + recurrence
    }

    fn recurrence(&self, inputs: &Inputs, _: &[Fact]) -> Option<(usize, u64)> {
        let sizes = self.sizes(inputs).ok()?;
        Some((R, sizes.positions() as u64 * (sizes.gate_rows() * sizes.hidden) as u64))
    }

    fn layer(&self) -> Option<Layer> {
        Some(Layer {
            weight: W,
            filters: 1,
            channels: -1,
            groups: 1,
            transposed: false,
            bias: None,
            plain: false,
            gates: Some(self.attributes.cell.gates()),
        })
    }
}
