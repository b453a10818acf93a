//! The typed graph: nodes with operators, values with producers and consumers.
//!
//! A graph is independent of the batch size. Shapes and folded constants are in [`facts::Facts`], which are inferred
//! for given input shapes: every dimension is a number there, so the shape arithmetic of exporters is folded.

mod build;
pub mod facts;
pub mod flatten;
pub mod fused;
mod load;
mod subgraph;
mod toposort;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::ids::{IdVec, NodeId, ValueId};
pub use build::declared;

use crate::error::{Error, Result};
use crate::ops::Operator;
use crate::tensor::{DType, Tensor};

/// The default size of free spatial dimensions.
pub const FREE_SIZE: usize = 224;

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

/// A dimension of an input as declared in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A size that the file fixes.
    Fixed(usize),
    /// A free size with its symbolic name, which may be empty.
    Free(String),
}

/// An input of a network with its declared shape.
#[derive(Debug, Clone)]
pub struct GraphInput {
    /// The value in the graph.
    pub value: ValueId,
    /// The element type of the input.
    pub dtype: DType,
    /// The dimensions as declared.
    pub dims: Vec<Dim>,
}

/// The sizes of input dimensions that the file leaves free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sizes {
    /// The default sizes, see [`FREE_SIZE`].
    #[default]
    Own,
    /// The shape of images for the first input, without the batch axis.
    Image(Vec<usize>),
    /// Whole shapes by the names of inputs, including the batch axis.
    Whole(HashMap<String, Vec<usize>>),
}

impl GraphInput {
    /// Returns the dimensions as text: `N×3×32×32`.
    pub fn show(&self) -> String {
        let dim = |d: &Dim| match d {
            Dim::Fixed(n) => n.to_string(),
            Dim::Free(name) if name.is_empty() => "?".to_owned(),
            Dim::Free(name) => name.clone(),
        };
        self.dims.iter().map(dim).collect::<Vec<_>>().join("×")
    }
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

    /// Returns the shapes of the inputs for a batch size.
    ///
    /// `None` keeps the declared batch, with 1 for a free one. Other free sizes are those of `sizes`, or [`FREE_SIZE`].
    ///
    /// # Errors
    /// A name in `sizes` that is not an input, or a shape that contradicts the declared one.
    pub fn input_shapes(&self, batch: Option<usize>, sizes: &Sizes) -> Result<Vec<Vec<usize>>> {
        if let Sizes::Whole(given) = sizes {
            self.are_inputs(given.keys())?;
        }
        let own = |(at, declared): (usize, &Dim)| match (declared, at, batch) {
            (_, 0, Some(batch)) => batch,
            (Dim::Fixed(n), ..) => *n,
            (Dim::Free(_), 0, None) => 1,
            (Dim::Free(_), ..) => FREE_SIZE,
        };
        let shape = |(place, input): (usize, &GraphInput)| {
            let own: Vec<usize> = input.dims.iter().enumerate().map(own).collect();
            let given = match sizes {
                Sizes::Image(image) if place == 0 => own.iter().take(1).chain(image).copied().collect(),
                Sizes::Own | Sizes::Image(_) => return Ok(own),
                Sizes::Whole(given) => match given.get(self.name(input.value)) {
                    Some(shape) => shape.clone(),
                    None => return Ok(own),
                },
            };
            if fits(&given, &input.dims) {
                return Ok(given);
            }
            Err(Error::new(format!("the shape of input \"{}\" does not fit", self.name(input.value)))
                .file(&self.path)
                .expected(input.show())
                .got(crate::tensor::show(&given))
                .remedy("give an array of the expected shape"))
        };
        self.inputs.iter().enumerate().map(shape).collect()
    }

    /// Checks that all names are inputs.
    fn are_inputs<'a>(&self, mut names: impl Iterator<Item = &'a String>) -> Result<()> {
        let own: Vec<&str> = self.inputs.iter().map(|i| self.name(i.value)).collect();
        match names.find(|name| !own.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Error::new(format!("the network has no input \"{name}\""))
                .file(&self.path)
                .expected(own.join(", "))
                .meant(name, own, "give the inputs by these names")),
        }
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

/// Returns whether the first axis of every input is free or 1, so that it may be a batch of any size.
fn takes_first_axis(graph: &Graph) -> bool {
    let free_or_one = |d: Option<&Dim>| matches!(d, Some(Dim::Free(_) | Dim::Fixed(1)));
    graph.inputs.iter().all(|i| free_or_one(i.dims.first()))
}

/// Returns whether a shape has the declared rank, and the declared sizes except for the batch and free axes.
fn fits(shape: &[usize], dims: &[Dim]) -> bool {
    shape.len() == dims.len()
        && shape.iter().zip(dims).skip(1).all(|(&n, d)| match d {
            Dim::Fixed(fixed) => *fixed == n,
            Dim::Free(_) => n > 0,
        })
}
