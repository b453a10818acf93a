//! Facts of a graph for given input shapes: shape inference with constant folding.
//!
//! If computed elements decide a shape (the number of selected boxes, of nonzero elements), it cannot be inferred. The
//! outputs of such a node and all values computed from them are *data-dependent*: they have no fact, and the host
//! computes them node by node after the rest of the network.

use super::inputs::{at_guessed_sizes, takes_first_axis};
use super::{Graph, IdVec, Node, NodeId, Sizes, ValueId};
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::ops::evaluate;
use crate::tensor::{Tensor, elements, show};

/// The largest tensor that a graph may have, in elements.
const MOST_ELEMENTS: usize = 1 << 31;
/// The largest constant that folding may compute, in elements.
const MOST_FOLDED: usize = 1 << 28;

/// The remedy for a node whose inputs do not fit: the file or the given shapes are wrong.
const MISFIT: &str =
    "the file violates the ONNX standard, at least for inputs of these shapes; export it again for them";

/// The facts of all values of a graph, for given input shapes.
#[derive(Debug, Clone)]
pub struct Facts {
    facts: IdVec<ValueId, Option<Fact>>,
    data_dependent: IdVec<ValueId, bool>,
    /// The shapes of the inputs for which the facts hold.
    pub input_shapes: Vec<Vec<usize>>,
    /// The number of samples of a data set that one run takes.
    pub samples: usize,
}

impl Facts {
    /// Infers the facts of all values.
    ///
    /// # Errors
    /// A node that rejects the shapes of its inputs; the error names it.
    pub fn infer(graph: &Graph, input_shapes: &[Vec<usize>]) -> Result<Self> {
        Self::infer_with(graph, input_shapes, &mut |_, outputs| outputs)
    }

    /// Infers the facts of all values, with a function that may replace the result for each node.
    ///
    /// `adjust` receives a node and its inferred outputs, or the error of the inference, and returns the outputs to
    /// continue with.
    ///
    /// # Errors
    /// Errors that `adjust` returns.
    pub fn infer_with(
        graph: &Graph,
        input_shapes: &[Vec<usize>],
        adjust: &mut dyn FnMut(NodeId, Result<Vec<Fact>>) -> Result<Vec<Fact>>,
    ) -> Result<Self> {
        let mut outcome = Ok(());
        let facts = Self::infer_each(graph, input_shapes, &mut |facts, id| {
            let outputs = infer_node(&graph.nodes[id], &facts.inputs(graph, id));
            match adjust(id, outputs) {
                Ok(outputs) => Some(outputs),
                Err(error) => {
                    outcome = Err(misfit(error).file(&graph.path));
                    None
                }
            }
        });
        outcome.map(|()| facts)
    }

    /// Infers the facts node by node with `each`, which ends the inference by `None`.
    pub(super) fn infer_each(
        graph: &Graph,
        input_shapes: &[Vec<usize>],
        each: &mut dyn FnMut(&Self, NodeId) -> Option<Vec<Fact>>,
    ) -> Self {
        let mut facts: IdVec<ValueId, Option<Fact>> =
            graph.values.iter().map(|v| v.constant.clone().map(Fact::constant)).collect();
        for (input, shape) in graph.inputs.iter().zip(input_shapes) {
            let bound = input.bound_at(shape).map(|value| Fact { from_shape: true, ..Fact::constant(value) });
            facts[input.value] = Some(bound.unwrap_or_else(|| Fact::new(input.dtype, shape)));
        }
        let data_dependent = graph.values.filled(false);
        let batched = graph.inputs.iter().zip(input_shapes).find(|(i, _)| i.batched && i.bound.is_none());
        let samples = batched.and_then(|(_, shape)| shape.first().copied()).unwrap_or(1);
        let mut facts = Self { facts, data_dependent, input_shapes: input_shapes.to_vec(), samples };
        for id in graph.nodes.ids() {
            if facts.is_deferred(graph, id) {
                graph.nodes[id].outputs.iter().flatten().for_each(|&v| facts.data_dependent[v] = true);
                continue;
            }
            let Some(outputs) = each(&facts, id) else { break };
            for (value, fact) in graph.nodes[id].outputs.iter().zip(outputs) {
                if let Some(value) = value {
                    facts.facts[*value] = Some(fact);
                }
            }
        }
        facts
    }

    /// Infers the facts for the input shapes of the file.
    ///
    /// A free batch is 1, and other free axes have their default size.
    ///
    /// # Errors
    /// The conditions of [`Facts::infer`], and a size that nothing determines.
    pub fn at_own_size(graph: &Graph) -> Result<Self> {
        let shapes = graph.input_shapes(None, &Sizes::Own)?;
        Self::infer(graph, &shapes).map_err(|e| at_guessed_sizes(e, graph))
    }

    /// Returns whether a node has data-dependent inputs or outputs.
    fn is_deferred(&self, graph: &Graph, id: NodeId) -> bool {
        let node = &graph.nodes[id];
        let unknown =
            |&i: &usize| node.inputs.get(i).copied().flatten().is_some_and(|value| !self.is_constant(value));
        node.inputs.iter().flatten().any(|&v| self.data_dependent[v])
            || node.op.shape_inputs().iter().any(unknown)
    }

    /// Returns the facts of a node's inputs.
    pub fn inputs(&self, graph: &Graph, id: NodeId) -> Inputs<'_> {
        Inputs {
            facts: graph.nodes[id].inputs.iter().map(|v| v.and_then(|v| self.facts[v].as_ref())).collect(),
        }
    }

    /// Returns the facts of a node's outputs by position; an unnamed output has the fact of a scalar.
    pub fn outputs(&self, graph: &Graph, id: NodeId) -> Vec<Fact> {
        let scalar = Fact::new(crate::tensor::DType::F32, &[]);
        graph.nodes[id]
            .outputs
            .iter()
            .map(|v| v.and_then(|v| self.facts[v].clone()).unwrap_or_else(|| scalar.clone()))
            .collect()
    }

    /// Returns whether the shape of a value depends on computed elements.
    pub fn is_data_dependent(&self, value: ValueId) -> bool {
        self.data_dependent[value]
    }

    /// Returns whether a node has a data-dependent output, and so runs on the host after the rest of the network.
    pub fn is_data_dependent_node(&self, graph: &Graph, id: NodeId) -> bool {
        graph.nodes[id].outputs.iter().flatten().any(|&v| self.data_dependent[v])
    }

    /// Returns the fact of a value; `None` if it is data-dependent.
    pub fn get(&self, value: ValueId) -> Option<&Fact> {
        self.facts[value].as_ref()
    }

    /// Returns the shape of a value; empty if it is data-dependent.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        self.facts[value].as_ref().map_or(&[], |f| &f.shape)
    }

    /// Returns whether a value is constant.
    pub fn is_constant(&self, value: ValueId) -> bool {
        self.facts[value].as_ref().is_some_and(|f| f.value.is_some())
    }
}

/// Marks an error as one of the model, if its origin has no kind of its own.
fn misfit(error: Error) -> Error {
    match error.kind() {
        ErrorKind::InvalidInput => error.with_kind(ErrorKind::InvalidModel).remedy(MISFIT),
        _ => error.remedy(MISFIT),
    }
}

/// Infers the facts of a node's outputs, with their values if all inputs are constant.
///
/// # Errors
/// Inputs that the operator rejects; the error names the node.
pub fn infer_node(node: &Node, inputs: &Inputs) -> Result<Vec<Fact>> {
    folded(node, inputs).map_err(|e| e.at(&node.op_type, &node.name))
}

fn folded(node: &Node, inputs: &Inputs) -> Result<Vec<Fact>> {
    let mut outputs = node.op.infer(inputs)?;
    if let Some(fact) = outputs.iter().find(|f| elements(&f.shape).is_none_or(|n| n > MOST_ELEMENTS)) {
        return Err(Error::new("a tensor is too large")
            .with_kind(ErrorKind::Unsupported)
            .expected(format!("at most {MOST_ELEMENTS} elements"))
            .got(show(&fact.shape))
            .remedy("use smaller inputs, or leave this part out of the file"));
    }
    let known = outputs.iter().any(|f| f.value.is_some());
    let constant = !inputs.facts.is_empty() && inputs.facts.iter().flatten().all(|f| f.value.is_some());
    if constant && !known && outputs.iter().all(|f| elements(&f.shape).is_some_and(|n| n <= MOST_FOLDED)) {
        // The operator may infer optional outputs that the node does not have.
        outputs.truncate(node.outputs.len().max(1));
        let values = evaluate(&*node.op, inputs, &outputs)?;
        let from_shape = inputs.facts.iter().flatten().any(|f| f.from_shape);
        for (fact, value) in outputs.iter_mut().zip(values) {
            fact.value = Some(value);
            fact.from_shape = from_shape;
        }
    }
    // A tensor without elements is constant: its shape is all its content.
    for fact in outputs.iter_mut().filter(|f| f.is_empty() && f.value.is_none()) {
        fact.value = Some(Tensor::from_f64(fact.dtype, &fact.shape, &[]));
        fact.from_shape = true;
    }
    Ok(outputs)
}

/// Returns whether the network accepts any batch size.
///
/// All sample inputs and outputs must have the batch as first axis, and shape inference must succeed for other sizes. A
/// data-dependent output has no batch axis: selected boxes carry the index of their image.
pub fn takes_batches(graph: &Graph) -> bool {
    if !takes_first_axis(graph) {
        return false;
    }
    [2, 3].into_iter().all(|batch| {
        let facts =
            graph.input_shapes(Some(batch), &Sizes::Own).and_then(|shapes| Facts::infer(graph, &shapes));
        facts.is_ok_and(|facts| {
            graph
                .outputs
                .iter()
                .all(|&o| !facts.is_data_dependent(o) && facts.shape(o).first() == Some(&batch))
        })
    })
}
