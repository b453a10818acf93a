//! The definition of a recurrent layer in `f64`, step by step and unit by unit.

use super::cell::Cell;
use super::shape::RecurrentKernel;

impl RecurrentKernel {
    /// Computes all states by the equations of the ONNX standard.
    pub(super) fn by_definition(&self, inputs: &[&[f64]], output: &mut [f64]) {
        for direction in self.first..self.first + self.count {
            for sequence in 0..self.batch {
                self.sequence(inputs, output, (sequence, direction));
            }
        }
    }

    fn sequence(&self, inputs: &[&[f64]], output: &mut [f64], (sequence, direction): (usize, usize)) {
        let hidden = self.hidden;
        let length = self.length(inputs[5][sequence]);
        let state = self.state_at(sequence, direction);
        let mut h = inputs[3][state..][..hidden].to_vec();
        let mut second = match self.cell {
            Cell::Lstm { .. } => inputs[4][state..][..hidden].to_vec(),
            Cell::Rnn | Cell::Gru { .. } => vec![0.0; hidden],
        };
        if length == 0 {
            h.fill(0.0);
            second.fill(0.0);
        }
        for step in 0..self.steps {
            let y = self.output_at(step, sequence, direction);
            output[y..][..hidden].fill(0.0);
        }
        for index in 0..length {
            let step = if self.is_backward(direction) { length - 1 - index } else { index };
            let x = &inputs[0][self.input_at(step, sequence, direction)..];
            h = self.step(x, inputs, direction, (&h, &mut second));
            let y = self.output_at(step, sequence, direction);
            output[y..][..hidden].copy_from_slice(&h);
        }
        for (at, state_of) in [h, second].iter().enumerate().take(self.cell.states()) {
            let first = self.sequence_len() + at * self.state_len() + state;
            output[first..][..hidden].copy_from_slice(state_of);
        }
    }

    /// Computes a step's hidden state, and updates the second state.
    fn step(
        &self,
        x: &[f64],
        inputs: &[&[f64]],
        direction: usize,
        (h, second): (&[f64], &mut [f64]),
    ) -> Vec<f64> {
        let hidden = self.hidden;
        let [f, g, outer] = self.functions;
        let product = |gate: usize, unit: usize, by: &[f64]| -> f64 {
            let row = (direction * self.cell.gates() + gate) * hidden + unit;
            inputs[1][row * hidden..][..hidden].iter().zip(by).map(|(r, h)| r * h).sum()
        };
        let constant = |which: usize, unit: usize| inputs[2][(direction * 4 + which) * hidden + unit];
        let clip = |v: f64| match self.clip.map(f64::from) {
            Some(bound) if v > bound => bound,
            Some(bound) if v < -bound => -bound,
            _ => v,
        };
        let plain = |gate: usize, unit: usize| x[gate * hidden + unit] + product(gate, unit, h);
        match self.cell {
            Cell::Rnn => (0..hidden).map(|u| f.apply_f64(clip(plain(0, u)))).collect(),
            Cell::Gru { linear_before_reset } => {
                let gate = |gate: usize, u: usize| f.apply_f64(clip(plain(gate, u)));
                if !linear_before_reset {
                    (0..hidden).for_each(|u| second[u] = gate(1, u) * h[u]);
                }
                let unit = |u: usize| {
                    let recurrent = if linear_before_reset {
                        gate(1, u) * (product(2, u, h) + constant(3, u))
                    } else {
                        product(2, u, second)
                    };
                    let candidate = g.apply_f64(clip(x[2 * hidden + u] + recurrent));
                    let update = gate(0, u);
                    (1.0 - update) * candidate + update * h[u]
                };
                (0..hidden).map(unit).collect()
            }
            Cell::Lstm { input_forget, peepholes } => {
                let mut unit = |u: usize| {
                    let peek = |which: usize, c: f64| if peepholes { constant(which, u) * c } else { 0.0 };
                    let before = second[u];
                    let input = f.apply_f64(clip(plain(0, u) + peek(0, before)));
                    let forget = match input_forget {
                        true => 1.0 - input,
                        false => f.apply_f64(clip(plain(2, u) + peek(2, before))),
                    };
                    second[u] = forget * before + input * g.apply_f64(clip(plain(3, u)));
                    let output = f.apply_f64(clip(plain(1, u) + peek(1, second[u])));
                    output * outer.apply_f64(second[u])
                };
                (0..hidden).map(&mut unit).collect()
            }
        }
    }
}
