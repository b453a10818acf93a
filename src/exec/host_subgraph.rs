//! Execution of the host subgraph: nodes with data-dependent shapes, after the steps of the plan.
//!
//! This is constant folding at run time: the outputs of the steps are constants by then, so facts and values of the
//! nodes follow by [`infer_node`], in `f64`, and operators need no code for it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::graph::facts::infer_node;
use crate::graph::{Node, ValueId};
use crate::plan::{HostSubgraph, Plan, Port};
use crate::tensor::{Data, Tensor, show};

/// An output of one run, with the element type of the model and the shape of this run.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputTensor {
    /// The name of the value in the model.
    pub name: String,
    /// The elements, with their type and shape.
    pub tensor: Tensor,
}

/// Returns an output of the steps in the model's element type; integers and booleans are converted from `f32`.
fn tensor(port: &Port, data: Vec<f32>) -> Tensor {
    let data = if port.dtype.is_float() {
        Data::Float(Arc::new(data))
    } else {
        Data::Int(Arc::new(data.into_iter().map(|v| v as i64).collect()))
    };
    Tensor { dtype: port.dtype, shape: port.shape.clone(), data }
}

/// Returns the outputs of a run from those of the steps, after running the host subgraph if there is one.
///
/// # Errors
/// A node of the host subgraph that rejects its inputs; the error names it.
pub fn finish(plan: &Plan, outputs: Vec<Vec<f32>>) -> Result<Vec<OutputTensor>> {
    let tensors = plan.outputs.iter().zip(outputs).map(|(port, data)| tensor(port, data));
    match &plan.host_subgraph {
        Some(subgraph) => run(subgraph, tensors.collect()),
        None => {
            let named = plan.outputs.iter().zip(tensors);
            Ok(named.map(|(port, tensor)| OutputTensor { name: port.name.clone(), tensor }).collect())
        }
    }
}

fn run(subgraph: &HostSubgraph, tensors: Vec<Tensor>) -> Result<Vec<OutputTensor>> {
    let given = subgraph.values.iter().copied().zip(tensors.into_iter().map(Fact::constant));
    let mut known: HashMap<ValueId, Fact> = given.collect();
    known.extend(subgraph.constants.iter().map(|(&value, fact)| (value, fact.clone())));
    for node in &subgraph.nodes {
        let facts = step(node, &known)?;
        known.extend(node.outputs.iter().zip(facts).filter_map(|(value, fact)| Some(((*value)?, fact))));
    }
    let value = |(name, value): &(String, ValueId)| {
        let tensor = known.get(value).and_then(|fact| fact.value.clone());
        let tensor = tensor.ok_or_else(|| {
            Error::new("the host subgraph does not compute an output").node(name).internal()
        })?;
        Ok(OutputTensor { name: name.clone(), tensor })
    };
    subgraph.results.iter().map(value).collect()
}

fn step(node: &Node, known: &HashMap<ValueId, Fact>) -> Result<Vec<Fact>> {
    let inputs = Inputs { facts: node.inputs.iter().map(|v| v.and_then(|v| known.get(&v))).collect() };
    let facts = infer_node(node, &inputs).map_err(|e| match e.remedy_text() {
        Some(_) => e,
        None => e.remedy(
            "the node runs on the host on elements that this input produced: try another input, or leave this \
             part out of the export",
        ),
    })?;
    // A value that was too large to be folded is absent.
    match facts.iter().zip(&node.outputs).find(|(fact, value)| value.is_some() && fact.value.is_none()) {
        Some((fact, _)) => Err(Error::new("a tensor of a shape known only at run time is too large")
            .with_kind(ErrorKind::Unsupported)
            .node(&node.name)
            .got(show(&fact.shape))
            .remedy("leave this part out of the export, or use smaller images")),
        None => Ok(facts),
    }
}
