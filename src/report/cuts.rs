//! Several cuts of one network side by side, as data of a page.

use serde::Serialize;

use super::parts::{Cost, Quality};
use crate::bench::Quantiles;

/// A network among several that are compared: the original, or a pruned one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CutColumn {
    /// Name of the file.
    pub name: String,
    /// Cost of the network.
    pub cost: Cost,
    /// Quality of its outputs against the original; `None` for the original, and without images.
    pub quality: Option<Quality>,
    /// Milliseconds per image; `None` if they were not measured.
    pub ms: Option<Quantiles>,
    /// Speedup over the original, from pairs of runs.
    pub speedup: Option<Quantiles>,
    /// Number of output channels of each layer of the page; `None` for a layer that the network lacks.
    pub widths: Vec<Option<usize>>,
}

/// Several networks, and how they were compared.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cuts {
    /// The original, then the pruned networks in the order given.
    pub networks: Vec<CutColumn>,
    /// Number of rounds in which the networks were timed in turn; `None` if they were not timed.
    pub rounds: Option<usize>,
    /// Number of images per batch of the timing.
    pub batch: usize,
    /// Reason for missing times.
    pub untimed: Option<String>,
}
