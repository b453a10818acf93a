//! Scores from a function of the caller.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::file::ScoreTable;
use super::{CriterionRow, Missing, Needs, Score};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::prune::channels::Channels;
use crate::stats::{LayerProfile, Profile, layers};

/// The row of the criteria that callers define.
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "custom",
    formula: "a function of the caller",
    source: "the caller",
    needs: Needs::WEIGHTS,
    score: |layer| {
        let score = |c| layer.context.table.get(&(layer.node.to_owned(), c));
        let scores = (0..layer.channels).map(|c| score(c).map(|&value| Score { value, error: None }));
        scores.collect::<Option<_>>().ok_or(Missing("the function was not asked for it", "report this"))
    },
};

/// A layer that a criterion of the caller scores.
#[derive(Clone, Copy, Debug)]
pub struct CustomLayer<'a> {
    /// The statistics of the layer's filters and outputs.
    pub profile: &'a LayerProfile,
    /// The number of channels, each of which gets a score.
    pub channels: usize,
    /// The weights, if they are constant: their dimensions in the file, and the elements, row-major.
    pub weight: Option<(&'a [usize], &'a [f32])>,
}

type Function = dyn Fn(&CustomLayer) -> Result<Vec<f64>> + Send + Sync;

/// A criterion that is a function of a layer's statistics.
#[derive(Clone)]
pub struct CustomCriterion {
    /// The statistics that the function needs.
    pub needs: Needs,
    function: Arc<Function>,
}

impl fmt::Debug for CustomCriterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomCriterion").field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl CustomCriterion {
    /// Creates a criterion from a function that returns a score for each channel of a layer.
    pub fn new(
        needs: Needs,
        function: impl Fn(&CustomLayer) -> Result<Vec<f64>> + Send + Sync + 'static,
    ) -> Self {
        Self { needs, function: Arc::new(function) }
    }

    /// Scores the layers of which channels can be removed.
    pub(super) fn scores(&self, graph: &Graph, channels: &Channels, profile: &Profile) -> Result<ScoreTable> {
        let removable = channels.coupled.iter().filter(|coupled| coupled.block.is_none());
        let removable: BTreeSet<_> =
            removable.flat_map(|coupled| coupled.members.iter().map(|&(node, _)| node)).collect();
        let taps = layers(graph, &channels.facts);
        let mut table = ScoreTable::new();
        for producer in channels.coupling.producers.iter().filter(|p| removable.contains(&p.node)) {
            let name = &graph.nodes[producer.node].name;
            let Some(profile) = profile.layers.iter().find(|layer| layer.node == *name) else { continue };
            let weight = taps.iter().find(|taps| taps.node == producer.node);
            let weight = weight.and_then(|taps| channels.facts.get(taps.weight)?.value.as_ref());
            let weight =
                weight.map(|tensor| Ok::<_, Error>((tensor.shape.as_slice(), tensor.floats()?.as_slice())));
            let layer = CustomLayer { profile, channels: producer.labels.len(), weight: weight.transpose()? };
            let scores = (self.function)(&layer).map_err(|e| e.node(name))?;
            if scores.len() != layer.channels {
                return Err(Error::new("a criterion that does not score every channel of a layer")
                    .node(name)
                    .expected(format!("{} scores", layer.channels))
                    .got(scores.len().to_string())
                    .remedy("return one score for each channel"));
            }
            table.extend(
                scores.into_iter().enumerate().map(|(channel, score)| ((name.clone(), channel), score)),
            );
        }
        Ok(table)
    }
}
