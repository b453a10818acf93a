//! The host_subgraph: the nodes that run on the host once the shapes are known that they read or make.
//!
//! It is constant folding at run time. Every value that comes out of the plan is a constant by then, so a
//! node's facts are inferred from the very tensors, and its values follow from its lowering in `f64` as those
//! of folded constants do: no operator knows that it is in a host_subgraph.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fact::{Fact, Inputs};
use crate::graph::facts::infer_node;
use crate::graph::{Node, ValueId};
use crate::plan::{HostSubgraph, Plan, Port};
use crate::tensor::{Data, Tensor, show};

/// What a run gives: a tensor of the type that the model declares, and of the shape that it has this time.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputTensor {
    /// The value's name in the model.
    pub name: String,
    /// Its elements.
    pub tensor: Tensor,
}

/// What the steps gave for `port`, as the model types it. Integers and truths come back from floats.
fn tensor(port: &Port, data: Vec<f32>) -> Tensor {
    let data = if port.dtype.is_float() {
        Data::Float(Arc::new(data))
    } else {
        Data::Int(Arc::new(data.into_iter().map(|v| v as i64).collect()))
    };
    Tensor { dtype: port.dtype, shape: port.shape.clone(), data }
}

/// The outputs of a run, from those of the plan's steps: where there is a host_subgraph, by running it.
///
/// # Errors
/// A node of the host_subgraph that cannot run on what it gets, naming it.
pub fn finish(plan: &Plan, outputs: Vec<Vec<f32>>) -> Result<Vec<OutputTensor>> {
    let tensors = plan.outputs.iter().zip(outputs).map(|(port, data)| tensor(port, data));
    match &plan.host_subgraph {
        Some(host_subgraph) => run(host_subgraph, tensors.collect()),
        None => {
            let named = plan.outputs.iter().zip(tensors);
            Ok(named.map(|(port, tensor)| OutputTensor { name: port.name.clone(), tensor }).collect())
        }
    }
}

fn run(host_subgraph: &HostSubgraph, tensors: Vec<Tensor>) -> Result<Vec<OutputTensor>> {
    let given = host_subgraph.values.iter().copied().zip(tensors.into_iter().map(Fact::constant));
    let mut known: HashMap<ValueId, Fact> = given.collect();
    known.extend(host_subgraph.constants.iter().map(|(&value, fact)| (value, fact.clone())));
    for node in &host_subgraph.nodes {
        let facts = step(node, &known)?;
        known.extend(node.outputs.iter().zip(facts).filter_map(|(value, fact)| Some(((*value)?, fact))));
    }
    let value = |(name, value): &(String, ValueId)| {
        let tensor = known.get(value).and_then(|fact| fact.value.clone());
        let tensor =
            tensor.ok_or_else(|| Error::new("the host_subgraph does not make an output").node(name))?;
        Ok(OutputTensor { name: name.clone(), tensor })
    };
    host_subgraph.results.iter().map(value).collect()
}

fn step(node: &Node, known: &HashMap<ValueId, Fact>) -> Result<Vec<Fact>> {
    let inputs = Inputs { facts: node.inputs.iter().map(|v| v.and_then(|v| known.get(&v))).collect() };
    let facts = infer_node(node, &inputs).map_err(|e| match e.remedy_text() {
        Some(_) => e,
        None => e.remedy(
            "it runs on the host, on what the network found in this input: try another input, or leave this \
             part out of the export",
        ),
    })?;
    // What was too large to be folded has no value.
    match facts.iter().zip(&node.outputs).find(|(fact, value)| value.is_some() && fact.value.is_none()) {
        Some((fact, _)) => Err(Error::new("a tensor that is too large for what runs on the host")
            .node(&node.name)
            .got(show(&fact.shape))
            .remedy("its shape is known only at run time: leave this part out of the export, or use smaller images")),
        None => Ok(facts),
    }
}
