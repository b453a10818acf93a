//! Topological sorting of nodes.

use std::collections::{HashMap, VecDeque};

use crate::error::{Error, Result};
use crate::onnx::attrs::node_label;
use crate::onnx::proto::NodeProto;

/// Returns the positions in `nodes` in topological order, unchanged if they are already sorted.
///
/// # Errors
/// A cycle, whose nodes the error names, or a value that two nodes compute.
pub(super) fn toposort(nodes: &[NodeProto]) -> Result<Vec<usize>> {
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if let Some(other) = producer.insert(output, at) {
                return Err(Error::new(format!("two nodes compute the value \"{output}\""))
                    .node(node_label(node))
                    .got(format!("\"{}\" computes it too", node_label(&nodes[other])))
                    .invalid_model());
            }
        }
    }
    let sources = |node: &NodeProto| -> Vec<usize> {
        node.input.iter().filter_map(|i| producer.get(i.as_str()).copied()).collect()
    };
    let mut waiting: Vec<usize> = nodes.iter().map(|n| sources(n).len()).collect();
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for source in sources(node) {
            consumers[source].push(at);
        }
    }
    if in_order(nodes, &producer) {
        return Ok((0..nodes.len()).collect());
    }
    let mut ready: VecDeque<usize> = (0..nodes.len()).filter(|&n| waiting[n] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(at) = ready.pop_front() {
        order.push(at);
        for &consumer in &consumers[at] {
            waiting[consumer] -= 1;
            if waiting[consumer] == 0 {
                ready.push_back(consumer);
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    // A walk back along the remaining nodes ends on the cycle.
    let mut at = (0..nodes.len()).find(|&n| waiting[n] > 0).unwrap_or(0);
    let mut seen = vec![false; nodes.len()];
    while !seen[at] {
        seen[at] = true;
        at = sources(&nodes[at]).into_iter().find(|&s| waiting[s] > 0).unwrap_or(at);
    }
    let (start, mut cycle) = (at, Vec::new());
    loop {
        cycle.push(node_label(&nodes[at]));
        at = sources(&nodes[at]).into_iter().find(|&s| waiting[s] > 0).unwrap_or(start);
        if at == start || cycle.len() > 8 {
            break;
        }
    }
    Err(Error::new("the graph has a cycle")
        .node(node_label(&nodes[start]))
        .expected("a graph without cycles")
        .got(cycle.join(" ← "))
        .invalid_model())
}

fn in_order(nodes: &[NodeProto], producer: &HashMap<&str, usize>) -> bool {
    nodes
        .iter()
        .enumerate()
        .all(|(at, node)| node.input.iter().all(|i| producer.get(i.as_str()).is_none_or(|&p| p < at)))
}
