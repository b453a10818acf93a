//! The host subgraph of a plan: the nodes whose shapes depend on computed elements.

use std::collections::BTreeMap;

use crate::fact::Fact;
use crate::graph::facts::Facts;
use crate::graph::{Graph, Node, NodeId, ValueId};

/// The nodes that run on the host after the steps of a plan ([`crate::exec::host_subgraph`]).
#[derive(Clone, Debug)]
pub struct HostSubgraph {
    /// The nodes in an order in which each depends on constants, outputs of the plan and earlier nodes.
    pub nodes: Vec<Node>,
    /// The constant inputs of these nodes.
    pub constants: BTreeMap<ValueId, Fact>,
    /// The value of each output of the plan, without those of probes.
    pub values: Vec<ValueId>,
    /// The outputs of a run, in order: names and values.
    pub results: Vec<(String, ValueId)>,
}

impl HostSubgraph {
    /// Returns the host subgraph of the data-dependent values in `wanted`, and its computed input values.
    ///
    /// `None` if no wanted value is data-dependent.
    pub(super) fn from_graph(
        graph: &Graph,
        facts: &Facts,
        wanted: &[ValueId],
    ) -> Option<(Self, Vec<ValueId>)> {
        let mut open: Vec<ValueId> = wanted.iter().copied().filter(|&v| facts.is_data_dependent(v)).collect();
        if open.is_empty() {
            return None;
        }
        let mut runs = graph.nodes.filled(false);
        while let Some(value) = open.pop() {
            let Some(node) = graph.values[value].producer else { continue };
            if !std::mem::replace(&mut runs[node], true) {
                open.extend(
                    graph.nodes[node].inputs.iter().flatten().filter(|&&v| facts.is_data_dependent(v)),
                );
            }
        }
        let nodes: Vec<NodeId> = graph.nodes.ids().filter(|&id| runs[id]).collect();
        let (mut constants, mut feeds) = (BTreeMap::new(), Vec::new());
        for &value in nodes.iter().flat_map(|&id| graph.nodes[id].inputs.iter().flatten()) {
            match facts.get(value) {
                Some(fact) if fact.value.is_some() => {
                    constants.insert(value, fact.clone());
                }
                Some(_) if !feeds.contains(&value) => feeds.push(value),
                _ => {}
            }
        }
        let host_subgraph = Self {
            nodes: nodes.into_iter().map(|id| graph.nodes[id].clone()).collect(),
            constants,
            values: Vec::new(),
            results: wanted.iter().map(|&v| (graph.name(v).to_owned(), v)).collect(),
        };
        Some((host_subgraph, feeds))
    }

    /// Returns the first node whose operator, attributes or constants differ in `other`.
    pub fn difference(&self, other: &Self) -> Option<&str> {
        let constant = |subgraph: &Self, value: &Option<ValueId>| {
            value.and_then(|v| subgraph.constants.get(&v)).and_then(|fact| fact.value.clone())
        };
        let same = |a: &Node, b: &Node| {
            let constants = |subgraph: &Self, node: &Node| -> Vec<_> {
                node.inputs.iter().map(|v| constant(subgraph, v)).collect()
            };
            // The debug text of an operator contains its attributes.
            (&a.name, &a.op_type, format!("{:?}", a.op)) == (&b.name, &b.op_type, format!("{:?}", b.op))
                && constants(self, a) == constants(other, b)
        };
        let mut others = other.nodes.iter();
        self.nodes.iter().find(|a| others.next().is_none_or(|b| !same(a, b))).map(|node| node.name.as_str())
    }
}
