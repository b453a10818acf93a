//! A summary of a network: inputs, outputs, layers, coupled channels, and what blocks them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::network::Network;
use crate::graph::{Dim, NodeId, ValueId, declared};
use crate::prune::Stamp;
use crate::report::Cost;
use crate::report::network::{DependencyGroup, LayerSize, dependency_groups, sizes};

/// The facts about a network that need no images and no device.
#[derive(Clone, Debug)]
pub struct NetworkSummary {
    /// The operator set of the standard domain.
    pub opset: i64,
    /// MACs for one image, parameters, bytes.
    pub cost: Cost,
    /// Inputs: name and dimensions, numbers or the names of free ones.
    pub inputs: Vec<(String, Vec<Value>)>,
    /// Outputs: name and dimensions; `None` for a data-dependent shape.
    pub outputs: Vec<(String, Option<Vec<Value>>)>,
    /// The shape of one image at which costs are counted, if there is one input.
    pub image: Option<Vec<usize>>,
    /// The layers with weights, in graph order.
    pub layers: Vec<LayerSummary>,
    /// The sets of coupled channels.
    pub coupled: Vec<CoupledSummary>,
    /// The dependency groups: sets of coupled channels of the same layers.
    pub groups: Vec<GroupSummary>,
    /// Nodes that run on the host, because their shapes depend on data.
    pub host_nodes: Vec<String>,
    /// Nodes at which channels that may be removed mix with others; empty unless the network is inexact.
    pub inexact: Vec<String>,
    /// The stamp of a pruned model, if it has one.
    pub stamp: Option<Stamp>,
}

/// A layer with weights.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LayerSummary {
    /// The name of the node.
    pub name: String,
    /// The name of the ONNX operator.
    pub op: String,
    /// The number of input channels.
    pub in_channels: usize,
    /// The number of output channels.
    pub out_channels: usize,
    /// The kernel's size, for convolutions.
    pub kernel: Vec<usize>,
    /// Groups of a convolution.
    pub groups: usize,
    /// The number of weights and biases.
    pub params: u64,
    /// MACs for one image.
    pub macs: u64,
    /// The ids of its coupled channels.
    pub coupled: Option<Vec<usize>>,
}

/// A set of coupled channels.
#[derive(Clone, Debug)]
pub struct CoupledSummary {
    /// The id of the set.
    pub id: usize,
    /// The channels: node and index.
    pub members: Vec<(String, usize)>,
    /// The node that blocks removal, and the reason.
    pub blocked: Option<(String, String)>,
}

/// A dependency group: sets of coupled channels of the same layers, alike in size and in what blocks them.
#[derive(Clone, Debug)]
pub struct GroupSummary {
    /// The layers, in graph order.
    pub layers: Vec<String>,
    /// The number of sets.
    pub coupled: usize,
    /// Channels of each set.
    pub channels: usize,
    /// The node that blocks removal, and the reason.
    pub blocked: Option<(String, String)>,
}

impl Network {
    /// Summarizes what is known without images.
    pub fn summary(&self) -> NetworkSummary {
        let Self { graph, channels, .. } = self;
        let facts = &channels.facts;
        let name = |node: NodeId| graph.nodes[node].name.clone();
        let free =
            channels.coupled.iter().filter(|coupled| coupled.block.is_none()).map(|coupled| coupled.id);
        let blocked = |block: &crate::coupling::Block| (block.node.clone(), block.reason.clone());
        let group = |group: DependencyGroup| GroupSummary {
            layers: group.nodes.iter().map(|&node| name(node)).collect(),
            coupled: group.coupled.len(),
            channels: group.each,
            blocked: group.block.as_ref().map(blocked),
        };
        NetworkSummary {
            opset: graph.opset,
            cost: self.cost(),
            inputs: graph
                .inputs
                .iter()
                .map(|input| (graph.name(input.value).to_owned(), input.dims.iter().map(size).collect()))
                .collect(),
            outputs: self.outputs(),
            image: match graph.inputs.iter().zip(&facts.input_shapes).collect::<Vec<_>>()[..] {
                [(input, shape)] => Some(shape[usize::from(input.batched)..].to_vec()),
                _ => None,
            },
            layers: self.layers(),
            coupled: channels
                .coupled
                .iter()
                .map(|coupled| CoupledSummary {
                    id: coupled.id,
                    members: coupled.members.iter().map(|&(node, channel)| (name(node), channel)).collect(),
                    blocked: coupled.block.as_ref().map(blocked),
                })
                .collect(),
            groups: dependency_groups(channels).into_iter().map(group).collect(),
            host_nodes: graph
                .nodes
                .ids()
                .filter(|&node| facts.is_data_dependent_node(graph, node))
                .map(name)
                .collect(),
            inexact: channels.inexact(graph, &free.collect()),
            stamp: Stamp::of(&self.model.proto),
        }
    }

    fn outputs(&self) -> Vec<(String, Option<Vec<Value>>)> {
        let infos = || self.model.proto.graph.iter().flat_map(|graph| &graph.output);
        let shape = |value: ValueId, name: &str| -> Option<Vec<Value>> {
            let sizes = &self.channels.facts.get(value)?.shape;
            let dims = infos().filter(|info| info.name() == name).find_map(declared);
            let dims = dims.filter(|dims| dims.len() == sizes.len()).unwrap_or_default();
            // A dimension that the file gives a name is free.
            let named =
                |axis| dims.get(axis).filter(|dim| matches!(dim, Dim::Free(name) if !name.is_empty()));
            let one = |(axis, n): (usize, &usize)| named(axis).map_or_else(|| json!(n), size);
            Some(sizes.iter().enumerate().map(one).collect())
        };
        let output = |&value: &ValueId| {
            let name = self.graph.name(value);
            (name.to_owned(), shape(value, name))
        };
        self.graph.outputs.iter().map(output).collect()
    }

    fn layers(&self) -> Vec<LayerSummary> {
        let mut of_layer: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for coupled in &self.channels.coupled {
            for &(node, _) in &coupled.members {
                let ids = of_layer.entry(node).or_default();
                if ids.last() != Some(&coupled.id) {
                    ids.push(coupled.id);
                }
            }
        }
        let layer = |LayerSize { taps, inputs, outputs, kernel, params, macs }: LayerSize| {
            let node = &self.graph.nodes[taps.node];
            LayerSummary {
                name: node.name.clone(),
                op: node.op_type.clone(),
                in_channels: inputs,
                out_channels: outputs,
                kernel,
                groups: taps.layer.groups,
                params,
                macs,
                coupled: of_layer.get(&taps.node).cloned(),
            }
        };
        sizes(&self.graph, &self.channels.facts).into_iter().map(layer).collect()
    }
}

/// A dimension as JSON: a number, or the name of a free one.
fn size(dim: &Dim) -> Value {
    match dim {
        Dim::Fixed(n) => json!(n),
        Dim::Free(name) => json!(name),
    }
}
