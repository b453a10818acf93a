//! Forms of a network's inputs: fixed batches, no batch axis, frames of clips, and several inputs.

use super::{
    AttributeProto, AttributeType, Builder, FLOAT, GraphProto, INT64, Value, ValueInfoProto, int, number,
    symbol, typed,
};

/// The first axis of a built network's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// A free batch.
    Batch,
    /// A batch of a fixed size, which Reshape nodes state.
    Fixed(usize),
    /// A batch of one that the input lacks: the first node adds it, the last one removes it.
    None,
    /// So many frames of one clip, over which the output is averaged.
    Frames(usize),
    /// So many frames of each clip of a free batch, folded into the first axis until the end.
    Folded(usize),
}

/// Declares an input or output; `dims` has numbers and names of free axes, as in `"N 3 32 32"`.
fn declared(name: &str, elem_type: i32, dims: &str) -> ValueInfoProto {
    let dim = |text: &str| text.parse().map_or_else(|_| symbol(text), number);
    typed(name, elem_type, dims.split_whitespace().map(dim).collect())
}

impl Builder {
    /// Adds an input of an element type and declared axes, as in `"N 3 32 32"`; free axes have names.
    pub(crate) fn declare(&mut self, name: &str, elem_type: i32, dims: &str) {
        self.inputs.push(declared(name, elem_type, dims));
    }

    /// Starts with one input of `shape` behind the first axis; returns the value that networks continue with.
    pub(crate) fn start(&mut self, name: &str, shape: &[usize]) -> Value {
        let sizes = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
        let given = Value { name: name.to_owned(), shape: shape.to_vec() };
        match self.first {
            First::Batch => self.declare(name, FLOAT, &format!("N {sizes}")),
            First::Fixed(n) | First::Frames(n) => self.declare(name, FLOAT, &format!("{n} {sizes}")),
            First::None => {
                self.declare(name, FLOAT, &sizes);
                let axis = self.whole(&[0]);
                return self.node("Unsqueeze", &[name, &axis], vec![], shape);
            }
            First::Folded(n) => {
                self.declare(name, FLOAT, &format!("N {n} {sizes}"));
                let target: Vec<i64> = [-1].into_iter().chain(shape.iter().map(|&d| d as i64)).collect();
                let target = self.whole(&target);
                return self.node("Reshape", &[name, &target], vec![], shape);
            }
        }
        given
    }

    /// Ends the network with features of each row: averages frames, and removes a batch axis that the input lacks.
    ///
    /// Returns the output's declaration.
    pub(super) fn end(&mut self, y: &Value) -> ValueInfoProto {
        let len = y.shape[0];
        let (y, dims) = match self.first {
            First::Batch => (y.clone(), format!("N {len}")),
            First::Fixed(n) => (y.clone(), format!("{n} {len}")),
            First::None => {
                let axis = self.whole(&[0]);
                (self.node("Squeeze", &[&y.name, &axis], vec![], &[]), len.to_string())
            }
            First::Frames(_) => {
                let axis = self.whole(&[0]);
                let keep = vec![int("keepdims", 0)];
                (self.node("ReduceMean", &[&y.name, &axis], keep, &[]), len.to_string())
            }
            First::Folded(n) => {
                let target = self.whole(&[-1, n as i64, len as i64]);
                let apart = self.node("Reshape", &[&y.name, &target], vec![], &[n, len]);
                let axis = self.whole(&[1]);
                let keep = vec![int("keepdims", 0)];
                (self.node("ReduceMean", &[&apart.name, &axis], keep, &[len]), format!("N {len}"))
            }
        };
        declared(&y.name, FLOAT, &dims)
    }

    /// Returns the first size of a Reshape to rows of the batch: 0 copies a free one.
    pub(super) fn rows(&self) -> i64 {
        match self.first {
            First::Fixed(n) => n as i64,
            _ => 0,
        }
    }

    /// Multiplies the channels by factors that a linear layer computes from a second input, a vector.
    pub(crate) fn by_vector(&mut self, x: &Value, vector: &str, len: usize) -> Value {
        let c = x.channels();
        self.declare(vector, FLOAT, &format!("N {len}"));
        let (w, b) = (self.floats(&[c, len], 0.0, 0.7), self.floats(&[c], 0.5, 0.3));
        let factors = self.node("Gemm", &[vector, &w, &b], vec![int("transB", 1)], &[c]);
        let factors = self.spread(&factors, x.shape.len() - 1);
        self.same("Mul", &[&x.name, &factors.name], vec![], x)
    }

    /// Multiplies the channels by the mean embedding of a second input, a list of tokens.
    pub(crate) fn by_tokens(&mut self, x: &Value, tokens: &str, len: usize) -> Value {
        let c = x.channels();
        self.declare(tokens, INT64, &format!("N {len}"));
        let table = self.floats(&[5, c], 0.5, 0.5);
        let embedded = self.node("Gather", &[&table, tokens], vec![int("axis", 0)], &[len, c]);
        let axis = self.whole(&[1]);
        let mean = self.node("ReduceMean", &[&embedded.name, &axis], vec![int("keepdims", 0)], &[c]);
        let factors = self.spread(&mean, x.shape.len() - 1);
        self.same("Mul", &[&x.name, &factors.name], vec![], x)
    }

    /// Multiplies a value by a second input without axes.
    pub(crate) fn by_scalar(&mut self, x: &Value, scalar: &str) -> Value {
        self.declare(scalar, FLOAT, "");
        self.same("Mul", &[&x.name, scalar], vec![], x)
    }

    /// Adds spatial axes of length one behind the channels.
    fn spread(&mut self, x: &Value, rank: usize) -> Value {
        let axes: Vec<i64> = (2..2 + rank as i64).collect();
        let axes = self.whole(&axes);
        let shape = [vec![x.channels()], vec![1; rank]].concat();
        self.node("Unsqueeze", &[&x.name, &axes], vec![], &shape)
    }

    /// Adds an If on a condition, whose branches are convolutions of `x` with weights of their own.
    pub(crate) fn either(&mut self, condition: &str, x: &Value, out: usize) -> Value {
        let branch = |b: &mut Self, name: &str| {
            let y = b.conv(x, out, 3, 1, 1);
            let output = vec![declared(&y.name, FLOAT, "N C H W")];
            let g = GraphProto {
                name: Some(name.to_owned()),
                node: b.nodes.pop().into_iter().collect(),
                output,
                ..Default::default()
            };
            AttributeProto {
                name: Some(name.to_owned()),
                r#type: Some(AttributeType::Graph as i32),
                g: Some(Box::new(g)),
                ..Default::default()
            }
        };
        let branches = vec![branch(self, "then_branch"), branch(self, "else_branch")];
        self.node("If", &[condition], branches, &[out, x.shape[1], x.shape[2]])
    }

    /// Returns the bytes of a file with `f32` outputs, given by names and declared axes.
    pub(crate) fn with_outputs(self, outputs: &[(&str, &str)]) -> Vec<u8> {
        self.file(outputs.iter().map(|(name, dims)| declared(name, FLOAT, dims)).collect())
    }
}
