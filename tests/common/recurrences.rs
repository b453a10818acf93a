//! Recurrent layers in the forms that exporters write.

use secateur::onnx::proto::AttributeProto;

use super::{Builder, Value, int, ints, text};

/// A recurrent layer to add: its operator, its sizes and what else the node has.
pub(crate) struct Recurrence<'a> {
    pub(crate) op: &'a str,
    pub(crate) channels: usize,
    pub(crate) hidden: usize,
    pub(crate) directions: usize,
    pub(crate) attributes: Vec<AttributeProto>,
    /// The inputs from the lengths of sequences on.
    pub(crate) more: &'a [&'a str],
}

impl Recurrence<'_> {
    /// A layer without optional inputs.
    pub(crate) fn new(op: &str, channels: usize, hidden: usize, directions: usize) -> Recurrence<'_> {
        Recurrence { op, channels, hidden, directions, attributes: vec![], more: &[] }
    }

    fn gates(&self) -> usize {
        match self.op {
            "RNN" => 1,
            "GRU" => 3,
            _ => 4,
        }
    }
}

impl Builder {
    /// Makes each pixel a time step: `[channels, side, side]` to `[steps, batch, channels]`.
    pub(crate) fn pixel_steps(&mut self, x: &Value) -> Value {
        let (c, s) = (x.channels(), x.square());
        let flat = self.whole(&[0, c as i64, -1]);
        let y = self.node("Reshape", &[&x.name, &flat], vec![], &[c, s * s]);
        self.node("Transpose", &[&y.name], vec![ints("perm", &[2, 0, 1])], &[0, c])
    }

    /// Adds a recurrent layer and returns the names of its outputs.
    pub(crate) fn recurrence(&mut self, x: &Value, layer: Recurrence) -> Vec<String> {
        let (d, h, rows) = (layer.directions, layer.hidden, layer.gates() * layer.hidden);
        let w = self.floats(&[d, rows, layer.channels], 0.0, (3.0 / layer.channels as f32).sqrt());
        let r = self.floats(&[d, rows, h], 0.0, (2.0 / h as f32).sqrt());
        let b = self.floats(&[d, 2 * rows], 0.0, 0.3);
        let mut inputs = vec![x.name.as_str(), &w, &r, &b];
        inputs.extend(layer.more);
        let mut attributes = vec![int("hidden_size", h as i64)];
        if d == 2 {
            attributes.push(text("direction", "bidirectional"));
        }
        attributes.extend(layer.attributes);
        let outputs = if layer.op == "LSTM" { 3 } else { 2 };
        let name = format!("{}{}", layer.op.to_lowercase(), self.count + 1);
        let outputs: Vec<String> = (0..outputs).map(|k| format!("{name}_{k}")).collect();
        self.several(layer.op, &inputs, attributes, &outputs);
        outputs
    }

    /// Joins the directions of all steps' hidden states, as PyTorch does: `[steps, batch, directions·hidden]`.
    pub(crate) fn joined(&mut self, y: &str, width: usize) -> Value {
        let turned = self.node("Transpose", &[y], vec![ints("perm", &[0, 2, 1, 3])], &[0, width]);
        let together = self.whole(&[0, 0, width as i64]);
        self.node("Reshape", &[&turned.name, &together], vec![], &[0, width])
    }

    /// Makes time steps pixels again: `[steps, batch, channels]` to `[channels, side, side]`.
    pub(crate) fn pixels_of_steps(&mut self, x: &Value, side: usize) -> Value {
        let (c, s) = (x.shape[1], side as i64);
        let y = self.node("Transpose", &[&x.name], vec![ints("perm", &[1, 2, 0])], &[c, side * side]);
        let target = self.whole(&[-1, c as i64, s, s]);
        self.node("Reshape", &[&y.name, &target], vec![], &[c, side, side])
    }

    /// Adds a constant of zeros whose middle axis is the batch of `x`, as PyTorch exports initial states.
    pub(crate) fn zero_states(&mut self, x: &Value, directions: usize, hidden: usize) -> String {
        let shape = self.node("Shape", &[&x.name], vec![], &[]);
        let one = self.whole(&[1]);
        let batch = self.node("Gather", &[&shape.name, &one], vec![int("axis", 0)], &[]);
        let (d, h) = (self.whole(&[directions as i64]), self.whole(&[hidden as i64]));
        let dims = self.node("Concat", &[&d, &batch.name, &h], vec![int("axis", 0)], &[]);
        self.node("ConstantOfShape", &[&dims.name], vec![], &[]).name
    }

    /// Adds a recurrent layer over pixels; `more` selects its form.
    pub(crate) fn recurrent_block(&mut self, x: &Value, hidden: usize, more: usize) -> Value {
        let (c, s) = (x.channels(), x.square());
        let steps = self.pixel_steps(x);
        let op = ["LSTM", "GRU", "RNN"][more % 3];
        let directions = 1 + more / 3 % 2;
        let state = self.zero_states(&steps, directions, hidden);
        let with_state = ["", state.as_str()];
        let attributes = match op {
            "GRU" => vec![int("linear_before_reset", (more / 2 % 2) as i64)],
            _ => vec![],
        };
        let more: &[&str] = if more.is_multiple_of(2) { &with_state } else { &[] };
        let layer = Recurrence { attributes, more, ..Recurrence::new(op, c, hidden, directions) };
        let outputs = self.recurrence(&steps, layer);
        let y = self.joined(&outputs[0], directions * hidden);
        self.pixels_of_steps(&y, s)
    }
}
