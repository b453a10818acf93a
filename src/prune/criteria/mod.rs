//! Pruning criteria: scores of channels, of which the lowest are removed first.
//!
//! Each criterion has a file with formula, source, code and a case by hand. [`CRITERIA`] lists all.

mod act_l1;
mod act_mean;
mod act_variance;
mod apoz;
mod bn_scale;
mod consumer_losses;
mod custom;
mod discriminant;
mod drift;
mod entropy;
mod file;
mod fisher;
mod fpgm;
mod l1;
mod l2;
mod mean;
mod movement;
mod obd;
mod obs;
mod parse;
mod random;
mod reconstruction;
mod stability;
mod std;
mod taylor;
mod variance;

use ::std::cell::OnceCell;

pub use custom::{CustomCriterion, CustomLayer};
pub use parse::{Criterion, Term};

use super::channels::Channels;
use super::elimination_curves::EliminationCurves;
use crate::error::Result as Fallible;
use crate::graph::Graph;
use crate::stats::{Activity, GateSums, GradientHeader, LayerProfile, Profile};
use consumer_losses::Losses;
use file::ScoreTable;

/// All criteria, in the order of the help.
pub static CRITERIA: &[&CriterionRow] = &[
    &l1::ROW,
    &l2::ROW,
    &mean::ROW,
    &variance::ROW,
    &std::ROW,
    &fpgm::ROW,
    &bn_scale::ROW,
    &apoz::ROW,
    &act_mean::ROW,
    &act_variance::ROW,
    &act_l1::ROW,
    &entropy::ROW,
    &discriminant::ROW,
    &obd::ROW,
    &obs::ROW,
    &reconstruction::ROW,
    &taylor::ROW,
    &fisher::ROW,
    &drift::ROW,
    &stability::ROW,
    &movement::ROW,
    &random::ROW,
    &file::ROW,
];

/// A criterion with its formula and source.
#[derive(Debug)]
pub struct CriterionRow {
    /// The name, as users write it.
    pub name: &'static str,
    /// The formula of the score.
    pub formula: &'static str,
    /// The publication that proposed the criterion.
    pub source: &'static str,
    /// The statistics that the criterion needs.
    pub needs: Needs,
    score: fn(&ScoredLayer) -> Result<Vec<Score>, Missing>,
}

/// The statistics that a criterion needs beside the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Statistics of the layers' activations.
    pub data: bool,
    /// Statistics of activations by class.
    pub labels: bool,
    /// Gram matrices of the layers' inputs.
    pub gram: bool,
    /// Gram matrices of whole patches of the layers' inputs.
    pub patches: bool,
    /// Distances between the filters of a layer.
    pub distances: bool,
    /// Several checkpoints of the training.
    pub training: bool,
    /// Gradients of a loss with respect to factors of the channels.
    pub gradients: bool,
}

impl Needs {
    /// Nothing beside the weights.
    pub const WEIGHTS: Self = Self {
        data: false,
        labels: false,
        gram: false,
        patches: false,
        distances: false,
        training: false,
        gradients: false,
    };
    /// Statistics of activations only.
    pub const DATA: Self = Self { data: true, ..Self::WEIGHTS };

    /// Returns the statistics that `self` or `other` needs.
    pub fn and(self, other: Self) -> Self {
        Self {
            data: self.data || other.data,
            labels: self.labels || other.labels,
            gram: self.gram || other.gram,
            patches: self.patches || other.patches,
            distances: self.distances || other.distances,
            training: self.training || other.training,
            gradients: self.gradients || other.gradients,
        }
    }
}

/// A score with its standard error, if that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The score; channels with low scores are removed first.
    pub value: f64,
    /// The standard error over images; 0 if the score does not depend on images, `None` if it is unknown.
    pub error: Option<f64>,
}

impl Score {
    /// Returns the values without their errors.
    pub fn values(scores: &[Self]) -> Vec<f64> {
        scores.iter().map(|s| s.value).collect()
    }
}

/// A statistic that a layer lacks for a criterion, and the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing(pub(super) &'static str, pub(super) &'static str);

const NO_TRAINING: Missing = Missing(
    "the profile has no checkpoints of the training",
    "give `profile()` the checkpoints, oldest first",
);

const NO_GRADIENTS: Missing = Missing(
    "the profile has no gradients",
    "give `data` beside `profile`, or set `gradients` in `profile()`",
);

const UNREACHED: Missing = Missing(
    "the gradient of the loss does not reach its output, or only a part of it",
    "set `protect` to this layer, or choose a criterion without gradients, such as l1",
);

/// The data that the scores of all layers share.
pub(super) struct Context<'a> {
    pub(super) graph: &'a Graph,
    pub(super) channels: &'a Channels,
    pub(super) profile: &'a Profile,
    pub(super) seed: u64,
    pub(super) curves: Option<&'a EliminationCurves>,
    table: ScoreTable,
    obd: OnceCell<Result<Losses, Missing>>,
    obs: OnceCell<Result<Losses, Missing>>,
    reconstruction: OnceCell<Result<Losses, Missing>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        (graph, channels): (&'a Graph, &'a Channels),
        profile: &'a Profile,
        (criterion, seed): (&Criterion, u64),
        curves: Option<&'a EliminationCurves>,
    ) -> Fallible<Self> {
        let table = match criterion.function() {
            Some(custom) => custom.scores(graph, channels, profile)?,
            None => criterion.file().map(file::read).transpose()?.unwrap_or_default(),
        };
        if let Some(path) = criterion.file() {
            let producers = channels.coupling.producers.iter();
            let layers = producers.map(|p| (graph.nodes[p.node].name.as_str(), p.labels.len()));
            file::check(&table, path, layers)?;
        }
        let (obd, obs, reconstruction) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Ok(Self { graph, channels, profile, seed, curves, table, obd, obs, reconstruction })
    }
}

/// A layer whose channels are scored.
pub(super) struct ScoredLayer<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) node: &'a str,
    pub(super) channels: usize,
    /// The label of each channel.
    pub(super) labels: &'a [crate::coupling::Label],
    pub(super) profile: Option<&'a LayerProfile>,
}

impl<'a> ScoredLayer<'a> {
    fn layer(&self) -> Result<&'a LayerProfile, Missing> {
        self.profile.ok_or(Missing("the profile lacks it", "give a `profile` of this model"))
    }
}

impl CriterionRow {
    /// Returns the scores of a layer's channels.
    pub(super) fn scores(&self, layer: &ScoredLayer) -> Result<Vec<Score>, Missing> {
        let scores = (self.score)(layer)?;
        if scores.len() == layer.channels {
            Ok(scores)
        } else {
            Err(Missing(
                "not every channel has the statistic",
                "give `data`, or a `profile` with activations",
            ))
        }
    }
}

/// Returns scores that do not depend on images.
fn exact(column: &[f64], score: fn(f64) -> f64) -> Result<Vec<Score>, Missing> {
    Ok(column.iter().map(|&v| Score { value: score(v), error: Some(0.0) }).collect())
}

/// Returns scores of the outputs of the activation.
fn estimate(
    layer: &ScoredLayer,
    value: fn(&Activity) -> f64,
    error: fn(&Activity) -> f64,
) -> Result<Vec<Score>, Missing> {
    let post = &layer.layer()?.post;
    Ok(post.iter().map(|a| Score { value: value(a), error: Some(error(a)) }).collect())
}

/// Returns the sums of a layer's gradients, and the images that they are of.
fn gates<'a>(layer: &ScoredLayer<'a>) -> Result<(&'a GateSums, &'a GradientHeader), Missing> {
    let header = layer.context.profile.header.gradients.as_ref().ok_or(NO_GRADIENTS)?;
    let sums = &layer.layer()?.gates;
    if header.images == 0 {
        return Err(NO_GRADIENTS);
    }
    if sums.squares.is_empty() { Err(UNREACHED) } else { Ok((sums, header)) }
}

/// Returns the losses of the consumers as scores; a channel without consumers scores 0.
fn losses<'a>(
    layer: &ScoredLayer<'a>,
    cached: &'a OnceCell<Result<Losses, Missing>>,
    find: &dyn Fn(&Context) -> Result<Losses, Missing>,
) -> Result<Vec<Score>, Missing> {
    let losses = cached.get_or_init(|| find(layer.context)).as_ref().map_err(|missing| *missing)?;
    let classes = &layer.context.channels.coupling.classes;
    let loss = |label| losses.get(&classes.find(label)).copied().unwrap_or(0.0);
    Ok(layer.labels.iter().map(|&label| Score { value: loss(label), error: None }).collect())
}

#[cfg(test)]
mod tests {
    use ::std::collections::BTreeSet;
    use ::std::path::PathBuf;

    use super::*;
    use crate::stats::{GateLoss, GramMatrix, Moments};

    /// A layer whose images have one value per channel.
    pub(super) fn layer_of_images<const C: usize>(images: &[[f64; C]]) -> LayerProfile {
        let mut post = vec![Activity::default(); C];
        for image in images {
            for (activity, &v) in post.iter_mut().zip(image) {
                let positive = f64::from(v > 0.0);
                let one = Moments { count: 1.0, mean: v, sum_abs: v.abs(), positive, ..Moments::default() };
                activity.add_image(&one);
            }
        }
        LayerProfile { post, ..LayerProfile::default() }
    }

    /// Returns the Gram matrix of these positions.
    pub(super) fn gram<const C: usize>(positions: &[[f64; C]]) -> GramMatrix {
        let mut gram = GramMatrix::new(String::new(), vec![], 1, [1, C]);
        for z in positions {
            let z: Vec<f64> = z.iter().copied().chain([1.0]).collect();
            let products = (0..=C).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|(i, j)| z[i] * z[j]);
            gram.packed.iter_mut().zip(products).for_each(|(sum, p)| *sum += p);
        }
        gram
    }

    /// Returns the scores of a layer with two channels.
    pub(super) fn scores(row: &CriterionRow, layer: &LayerProfile) -> [f64; 2] {
        scores_in(row, layer, &Profile::new(crate::stats::Header::default(), vec![]))
    }

    /// Returns the scores of a layer with two channels from the gradients of images.
    pub(super) fn scores_of_gates(row: &CriterionRow, images: &[[f32; 2]]) -> [f64; 2] {
        let layers = vec![LayerProfile::default()];
        let mut profile = Profile::new(crate::stats::Header::default(), layers);
        profile.header.gradients = Some(GradientHeader::new(GateLoss::Labels, vec![]));
        profile.add_gates(&images.iter().map(|g| vec![Some(g.to_vec())]).collect::<Vec<_>>());
        scores_in(row, &profile.layers[0], &profile)
    }

    fn scores_in(row: &CriterionRow, layer: &LayerProfile, profile: &Profile) -> [f64; 2] {
        let graph = Graph::new(17, PathBuf::new());
        let channels = Channels::of(&graph).expect("no channels");
        let criterion = row.name.parse().expect("its name");
        let context = Context::new((&graph, &channels), profile, (&criterion, 0), None).expect("a context");
        let layer =
            ScoredLayer { context: &context, node: "layer", channels: 2, labels: &[], profile: Some(layer) };
        let scores = row.scores(&layer).expect("scores");
        [scores[0].value, scores[1].value]
    }

    #[test]
    fn every_criterion_has_a_formula_and_a_source() {
        for row in CRITERIA {
            assert!(!row.formula.is_empty() && !row.source.is_empty(), "{}", row.name);
        }
        let names: BTreeSet<&str> = CRITERIA.iter().map(|r| r.name).collect();
        assert_eq!(names.len(), CRITERIA.len(), "names are unique");
    }
}
