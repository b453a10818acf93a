//! The typed graph: nodes with operators, values with producers and consumers.
//!
//! It holds what does not depend on the batch size. What does (shapes, folded constants) is a
//! [`facts::Facts`], made for given input shapes: every dimension is a number there, so shape
//! arithmetic of exporters folds away, and a symbolic batch is one that may be bound to any number.

mod build;
pub mod facts;
pub mod flatten;
mod load;
mod subgraph;
mod toposort;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use build::declared;

use crate::error::{Error, Result};
use crate::ops::Operator;
use crate::tensor::{DType, Tensor};

/// A value's number in [`Graph::values`].
pub type ValueId = usize;
/// A node's number in [`Graph::nodes`].
pub type NodeId = usize;

/// The size that a free spatial dimension gets where nothing else says one.
pub const FREE_SIZE: usize = 224;

/// A network.
#[derive(Debug, Clone)]
pub struct Graph {
    /// In an order in which each node comes after those that it reads.
    pub nodes: Vec<Node>,
    /// Everything that has a name.
    pub values: Vec<Value>,
    /// What the caller provides.
    pub inputs: Vec<GraphInput>,
    /// What the caller gets.
    pub outputs: Vec<ValueId>,
    /// The opset of the default domain.
    pub opset: i64,
    /// The file that it came from, for messages.
    pub path: PathBuf,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, or a description of it where it has none.
    pub name: String,
    /// ONNX's operator.
    pub op_type: String,
    /// What it means.
    pub op: Arc<dyn Operator>,
    /// Its inputs by position; `None` where an optional one is absent.
    pub inputs: Vec<Option<ValueId>>,
    /// Its outputs by position; `None` where one has no name.
    pub outputs: Vec<Option<ValueId>>,
    /// Its position in the file's list of nodes.
    pub position: usize,
}

/// A value.
#[derive(Debug, Clone)]
pub struct Value {
    /// Its name in the file.
    pub name: String,
    /// Its elements, for initializers.
    pub constant: Option<Tensor>,
    /// The node that makes it.
    pub producer: Option<NodeId>,
    /// The nodes that read it, each once for each time.
    pub consumers: Vec<NodeId>,
}

/// A dimension of an input as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Fixed(usize),
    /// Free; the name is empty where the file gives none.
    Free(String),
}

/// An input of the network.
#[derive(Debug, Clone)]
pub struct GraphInput {
    /// The value.
    pub value: ValueId,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions as declared.
    pub dims: Vec<Dim>,
}

/// What sizes the inputs have where the file leaves them free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sizes {
    /// Nothing says.
    #[default]
    Own,
    /// The first input takes images of this shape, without the batch axis.
    Image(Vec<usize>),
    /// Whole shapes by the inputs' names, the batch axis too.
    Whole(HashMap<String, Vec<usize>>),
}

impl GraphInput {
    /// The dimensions as text: `N×3×32×32`.
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
    /// A value's number by its name.
    pub fn value(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|v| v.name == name)
    }

    /// The name of a value.
    pub fn name(&self, value: ValueId) -> &str {
        &self.values[value].name
    }

    /// The shapes of the inputs for a batch size. `None` keeps what the file declares, a free batch
    /// being 1. Free sizes are those of `sizes`, or [`FREE_SIZE`].
    ///
    /// # Errors
    /// A given name that is no input, or a given shape that does not fit what the file declares.
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

    /// The nodes that a computed value goes into, without repetition.
    pub fn consumers(&self, value: ValueId) -> Vec<NodeId> {
        let mut consumers = self.values[value].consumers.clone();
        consumers.dedup();
        consumers
    }

    /// The only node that reads `value`, if it is one and the network does not give the value out.
    pub fn only_consumer(&self, value: ValueId) -> Option<NodeId> {
        match self.values[value].consumers[..] {
            [node] if !self.outputs.contains(&value) => Some(node),
            _ => None,
        }
    }
}

/// Whether the first axis of every input is a batch that may be another one: free, or 1.
fn takes_first_axis(graph: &Graph) -> bool {
    let free_or_one = |d: Option<&Dim>| matches!(d, Some(Dim::Free(_) | Dim::Fixed(1)));
    graph.inputs.iter().all(|i| free_or_one(i.dims.first()))
}

/// A shape fits where it has as many axes, and equal sizes but for the batch and free ones.
fn fits(shape: &[usize], dims: &[Dim]) -> bool {
    shape.len() == dims.len()
        && shape.iter().zip(dims).skip(1).all(|(&n, d)| match d {
            Dim::Fixed(fixed) => *fixed == n,
            Dim::Free(_) => n > 0,
        })
}
