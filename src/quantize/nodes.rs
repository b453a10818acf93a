//! New nodes and initializers of a model.

use std::collections::HashSet;

use crate::onnx::proto::{GraphProto, NodeProto, TensorProto};
use crate::onnx::tensor::encode;
use crate::prune::value_names;
use crate::tensor::Tensor;

/// Nodes and initializers to add to a graph, with names that it does not have yet.
pub(super) struct NewNodes {
    names: HashSet<String>,
    /// The nodes, in order of execution.
    pub(super) nodes: Vec<NodeProto>,
    pub(super) initializers: Vec<TensorProto>,
}

impl NewNodes {
    pub(super) fn new(graph: &GraphProto) -> Self {
        Self { names: value_names(graph), nodes: vec![], initializers: vec![] }
    }

    /// Returns a name that the model does not have yet.
    pub(super) fn fresh(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// Adds an initializer and returns its name.
    pub(super) fn constant(&mut self, name: &str, tensor: &Tensor) -> String {
        let name = self.fresh(name);
        self.initializers.push(encode(&name, tensor));
        name
    }
}

/// Returns a node without attributes, which has the name of its output.
pub(super) fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.to_owned()),
        name: Some(output.to_owned()),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}
