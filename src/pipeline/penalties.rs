//! The groups of weights that a penalty shrinks together.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, ValueId};
use crate::kernels::optimizer::FilterLayout;
use crate::onnx::Model;
use crate::prune::Channels;
use crate::train::{Penalty, PenaltyRule, filter_layout};

/// Returns the penalty of a network by a rule.
///
/// # Errors
/// A network without weights in such groups.
pub(super) fn penalty(graph: &Graph, rule: PenaltyRule) -> Result<Penalty> {
    let penalty = match rule {
        PenaltyRule::GroupLasso(strength) => group_lasso(graph, &Channels::of(graph)?, strength),
        PenaltyRule::BnL1(strength) => scales(graph, strength),
    };
    if penalty.groups.is_empty() {
        return Err(Error::new("the network has no weights for this penalty")
            .file(&graph.path)
            .expected(match rule {
                PenaltyRule::GroupLasso(_) => "layers with channels that can be removed",
                PenaltyRule::BnL1(_) => "BatchNormalization nodes",
            })
            .got(format!("none, for {rule}"))
            .remedy("use the other penalty, or export the network without folding BatchNormalization")
            .unsupported());
    }
    Ok(penalty)
}

/// Returns the weights of the filters of coupled channels as groups.
fn group_lasso(graph: &Graph, channels: &Channels, strength: f64) -> Penalty {
    let mut layouts = BTreeMap::new();
    let mut weights: HashMap<NodeId, ValueId> = HashMap::new();
    for producer in &channels.coupling.producers {
        let (weight, layer) = (producer.weight.0, graph.nodes[producer.node].op.layer());
        // Weights that other nodes compute have other filters than their initializer.
        let constant = graph.values[weight].constant.as_ref();
        if let (Some(layer), Some(constant)) = (layer, constant)
            && let Some(layout) = filter_layout(&layer, &constant.shape)
            && layout.count() == producer.labels.len()
        {
            layouts.insert(graph.name(weight).to_owned(), layout);
            weights.insert(producer.node, weight);
        }
    }
    let free = channels.coupled.iter().filter(|set| set.block.is_none());
    let groups = free.map(|set| {
        let members = set
            .members
            .iter()
            .filter_map(|&(node, channel)| Some((graph.name(*weights.get(&node)?).to_owned(), channel)));
        members.collect::<Vec<_>>()
    });
    Penalty { strength, groups: groups.filter(|group| !group.is_empty()).collect(), layouts }
}

/// Returns every scale of a BatchNormalization as a group.
fn scales(graph: &Graph, strength: f64) -> Penalty {
    let (mut layouts, mut groups) = (BTreeMap::new(), Vec::new());
    let norms = graph.nodes.ids().filter(|&id| graph.nodes[id].op_type == "BatchNormalization");
    for scale in norms.filter_map(|id| graph.nodes[id].inputs.get(1).copied().flatten()) {
        let Some(constant) = &graph.values[scale].constant else { continue };
        let name = graph.name(scale).to_owned();
        let filters = constant.len();
        let layout = FilterLayout { groups: 1, outer: 1, filters, inner: 1 };
        if layouts.insert(name.clone(), layout).is_none() {
            groups.extend((0..filters).map(|i| vec![(name.clone(), i)]));
        }
    }
    Penalty { strength, layouts, groups }
}

/// Returns the number of groups whose weights are all zero, and of all groups.
pub(super) fn zero_groups(penalty: &Penalty, model: &Model) -> Result<[usize; 2]> {
    let graph = Graph::from_model(model)?;
    let mut sums: HashMap<&str, Vec<f64>> = HashMap::new();
    for id in graph.values.ids() {
        let name = graph.name(id);
        if let (Some((name, layout)), Some(tensor)) =
            (penalty.layouts.get_key_value(name), &graph.values[id].constant)
        {
            sums.insert(name, layout.magnitudes(&tensor.to_f64()));
        }
    }
    let is_zero = |(name, filter): &(String, usize)| {
        sums.get(name.as_str()).is_some_and(|sums| sums.get(*filter) == Some(&0.0))
    };
    let zero = penalty.groups.iter().filter(|group| group.iter().all(is_zero)).count();
    Ok([zero, penalty.groups.len()])
}
