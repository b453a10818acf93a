//! The typed graph: nodes with operators, values with producers and consumers.
//!
//! A graph is independent of the batch size. Shapes and folded constants are in [`facts::Facts`], which are inferred
//! for given input shapes: every dimension is a number there, so the shape arithmetic of exporters is folded.

mod bind;
mod build;
mod derived_sizes;
pub mod facts;
pub mod flatten;
pub mod fused;
mod inputs;
mod load;
mod subgraph;
mod toposort;

use std::path::PathBuf;
use std::sync::Arc;

pub use crate::ids::{IdVec, NodeId, ValueId};
pub use build::declared;
pub use inputs::{Dim, FREE_SIZE, GraphInput, Sizes};

use crate::ops::Operator;
use crate::tensor::Tensor;

/// A network as a graph of nodes and values.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The nodes in topological order.
    pub nodes: IdVec<NodeId, Node>,
    /// All named values: inputs, initializers and outputs of nodes.
    pub values: IdVec<ValueId, Value>,
    /// The inputs, which exclude initializers.
    pub inputs: Vec<GraphInput>,
    /// The output values, in order.
    pub outputs: Vec<ValueId>,
    /// The opset of the default domain.
    pub opset: i64,
    /// The path of the file, for messages.
    pub path: PathBuf,
}

/// A call of an operator in a graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// The name, or a description if the file has none.
    pub name: String,
    /// The name of the ONNX operator.
    pub op_type: String,
    /// The operator with its attributes.
    pub op: Arc<dyn Operator>,
    /// The inputs by position; `None` for an absent optional one.
    pub inputs: Vec<Option<ValueId>>,
    /// The outputs by position; `None` for one without a name.
    pub outputs: Vec<Option<ValueId>>,
    /// The position in the file's list of nodes.
    pub position: usize,
}

/// A named tensor of a graph.
#[derive(Debug, Clone)]
pub struct Value {
    /// The name in the file.
    pub name: String,
    /// The elements, if the value is an initializer.
    pub constant: Option<Tensor>,
    /// The node that computes the value.
    pub producer: Option<NodeId>,
    /// The nodes that take the value, once for each input position.
    pub consumers: Vec<NodeId>,
}

impl Graph {
    /// Creates a graph without nodes and values.
    pub fn new(opset: i64, path: PathBuf) -> Self {
        let (nodes, values) = (IdVec::default(), IdVec::default());
        Self { nodes, values, inputs: Vec::new(), outputs: Vec::new(), opset, path }
    }

    /// Returns the value with a given name.
    pub fn value(&self, name: &str) -> Option<ValueId> {
        self.values.position(|v| v.name == name)
    }

    /// Returns the name of a value.
    pub fn name(&self, value: ValueId) -> &str {
        &self.values[value].name
    }

    /// Returns the nodes that take a value, each once.
    pub fn consumers(&self, value: ValueId) -> Vec<NodeId> {
        let mut consumers = self.values[value].consumers.clone();
        consumers.dedup();
        consumers
    }

    /// Returns the only consumer of a value, if there is exactly one and the value is not an output.
    pub fn only_consumer(&self, value: ValueId) -> Option<NodeId> {
        match self.values[value].consumers[..] {
            [node] if !self.outputs.contains(&value) => Some(node),
            _ => None,
        }
    }
}
