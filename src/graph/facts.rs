//! Facts of a whole graph for given input shapes: shape inference with constants folded.

use std::collections::HashMap;

use super::{Graph, NodeId, ValueId, takes_first_axis};
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::ops::evaluate;
use crate::tensor::{elements, show};

/// The largest constant that is folded, and the largest tensor that is believed, in elements.
const MOST_ELEMENTS: usize = 1 << 31;
/// The largest constant that folding may make, in elements.
const MOST_FOLDED: usize = 1 << 28;

/// The facts of every value of a graph.
#[derive(Debug, Clone)]
pub struct Facts {
    facts: Vec<Option<Fact>>,
    /// The shapes of the inputs for which they hold.
    pub input_shapes: Vec<Vec<usize>>,
}

impl Facts {
    /// Infers every value's fact.
    ///
    /// # Errors
    /// Shapes that do not fit, naming the node.
    pub fn infer(graph: &Graph, input_shapes: &[Vec<usize>]) -> Result<Self> {
        match Self::infer_far(graph, input_shapes) {
            (facts, None) => Ok(facts),
            (_, Some(error)) => Err(error),
        }
    }

    /// As far as shapes fit: the facts up to the first node where they do not, and why.
    pub fn infer_far(graph: &Graph, input_shapes: &[Vec<usize>]) -> (Self, Option<Error>) {
        let mut facts: Vec<Option<Fact>> =
            graph.values.iter().map(|v| v.constant.clone().map(Fact::constant)).collect();
        for (input, shape) in graph.inputs.iter().zip(input_shapes) {
            facts[input.value] = Some(Fact::new(input.dtype, shape));
        }
        let mut facts = Self { facts, input_shapes: input_shapes.to_vec() };
        for id in 0..graph.nodes.len() {
            let outputs = match facts.node(graph, id) {
                Ok(outputs) => outputs,
                Err(e) => {
                    let node = &graph.nodes[id];
                    let e = if e.what().starts_with(&node.op_type) { e } else { e.context(&node.op_type) };
                    return (facts, Some(e.node(&node.name).file(&graph.path)));
                }
            };
            for (value, fact) in graph.nodes[id].outputs.iter().zip(outputs) {
                if let Some(value) = value {
                    facts.facts[*value] = Some(fact);
                }
            }
        }
        (facts, None)
    }

    /// For the file's own input shapes, a free batch being 1 and other free sizes the default.
    ///
    /// # Errors
    /// As [`Facts::infer`].
    pub fn at_own_size(graph: &Graph) -> Result<Self> {
        Self::infer(graph, &graph.input_shapes(None, &HashMap::new())?)
    }

    fn node(&self, graph: &Graph, id: NodeId) -> Result<Vec<Fact>> {
        let node = &graph.nodes[id];
        let inputs = self.inputs(graph, id);
        let mut outputs = node.op.infer(&inputs)?;
        if let Some(fact) = outputs.iter().find(|f| elements(&f.shape).is_none_or(|n| n > MOST_ELEMENTS)) {
            return Err(Error::new("a tensor that is too large")
                .expected(format!("at most {MOST_ELEMENTS} elements"))
                .got(show(&fact.shape)));
        }
        let known = outputs.iter().any(|f| f.value.is_some());
        let constant = !inputs.facts.is_empty() && inputs.facts.iter().flatten().all(|f| f.value.is_some());
        if constant && !known && outputs.iter().all(|f| elements(&f.shape).is_some_and(|n| n <= MOST_FOLDED))
        {
            // What the node could give, but does not.
            outputs.truncate(node.outputs.len().max(1));
            let values = evaluate(&*node.op, &inputs, &outputs)?;
            let from_shape = inputs.facts.iter().flatten().any(|f| f.from_shape);
            for (fact, value) in outputs.iter_mut().zip(values) {
                fact.value = Some(value);
                fact.from_shape = from_shape;
            }
        }
        Ok(outputs)
    }

    /// The facts of a node's inputs.
    pub fn inputs(&self, graph: &Graph, id: NodeId) -> Inputs<'_> {
        Inputs {
            facts: graph.nodes[id].inputs.iter().map(|v| v.and_then(|v| self.facts[v].as_ref())).collect(),
        }
    }

    /// The facts of a node's outputs, by position; an unnamed output has that of a scalar.
    pub fn outputs(&self, graph: &Graph, id: NodeId) -> Vec<Fact> {
        let nothing = Fact::new(crate::tensor::DType::F32, &[]);
        graph.nodes[id]
            .outputs
            .iter()
            .map(|v| v.and_then(|v| self.facts[v].clone()).unwrap_or_else(|| nothing.clone()))
            .collect()
    }

    /// The fact of a value.
    pub fn get(&self, value: ValueId) -> Option<&Fact> {
        self.facts[value].as_ref()
    }

    /// The shape of a value; empty where nothing is known of it.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        self.facts[value].as_ref().map_or(&[], |f| &f.shape)
    }

    /// Whether a value is constant.
    pub fn is_constant(&self, value: ValueId) -> bool {
        self.facts[value].as_ref().is_some_and(|f| f.value.is_some())
    }
}

/// Whether the network can take any number of images at once: every input and output has the batch
/// in front, and shapes can be inferred for other batch sizes.
pub fn takes_batches(graph: &Graph) -> bool {
    if !takes_first_axis(graph) {
        return false;
    }
    [2, 3].into_iter().all(|batch| {
        let facts =
            graph.input_shapes(Some(batch), &HashMap::new()).and_then(|shapes| Facts::infer(graph, &shapes));
        facts.is_ok_and(|facts| graph.outputs.iter().all(|&o| facts.shape(o).first() == Some(&batch)))
    })
}
