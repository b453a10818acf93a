//! Facts of a whole graph for given input shapes: shape inference with constants folded.
//!
//! Where elements that the network computes decide a shape (how many boxes are left, how many elements are
//! not zero), no number can be given for it. What such a node makes, and everything computed from it, is *data_dependent*:
//! it has no fact, and is computed on the host, node by node, once the rest has run.

use super::{Graph, Node, NodeId, Sizes, ValueId, takes_first_axis};
use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::ops::evaluate;
use crate::tensor::{Tensor, elements, show};

/// The largest constant that is folded, and the largest tensor that is believed, in elements.
const MOST_ELEMENTS: usize = 1 << 31;
/// The largest constant that folding may make, in elements.
const MOST_FOLDED: usize = 1 << 28;

/// The remedy for a node whose inputs do not fit: the file is to blame, or the shapes that it was given.
const MISFIT: &str = "the file does not follow the ONNX standard, at least for inputs of these shapes; export it again for them";

/// The facts of every value of a graph.
#[derive(Debug, Clone)]
pub struct Facts {
    facts: Vec<Option<Fact>>,
    data_dependent: Vec<bool>,
    /// The shapes of the inputs for which they hold.
    pub input_shapes: Vec<Vec<usize>>,
}

impl Facts {
    /// Infers every value's fact.
    ///
    /// # Errors
    /// Shapes that do not fit, naming the node.
    pub fn infer(graph: &Graph, input_shapes: &[Vec<usize>]) -> Result<Self> {
        Self::infer_with(graph, input_shapes, &mut |_, outputs| outputs)
    }

    /// As [`Facts::infer`], where `mend` sees what is inferred for each node, or why nothing is, and says what goes
    /// on from there.
    ///
    /// # Errors
    /// What `mend` returns.
    pub fn infer_with(
        graph: &Graph,
        input_shapes: &[Vec<usize>],
        mend: &mut dyn FnMut(NodeId, Result<Vec<Fact>>) -> Result<Vec<Fact>>,
    ) -> Result<Self> {
        let mut facts: Vec<Option<Fact>> =
            graph.values.iter().map(|v| v.constant.clone().map(Fact::constant)).collect();
        for (input, shape) in graph.inputs.iter().zip(input_shapes) {
            facts[input.value] = Some(Fact::new(input.dtype, shape));
        }
        let data_dependent = vec![false; graph.values.len()];
        let mut facts = Self { facts, data_dependent, input_shapes: input_shapes.to_vec() };
        for id in 0..graph.nodes.len() {
            if facts.waits(graph, id) {
                graph.nodes[id].outputs.iter().flatten().for_each(|&v| facts.data_dependent[v] = true);
                continue;
            }
            let outputs = infer_node(&graph.nodes[id], &facts.inputs(graph, id));
            let outputs = mend(id, outputs).map_err(|e| e.file(&graph.path).remedy(MISFIT))?;
            for (value, fact) in graph.nodes[id].outputs.iter().zip(outputs) {
                if let Some(value) = value {
                    facts.facts[*value] = Some(fact);
                }
            }
        }
        Ok(facts)
    }

    /// For the file's own input shapes, a free batch being 1 and other free sizes the default.
    ///
    /// # Errors
    /// As [`Facts::infer`].
    pub fn at_own_size(graph: &Graph) -> Result<Self> {
        Self::infer(graph, &graph.input_shapes(None, &Sizes::Own)?)
    }

    /// Whether a node has to wait until the shapes are known that it reads, or makes.
    fn waits(&self, graph: &Graph, id: NodeId) -> bool {
        let node = &graph.nodes[id];
        let unknown =
            |&i: &usize| node.inputs.get(i).copied().flatten().is_some_and(|value| !self.is_constant(value));
        node.inputs.iter().flatten().any(|&v| self.data_dependent[v])
            || node.op.shape_inputs().iter().any(unknown)
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

    /// Whether a value's shape is known only once the network has run.
    pub fn is_data_dependent(&self, value: ValueId) -> bool {
        self.data_dependent[value]
    }

    /// Whether a node runs on the host once the rest of the network has run: what it makes is data_dependent.
    pub fn is_data_dependent_node(&self, graph: &Graph, id: NodeId) -> bool {
        graph.nodes[id].outputs.iter().flatten().any(|&v| self.data_dependent[v])
    }

    /// The fact of a value; `None` where nothing is known of it.
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

/// The facts of a node's outputs, with their values where all its inputs have theirs.
///
/// # Errors
/// Inputs that do not fit, naming the node.
pub fn infer_node(node: &Node, inputs: &Inputs) -> Result<Vec<Fact>> {
    folded(node, inputs).map_err(|e| e.at(&node.op_type, &node.name))
}

fn folded(node: &Node, inputs: &Inputs) -> Result<Vec<Fact>> {
    let mut outputs = node.op.infer(inputs)?;
    if let Some(fact) = outputs.iter().find(|f| elements(&f.shape).is_none_or(|n| n > MOST_ELEMENTS)) {
        return Err(Error::new("a tensor that is too large")
            .expected(format!("at most {MOST_ELEMENTS} elements"))
            .got(show(&fact.shape))
            .remedy("use smaller inputs, or leave this part out of the file"));
    }
    let known = outputs.iter().any(|f| f.value.is_some());
    let constant = !inputs.facts.is_empty() && inputs.facts.iter().flatten().all(|f| f.value.is_some());
    if constant && !known && outputs.iter().all(|f| elements(&f.shape).is_some_and(|n| n <= MOST_FOLDED)) {
        // What the node could give, but does not.
        outputs.truncate(node.outputs.len().max(1));
        let values = evaluate(&*node.op, inputs, &outputs)?;
        let from_shape = inputs.facts.iter().flatten().any(|f| f.from_shape);
        for (fact, value) in outputs.iter_mut().zip(values) {
            fact.value = Some(value);
            fact.from_shape = from_shape;
        }
    }
    // Nothing has to run for a tensor without elements: all that there is of it is its shape.
    for fact in outputs.iter_mut().filter(|f| f.is_empty() && f.value.is_none()) {
        fact.value = Some(Tensor::from_f64(fact.dtype, &fact.shape, &[]));
        fact.from_shape = true;
    }
    Ok(outputs)
}

/// Whether the network can take any number of images at once: every input and output has the batch
/// in front, and shapes can be inferred for other batch sizes. Late outputs have no batch that could be counted
/// on: boxes that were chosen carry the index of their image.
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
