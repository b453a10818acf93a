//! Graph construction: adding values and nodes, and extracting subgraphs.

use std::collections::HashMap;

use super::build::operator;
use super::facts::Facts;
use super::{Dim, Graph, GraphInput, IdVec, Node, NodeId, Value, ValueId};
use crate::error::Result;
use crate::onnx::attrs::set_int;
use crate::onnx::proto::NodeProto;
use crate::tensor::{DType, Tensor};

impl Graph {
    /// Adds a value without a producer.
    pub fn add_value(&mut self, name: String, constant: Option<Tensor>) -> ValueId {
        self.values.push(Value { name, constant, producer: None, consumers: vec![] })
    }

    /// Appends a node, and records it as producer and consumer of values.
    pub fn add_node(&mut self, node: Node) {
        let id = self.nodes.push(node);
        let node = &self.nodes[id];
        node.inputs.iter().flatten().for_each(|&v| self.values[v].consumers.push(id));
        node.outputs.iter().flatten().for_each(|&v| self.values[v].producer = Some(id));
    }

    /// Appends a node with a standard operator of one output, and returns the output.
    ///
    /// # Errors
    /// Attributes that the operator rejects.
    pub fn add_operator(
        &mut self,
        (op_type, attributes): (&str, &[(&str, i64)]),
        inputs: &[ValueId],
        name: String,
    ) -> Result<ValueId> {
        let mut proto = NodeProto { op_type: Some(op_type.to_owned()), ..Default::default() };
        proto.output.push(name.clone());
        attributes.iter().for_each(|&(name, value)| set_int(&mut proto, name, value));
        let op = operator(&proto, self.opset)?;
        let output = self.add_value(name.clone(), None);
        let inputs = inputs.iter().copied().map(Some).collect();
        let op_type = op_type.to_owned();
        self.add_node(Node {
            name,
            op_type,
            op,
            inputs,
            outputs: vec![Some(output)],
            position: self.nodes.len(),
        });
        Ok(output)
    }

    /// Returns for each node whether `wanted` depends on it, given some values and the constants.
    pub fn needed(
        &self,
        facts: &Facts,
        given: &dyn Fn(ValueId) -> bool,
        wanted: &[ValueId],
    ) -> IdVec<NodeId, bool> {
        let mut stack: Vec<ValueId> = wanted.to_vec();
        let mut nodes = self.nodes.filled(false);
        while let Some(value) = stack.pop() {
            let made = self.values[value].producer.filter(|_| !given(value) && !facts.is_constant(value));
            if let Some(node) = made.filter(|&node| !nodes[node]) {
                nodes[node] = true;
                stack.extend(self.nodes[node].inputs.iter().flatten());
            }
        }
        nodes
    }

    /// Extracts the subgraph that computes `wanted` from given values.
    ///
    /// Values that are constant by `facts` become constants of the subgraph.
    pub fn subgraph(&self, facts: &Facts, given: &dyn Fn(ValueId) -> bool, wanted: &[ValueId]) -> Subgraph {
        let needed = self.needed(facts, given, wanted);
        let mut part = Subgraph {
            graph: Self::new(self.opset, self.path.clone()),
            values: HashMap::new(),
            shapes: vec![],
        };
        for (node, _) in self.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
            let mut all = |list: &[Option<ValueId>]| {
                list.iter().map(|v| v.map(|v| part.add(self, facts, v))).collect::<Vec<_>>()
            };
            let (inputs, outputs) = (all(&node.inputs), all(&node.outputs));
            part.graph.add_node(Node { inputs, outputs, ..node.clone() });
        }
        for &value in wanted {
            part.add(self, facts, value);
        }
        // Values without a producer in the subgraph are its inputs.
        let whole: HashMap<ValueId, ValueId> = part.values.iter().map(|(&w, &p)| (p, w)).collect();
        for value in part.graph.values.ids() {
            let v = &part.graph.values[value];
            if v.producer.is_some() || v.constant.is_some() {
                continue;
            }
            let shape = facts.shape(whole[&value]).to_vec();
            let dims = shape.iter().map(|&n| Dim::Fixed(n)).collect();
            let dtype = facts.get(whole[&value]).map_or(DType::F32, |f| f.dtype);
            part.graph.inputs.push(GraphInput::new(value, dtype, dims));
            part.shapes.push((whole[&value], shape));
        }
        part
    }
}

/// A subgraph that was extracted from a graph.
#[derive(Debug)]
pub struct Subgraph {
    /// The extracted graph, for one batch size.
    pub graph: Graph,
    /// The values of the subgraph by those of the original graph.
    pub values: HashMap<ValueId, ValueId>,
    /// The inputs as values of the original graph, with their shapes.
    pub shapes: Vec<(ValueId, Vec<usize>)>,
}

impl Subgraph {
    fn add(&mut self, whole: &Graph, facts: &Facts, value: ValueId) -> ValueId {
        if let Some(&known) = self.values.get(&value) {
            return known;
        }
        let own = &whole.values[value];
        let constant = own.constant.clone().or_else(|| facts.get(value).and_then(|f| f.value.clone()));
        let new = self.graph.add_value(own.name.clone(), constant);
        self.values.insert(value, new);
        new
    }
}
