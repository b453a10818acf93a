//! The removed channels that were constant, as they are reported.

use std::collections::BTreeSet;

use serde::Serialize;

use super::channels::Channels;
use super::constant_channels::Folds;
use crate::graph::Graph;

/// The removed channels that were constant, and so became part of biases.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FoldedConstants {
    /// The number of constant channels, without those that were zero.
    pub channels: usize,
    /// The number of layers to whose biases they were added.
    pub layers: usize,
    /// The layers for which a bias is exact only inside padded borders, or only on average between strides.
    pub borders: Vec<String>,
    /// The largest difference of the outputs due to these layers, as a share of their largest magnitude.
    pub difference: Option<f64>,
    /// The removed sets of coupled channels that are constant for all consumers.
    #[serde(skip)]
    pub(super) alone: BTreeSet<usize>,
}

impl FoldedConstants {
    /// Summarizes the folds of a cut.
    pub(super) fn of(graph: &Graph, channels: &Channels, folds: &Folds, removed: &BTreeSet<usize>) -> Self {
        let constant = |&&set: &&usize| !folds.lossy.contains(&channels.coupled[set].root);
        Self {
            channels: folds.labels.len(),
            layers: folds.biases.len(),
            borders: folds.borders.iter().map(|&layer| graph.nodes[layer].name.clone()).collect(),
            difference: None,
            alone: removed.iter().filter(constant).copied().collect(),
        }
    }
}
