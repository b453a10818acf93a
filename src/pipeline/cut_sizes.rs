//! The size of a network before and after a cut, in costs, channels and widths of layers.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::network::{Network, cost};
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::prune::{Channels, smaller};
use crate::report::Cost;
use crate::report::network::sizes;

/// The number of output channels of a layer before and after a cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerWidth {
    /// The name of the layer's node.
    pub layer: String,
    /// The number of channels of the original.
    pub before: usize,
    /// The number of channels after the cut; `None` if the layer became a constant.
    pub after: Option<usize>,
}

/// The sizes of a network before and after a cut that was not made yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutSizes {
    /// The cost of the original.
    pub before: Cost,
    /// The cost of the pruned network without a repair, which may add a bias to some layers.
    pub after: Cost,
    /// The number of removed channels.
    pub removed_channels: usize,
    /// The number of channels of the original.
    pub total_channels: usize,
    /// The widths of all layers, in graph order.
    pub widths: Vec<LayerWidth>,
}

impl Network {
    /// Computes the sizes of the network without some coupled channels, and writes nothing.
    ///
    /// # Errors
    /// A node that cannot be rewritten: a fault of this program.
    pub fn sizes_without(&self, removed: &BTreeSet<usize>) -> Result<CutSizes> {
        let Self { model, graph, channels, .. } = self;
        let mut small = smaller(model, graph, channels, removed)?;
        small.bytes = small.to_bytes().len() as u64;
        let small_graph = Graph::shapes_only(&small)?;
        let small_channels = Channels::of(&small_graph)?;
        Ok(CutSizes {
            before: self.cost(),
            after: cost(&small_channels, small.bytes),
            removed_channels: self.count_channels(removed),
            total_channels: self.total_channels(),
            widths: widths(layer_widths(self), &small_graph, &small_channels.facts),
        })
    }

    /// Returns the number of channels of some sets of coupled channels.
    pub(super) fn count_channels(&self, sets: &BTreeSet<usize>) -> usize {
        sets.iter().map(|&id| self.channels.coupled[id].members.len()).sum()
    }

    /// Returns the number of channels of all sets of coupled channels.
    pub(super) fn total_channels(&self) -> usize {
        self.channels.coupled.iter().map(|set| set.members.len()).sum()
    }
}

/// Returns the names and widths of all layers.
pub(super) fn layer_widths(network: &Network) -> Vec<(String, usize)> {
    let Network { graph, channels, .. } = network;
    let all = sizes(graph, &channels.facts).into_iter();
    all.map(|size| (graph.nodes[size.taps.node].name.clone(), size.outputs)).collect()
}

/// Adds the widths of a pruned network, whose nodes have the names of the original's.
pub(super) fn widths(before: Vec<(String, usize)>, small: &Graph, facts: &Facts) -> Vec<LayerWidth> {
    let after = sizes(small, facts).into_iter();
    let after: HashMap<&str, usize> =
        after.map(|size| (small.nodes[size.taps.node].name.as_str(), size.outputs)).collect();
    let width = |(layer, before): (String, usize)| {
        let after = after.get(layer.as_str()).copied();
        LayerWidth { layer, before, after }
    };
    before.into_iter().map(width).collect()
}
