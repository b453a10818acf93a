//! From channels to coupled: scores of layers made comparable, summed over criteria, averaged over a set.

use std::collections::BTreeSet;

use super::allocate::Counted;
use super::channels::Channels;
use super::criteria::{Context, Criterion, Score, ScoredLayer};
use super::elimination_curves::EliminationCurves;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::stats::Profile;

/// How scores of different layers are made comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum ScoreNormalization {
    /// As they are.
    None,
    /// Divided by the layer's mean score.
    #[default]
    Layer,
    /// As they are, divided by the share of the network's MACs that goes with the set.
    Macs,
    /// The same with parameters.
    Params,
    /// The same with the time that was measured.
    #[cfg_attr(feature = "cli", value(skip))]
    Time,
}

/// How coupled are scored.
#[derive(Clone, Debug)]
pub struct Scoring<'a> {
    /// By what.
    pub criterion: &'a Criterion,
    /// How layers are made comparable.
    pub normalize: ScoreNormalization,
    /// The seed of the criterion `random`.
    pub seed: u64,
    /// Elimination curves that are computed already, of the network and profile at hand.
    pub curves: Option<&'a EliminationCurves>,
}

/// The score of every set: the mean over its channels. Knots that stay in any case (blocked ones, and those that
/// are `protected`) need no statistics; where their layer has none, they score 0.
///
/// The error of a set with several channels is the mean of theirs: an upper bound, reached if all err alike.
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
    let mut free = vec![false; graph.nodes.len()];
    for set in channels.coupled.iter().filter(|k| k.block.is_none() && !protected.contains(&k.id)) {
        set.members.iter().for_each(|&(node, _)| free[node] = true);
    }
    let mut by_node: Vec<Vec<Score>> = vec![vec![]; graph.nodes.len()];
    for producer in channels.coupling.producers.iter().filter(|p| free[p.node]) {
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
            let n = set.members.len().max(1) as f64;
            let members = || set.members.iter().filter_map(|&(node, c)| by_node[node].get(c));
            let errors: Option<f64> = members().map(|s| s.error).sum();
            Score { value: members().map(|s| s.value).sum::<f64>() / n, error: errors.map(|e| e / n) }
        })
        .collect();
    for &gone in &channels.gone {
        scores[gone] = Score { value: f64::MIN, error: None };
    }
    if let Some(counted) = scoring.normalize.counted() {
        let freed = freed(channels, counted);
        for (score, freed) in scores.iter_mut().zip(freed) {
            *score = Score { value: score.value / freed, error: score.error.map(|e| e / freed) };
        }
    }
    Ok(scores)
}

/// A layer's scores: the sum of the criteria's, each made comparable by itself.
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
            // Of one image nobody knows the error.
            let error = score.error.filter(|e| e.is_finite());
            total.error = total.error.zip(error).map(|(a, b)| a + weight * b);
        }
    }
    Ok(total)
}

/// For each set, the share of the cost that goes if it goes alone; 1 for coupled that cost nothing.
fn freed(channels: &Channels, counted: Counted) -> Vec<f64> {
    let mut lengths = channels.lengths();
    let whole = channels.count(&lengths, counted).max(1) as f64;
    let share = |set: usize| channels.freed(set, &mut lengths, counted) as f64 / whole;
    (0..channels.coupled.len()).map(share).map(|share| if share > 0.0 { share } else { 1.0 }).collect()
}

impl ScoreNormalization {
    /// What scores are divided by the share of.
    pub fn counted(self) -> Option<Counted> {
        match self {
            Self::None | Self::Layer => None,
            Self::Macs => Some(Counted::Macs),
            Self::Params => Some(Counted::Params),
            Self::Time => Some(Counted::Time),
        }
    }
}
