//! The host_subgraph of a plan: the nodes whose shapes are known only once the rest has run, as data.

use std::collections::BTreeMap;

use crate::fact::Fact;
use crate::graph::facts::Facts;
use crate::graph::{Graph, Node, NodeId, ValueId};

/// What is computed on the host after the steps ([`crate::exec::host_subgraph`]).
#[derive(Clone, Debug)]
pub struct HostSubgraph {
    /// In order: each reads constants, the plan's outputs, and what those before it made.
    pub nodes: Vec<Node>,
    /// The constants that they read.
    pub constants: BTreeMap<ValueId, Fact>,
    /// For each of the plan's outputs but those of probes, the value that it is.
    pub values: Vec<ValueId>,
    /// What the caller gets, in order: names and values.
    pub results: Vec<(String, ValueId)>,
}

impl HostSubgraph {
    /// The host_subgraph that makes the data_dependent ones of the values that are wanted, and the computed values that it reads;
    /// `None` where all of them have a shape.
    pub(super) fn of(graph: &Graph, facts: &Facts, wanted: &[ValueId]) -> Option<(Self, Vec<ValueId>)> {
        let mut open: Vec<ValueId> = wanted.iter().copied().filter(|&v| facts.is_data_dependent(v)).collect();
        if open.is_empty() {
            return None;
        }
        let mut runs = vec![false; graph.nodes.len()];
        while let Some(value) = open.pop() {
            let Some(node) = graph.values[value].producer else { continue };
            if !std::mem::replace(&mut runs[node], true) {
                open.extend(
                    graph.nodes[node].inputs.iter().flatten().filter(|&&v| facts.is_data_dependent(v)),
                );
            }
        }
        let nodes: Vec<NodeId> = (0..graph.nodes.len()).filter(|&id| runs[id]).collect();
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

    /// The first node that is not the same in `other`: another operator, attribute or constant.
    pub fn difference(&self, other: &Self) -> Option<&str> {
        let constant = |host_subgraph: &Self, value: &Option<ValueId>| {
            value.and_then(|v| host_subgraph.constants.get(&v)).and_then(|fact| fact.value.clone())
        };
        let same = |a: &Node, b: &Node| {
            let constants = |host_subgraph: &Self, node: &Node| -> Vec<_> {
                node.inputs.iter().map(|v| constant(host_subgraph, v)).collect()
            };
            // An operator says its attributes to whoever debugs it.
            (&a.name, &a.op_type, format!("{:?}", a.op)) == (&b.name, &b.op_type, format!("{:?}", b.op))
                && constants(self, a) == constants(other, b)
        };
        let mut others = other.nodes.iter();
        self.nodes.iter().find(|a| others.next().is_none_or(|b| !same(a, b))).map(|node| node.name.as_str())
    }
}
