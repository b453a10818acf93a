//! Scores of coupled channels: normalized per layer, summed over criteria, averaged over the channels.

use std::collections::BTreeSet;

use super::allocate::Counted;
use super::channels::Channels;
use super::criteria::{Context, Criterion, Score, ScoredLayer};
use super::elimination_curves::EliminationCurves;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::stats::Profile;

/// The normalization that makes scores of different layers comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum ScoreNormalization {
    /// No normalization of the scores.
    None,
    /// Scores divided by the layer's mean absolute score.
    #[default]
    Layer,
    /// Scores divided by the share of the network's MACs that the removal saves.
    Macs,
    /// Scores divided by the share of the parameters that the removal saves.
    Params,
    /// Scores divided by the share of the measured time that the removal saves.
    #[cfg_attr(feature = "cli", value(skip))]
    Time,
}

/// Options of the scores of coupled channels.
#[derive(Clone, Debug)]
pub struct Scoring<'a> {
    /// The criterion or the weighted sum of criteria.
    pub criterion: &'a Criterion,
    /// The normalization of the scores.
    pub normalize: ScoreNormalization,
    /// The seed of the criterion `random`.
    pub seed: u64,
    /// Elimination curves of this network and profile that are computed already, if any.
    pub curves: Option<&'a EliminationCurves>,
}

/// Returns the score of every set of coupled channels: the mean over the channels.
///
/// Criteria on gradients are estimates of one loss, which each channel changes: their scores are summed instead.
///
/// Blocked and `protected` channels need no statistics; without statistics of their layer, their score is 0. The
/// standard error of a set is the mean, or the sum, of the channels' standard errors: an upper bound, reached if all errors are
/// perfectly correlated.
///
/// # Errors
/// A profile that lacks a layer or its activations, a score that is not a number, a bad CSV file.
pub fn scores(
    graph: &Graph,
    channels: &Channels,
    profile: &Profile,
    scoring: &Scoring,
    protected: &BTreeSet<usize>,
) -> Result<Vec<Score>> {
    let context =
        Context::new((graph, channels), profile, (scoring.criterion, scoring.seed), scoring.curves)?;
    let mut removable = graph.nodes.filled(false);
    for set in channels.coupled.iter().filter(|k| k.block.is_none() && !protected.contains(&k.id)) {
        set.members.iter().for_each(|&(node, _)| removable[node] = true);
    }
    let mut by_node = graph.nodes.filled(Vec::<Score>::new());
    for producer in channels.coupling.producers.iter().filter(|p| removable[p.node]) {
        let name = &graph.nodes[producer.node].name;
        let scored = ScoredLayer {
            context: &context,
            node: name,
            channels: producer.labels.len(),
            labels: &producer.labels,
            profile: profile.layers.iter().find(|l| l.node == *name),
        };
        by_node[producer.node] = layer(&scored, scoring).map_err(|e| e.file(&graph.path))?;
    }
    let mut scores: Vec<Score> = channels
        .coupled
        .iter()
        .map(|set| {
            let n = if scoring.criterion.is_by_gradients() { 1 } else { set.members.len().max(1) } as f64;
            let members = || set.members.iter().filter_map(|&(node, c)| by_node[node].get(c));
            let errors: Option<f64> = members().map(|s| s.error).sum();
            Score { value: members().map(|s| s.value).sum::<f64>() / n, error: errors.map(|e| e / n) }
        })
        .collect();
    for &removed in &channels.gone {
        scores[removed] = Score { value: f64::MIN, error: None };
    }
    if let Some(counted) = scoring.normalize.counted() {
        let freed = freed(channels, counted);
        for (score, freed) in scores.iter_mut().zip(freed) {
            *score = Score { value: score.value / freed, error: score.error.map(|e| e / freed) };
        }
    }
    Ok(scores)
}

/// Returns the weighted sum of the criteria's scores of a layer, each normalized separately.
fn layer(scored: &ScoredLayer, scoring: &Scoring) -> Result<Vec<Score>> {
    let mut total = vec![Score { value: 0.0, error: Some(0.0) }; scored.channels];
    for term in &scoring.criterion.terms {
        let name = term.row.name;
        let scores = term.row.scores(scored).map_err(|missing| {
            Error::new(format!("no {name} score for every channel of a layer: {}", missing.0))
                .node(scored.node)
                .expected(format!("{} scores", scored.channels))
                .remedy(missing.1)
        })?;
        if let Some(c) = scores.iter().position(|s| !s.value.is_finite()) {
            return Err(Error::new(format!("the {name} score of a channel is not finite"))
                .node(scored.node)
                .got(format!("{} for channel {c}", scores[c].value))
                .remedy(
                    "give finite scores, or see with `check()` whether the network's outputs are finite",
                ));
        }
        let mean = scores.iter().map(|s| s.value.abs()).sum::<f64>() / scored.channels.max(1) as f64;
        let by = if scoring.normalize == ScoreNormalization::Layer && mean > 0.0 { mean } else { 1.0 };
        let weight = term.weight / by;
        for (total, score) in total.iter_mut().zip(scores) {
            total.value += weight * score.value;
            // A single image has no standard error.
            let error = score.error.filter(|e| e.is_finite());
            total.error = total.error.zip(error).map(|(a, b)| a + weight * b);
        }
    }
    Ok(total)
}

/// Returns the share of the cost that each set saves if it is removed alone; 1 for sets that cost nothing.
fn freed(channels: &Channels, counted: Counted) -> Vec<f64> {
    let mut lengths = channels.lengths();
    let whole = channels.count(&lengths, counted).max(1) as f64;
    let share = |set: usize| channels.freed(set, &mut lengths, counted) as f64 / whole;
    (0..channels.coupled.len()).map(share).map(|share| if share > 0.0 { share } else { 1.0 }).collect()
}

impl ScoreNormalization {
    /// Returns the cost whose saved share the scores are divided by.
    pub fn counted(self) -> Option<Counted> {
        match self {
            Self::None | Self::Layer => None,
            Self::Macs => Some(Counted::Macs),
            Self::Params => Some(Counted::Params),
            Self::Time => Some(Counted::Time),
        }
    }
}
