//! The trial of likely recipes for a network whose preprocessing is not known.
//!
//! Recipes are ranked by top-1 if there are labels. Without them, values before the first BatchNormalization are
//! compared with its stored statistics. If all are folded, the spread of predicted classes is left as a hint.

use super::evaluation::chosen;
use super::label_fit::LabelFit;
use super::metric::{Judged, Measured, MetricOptions, floats};
use super::norm_fit::{FirstNorm, NormFit};
use super::predictions::predict;
use super::preset_candidates::{Candidate, candidates, has_free_geometry, size_of, without_arithmetic};
use crate::data::metrics::estimate::{pseudo_values, wilson};
use crate::data::metrics::top_k;
use crate::data::{Batch, DataOptions, Dataset, SampleKind};
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::{Observer, Stage, advance, staged};
use crate::tensor::SampleShape;

/// The number of images of a trial, unless another is asked for.
pub const TRIAL_IMAGES: usize = 64;
/// The number of standard errors of a difference within which recipes are equal.
const STANDARD_ERRORS: f64 = 2.0;
/// The number of standard errors by which the best recipe must exceed chance.
const LUCK: f64 = 3.0;
/// The number of images at once, if the device decides.
const AT_ONCE: usize = 16;
/// The most recipes that are tried with a crop, too.
const MOST_CROPPED: usize = 4;

/// The measure that ranks recipes.
#[derive(Clone, Debug, PartialEq)]
pub enum TrialMeasure {
    /// Top-1 of labelled images, in percent.
    Top1,
    /// Divergence from the stored statistics of the named BatchNormalization, in nats a channel.
    Statistics(String),
    /// Mutual information of images and predicted classes, in bits.
    Information,
}

impl TrialMeasure {
    /// Returns whether larger values are better.
    pub fn higher_is_better(&self) -> bool {
        !matches!(self, Self::Statistics(_))
    }
}

/// A recipe with its result.
#[derive(Clone, Debug)]
pub struct TriedRecipe {
    /// The options that make up the recipe: name and value.
    pub options: Vec<(&'static str, String)>,
    /// The steps in one line.
    pub preprocessing: String,
    /// The value of the measure.
    pub value: f64,
    /// The standard error of the value over images.
    pub error: Option<f64>,
    /// True if the difference from the best recipe is within two standard errors.
    pub is_tied: bool,
}

/// The result of a trial.
#[derive(Clone, Debug)]
pub struct PresetTrial {
    /// The number of images.
    pub images: usize,
    /// The measure that ranks.
    pub measure: TrialMeasure,
    /// The best top-1 in percent, and that of guessing, if labels do not rank because no recipe is above chance.
    pub at_chance: Option<[f64; 2]>,
    /// Recipes in order, the best one first.
    pub recipes: Vec<TriedRecipe>,
}

/// Opens a data set by options.
pub type OpenData<'a> = &'a dyn Fn(&DataOptions) -> Result<Dataset>;

/// Tries likely recipes on some images, and ranks them.
///
/// `options` select 64 images or another number, and may fix the resize, the crop or the letterbox. Presets, mean,
/// deviation, scale and the order of channels are replaced.
///
/// # Errors
/// Data that are no images, a network with nothing to rank by, one that does not run, an observer that breaks.
pub fn try_presets(
    graph: &Graph,
    device: &Device,
    (open, options): (OpenData, &DataOptions),
    batch: Option<usize>,
    observer: &mut dyn Observer,
) -> Result<PresetTrial> {
    // The first images of class folders would be of one class.
    let base = DataOptions {
        images: options.images.or(Some(TRIAL_IMAGES)),
        sample: options.sample.or(Some(0)),
        ..without_arithmetic(options)
    };
    let data = open(&base)?;
    let survey = data.survey()?;
    let kind = match (&survey.kind, size_of(&data, &survey.shape)) {
        (SampleKind::Images(kind), Some(size)) => Some((kind, size)),
        _ => None,
    };
    let (kind, size) = kind.ok_or_else(|| {
        data.blame(
            Error::new("recipes are tried for images only")
                .expected("images for the network's only input")
                .remedy("leave out `try_presets`"),
        )
    })?;
    let channels = data.preprocessing().channels;
    let all = candidates(&base, channels, kind, size)?;
    let mut at_chance = None;
    let sources = Ranking::possible(graph, device, &data, batch)?;
    let last = sources.len().saturating_sub(1);
    for (place, ranking) in sources.into_iter().enumerate() {
        let mut trial = Trial { graph, device, open, batch, ranking, session: None, tried: vec![] };
        trial.add(all.clone(), data.len(), observer)?;
        if place < last
            && let Some(found) = trial.at_chance()
        {
            at_chance = Some(found);
            continue;
        }
        if has_free_geometry(&base, kind, size) {
            let ranked = trial.order();
            let best = ranked.iter().filter(|(_, is_tied)| *is_tied).take(MOST_CROPPED);
            let cropped = best.map(|(place, _)| trial.tried[*place].candidate.cropped(size));
            let cropped: Vec<Candidate> =
                cropped.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
            trial.add(cropped, data.len(), observer)?;
        }
        return Ok(trial.finish(at_chance));
    }
    Err(data.blame(
        Error::new("there is nothing to rank recipes by")
            .expected("labels, a BatchNormalization that is not folded, or an output of class scores")
            .remedy("give labels, or look up how the network was trained"),
    ))
}

/// The measure of a trial with what it needs.
enum Ranking {
    Top1 { judged: Judged, classes: usize },
    Statistics(FirstNorm),
    Information(Judged),
}

impl Ranking {
    /// Returns the measures that a network and its data allow, the most reliable first.
    fn possible(graph: &Graph, device: &Device, data: &Dataset, batch: Option<usize>) -> Result<Vec<Self>> {
        let sample = data.sample()?;
        let session = Session::for_samples(graph, device, &sample, (batch, data.len()))?;
        let judged = chosen(graph, &session, data, &MetricOptions::default(), false)?.classification;
        let scores = judged.and_then(|judged| judged.classes.map(|classes| (judged, classes)));
        let mut all = Vec::new();
        if let Some((judged, classes)) = scores.clone().filter(|_| data.labels().is_some()) {
            all.push(Self::Top1 { judged, classes });
        }
        all.extend(FirstNorm::of(graph, &sample)?.map(Self::Statistics));
        all.extend(scores.map(|(judged, _)| Self::Information(judged)));
        Ok(all)
    }

    /// Starts the measurement of a recipe.
    fn start(&self) -> Measuring<'_> {
        match self {
            Self::Top1 { judged, classes } => {
                Measuring::Top1 { output: judged.output, hits: vec![], fit: LabelFit::new(*classes) }
            }
            Self::Statistics(norm) => Measuring::Statistics(norm.fit()),
            Self::Information(judged) => Measuring::Information { output: judged.output, shares: vec![] },
        }
    }

    fn measure(&self) -> TrialMeasure {
        match self {
            Self::Top1 { .. } => TrialMeasure::Top1,
            Self::Statistics(norm) => TrialMeasure::Statistics(norm.node.clone()),
            Self::Information(_) => TrialMeasure::Information,
        }
    }
}

/// The measurement of a recipe under way.
enum Measuring<'a> {
    Top1 {
        output: usize,
        hits: Vec<bool>,
        fit: LabelFit,
    },
    Statistics(NormFit<'a>),
    /// Probabilities of the classes for each image.
    Information {
        output: usize,
        shares: Vec<Vec<f64>>,
    },
}

impl Measuring<'_> {
    fn add(&mut self, session: &mut Session, images: &Batch) -> Result<()> {
        match self {
            Self::Top1 { output, hits, fit } => {
                let labels = images.labels.iter().flatten();
                for (outputs, &label) in predict(session, &images.data)?.iter().zip(labels) {
                    let scores = floats(&outputs[*output].1);
                    hits.push(top_k(&scores, label, 1));
                    fit.add(&scores, label);
                }
                Ok(())
            }
            Self::Statistics(fit) => fit.add(session, &images.data),
            Self::Information { output, shares } => {
                let outputs = predict(session, &images.data)?;
                shares.extend(outputs.iter().map(|outputs| probabilities(&floats(&outputs[*output].1))));
                Ok(())
            }
        }
    }

    fn finish(self) -> (Measured, Option<LabelFit>) {
        match self {
            Self::Top1 { hits, fit, .. } => (Measured::share(&hits), Some(fit)),
            Self::Statistics(fit) => (fit.divergence(), None),
            Self::Information { shares, .. } => (information(&shares), None),
        }
    }
}

/// A recipe that was measured.
struct Tried {
    candidate: Candidate,
    preprocessing: String,
    measured: Measured,
    label_fit: Option<LabelFit>,
}

/// A trial under way.
struct Trial<'a> {
    graph: &'a Graph,
    device: &'a Device,
    open: OpenData<'a>,
    batch: Option<usize>,
    ranking: Ranking,
    /// The session of the last images, which most recipes share.
    session: Option<Session>,
    tried: Vec<Tried>,
}

impl Trial<'_> {
    /// Measures recipes one by one.
    fn add(&mut self, recipes: Vec<Candidate>, images: usize, observer: &mut dyn Observer) -> Result<()> {
        if recipes.is_empty() {
            return Ok(());
        }
        staged(observer, Stage::TryingRecipes, recipes.len() * images, |observer| {
            for (place, candidate) in recipes.into_iter().enumerate() {
                let data = (self.open)(&candidate.options)?;
                let (measured, label_fit) =
                    self.measured(&data, &mut |done| advance(observer, place * images + done))?;
                self.tried.push(Tried { candidate, preprocessing: data.describe()?, measured, label_fit });
            }
            Ok(())
        })
    }

    fn measured(
        &mut self,
        data: &Dataset,
        advance: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<(Measured, Option<LabelFit>)> {
        let mut measuring = self.ranking.start();
        let mut done = 0;
        for images in data.batches(self.batch.unwrap_or(AT_ONCE)) {
            let images = images?;
            let mut session = match self.session.take().filter(|s| *s.sample() == images.sample) {
                Some(session) => session,
                None => self.open_session(&images.sample, data.len())?,
            };
            measuring.add(&mut session, &images)?;
            self.session = Some(session);
            done += images.count;
            advance(done)?;
        }
        Ok(measuring.finish())
    }

    fn open_session(&self, sample: &SampleShape, images: usize) -> Result<Session> {
        let for_images = (self.batch, images);
        match &self.ranking {
            Ranking::Statistics(norm) => norm.session(self.graph, self.device, sample, for_images),
            Ranking::Top1 { .. } | Ranking::Information(_) => {
                Session::for_samples(self.graph, self.device, sample, for_images)
            }
        }
    }

    /// Returns the best top-1 in percent and that of guessing, if no recipe is above chance.
    fn at_chance(&self) -> Option<[f64; 2]> {
        let fits: Vec<&LabelFit> = self.tried.iter().filter_map(|tried| tried.label_fit.as_ref()).collect();
        let best = self.tried.iter().map(|tried| tried.measured.value).fold(0.0, f64::max);
        let chance = fits.first()?.chance();
        // The best of many recipes is easily lucky.
        let least = wilson(0.01 * best, fits.first()?.images(), LUCK).0;
        (least <= chance).then_some([best, 100.0 * chance])
    }

    /// Returns the places of recipes from the best to the worst, and whether each is as good as the best.
    fn order(&self) -> Vec<(usize, bool)> {
        let higher = self.ranking.measure().higher_is_better();
        let value = |place: usize| {
            let value = self.tried[place].measured.value;
            if higher { -value } else { value }
        };
        let mut places: Vec<usize> = (0..self.tried.len()).collect();
        places.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        let Some(&best) = places.first() else { return vec![] };
        let is_tied = |place: usize| {
            let (ours, theirs) = (&self.tried[best].measured, &self.tried[place].measured);
            let error = ours.difference_error(theirs).unwrap_or(0.0);
            place == best || (ours.value - theirs.value).abs() <= STANDARD_ERRORS * error
        };
        places.into_iter().map(|place| (place, is_tied(place))).collect()
    }

    fn finish(self, at_chance: Option<[f64; 2]>) -> PresetTrial {
        let order = self.order();
        let images = self.tried.first().map_or(0, |tried| tried.measured.images.len());
        let measure = self.ranking.measure();
        let mut tried: Vec<Option<Tried>> = self.tried.into_iter().map(Some).collect();
        let recipes = order.into_iter().filter_map(|(place, is_tied)| {
            let Tried { candidate, preprocessing, measured, .. } = tried[place].take()?;
            let (value, error) = (measured.value, measured.error());
            Some(TriedRecipe { options: candidate.named, preprocessing, value, error, is_tied })
        });
        PresetTrial { images, measure, at_chance, recipes: recipes.collect() }
    }
}

/// Returns class probabilities: scores that are not shares of one go through a Softmax.
fn probabilities(scores: &[f32]) -> Vec<f64> {
    let scores: Vec<f64> = scores.iter().map(|&score| f64::from(score)).collect();
    let sum: f64 = scores.iter().sum();
    if (sum - 1.0).abs() < 1e-3 && scores.iter().all(|&score| score >= 0.0) {
        return scores.iter().map(|score| score / sum).collect();
    }
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// Returns the entropy of a distribution in bits.
fn entropy(shares: impl Iterator<Item = f64>) -> f64 {
    shares.filter(|&share| share > 0.0).map(|share| -share * share.log2()).sum()
}

/// Returns the mutual information of images and classes: the entropy of the mean less the mean entropy, in bits.
///
/// It is high if predictions are certain and differ from image to image.
fn information(images: &[Vec<f64>]) -> Measured {
    let classes = images.first().map_or(0, Vec::len);
    let sums: Vec<f64> = (0..classes).map(|class| images.iter().map(|image| image[class]).sum()).collect();
    let entropies: Vec<f64> = images.iter().map(|image| entropy(image.iter().copied())).collect();
    let total: f64 = entropies.iter().sum();
    let count = images.len() as f64;
    let value = entropy(sums.iter().map(|sum| sum / count)) - total / count;
    let without = |i: usize| {
        let rest = (count - 1.0).max(1.0);
        let mean = sums.iter().zip(&images[i]).map(|(sum, own)| (sum - own) / rest);
        entropy(mean) - (total - entropies[i]) / rest
    };
    Measured { value, images: pseudo_values(value, images.len(), without), whole: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_is_high_if_classes_are_certain_and_differ() {
        let certain = |class: usize| (0..4).map(|c| f64::from(u8::from(c == class))).collect::<Vec<_>>();
        let varied: Vec<_> = (0..4).map(certain).collect();
        assert!((information(&varied).value - 2.0).abs() < 1e-12);
        assert!(information(&[certain(1), certain(1)]).value.abs() < 1e-12, "one class for all");
        assert!(information(&[vec![0.25; 4], vec![0.25; 4]]).value.abs() < 1e-12, "uncertain");
        // Without one of two images, nothing differs: pseudo-values 2·1 − 0.
        let found = information(&[certain(0), certain(1)]);
        assert_eq!(found.images, [2.0, 2.0]);
    }

    #[test]
    fn scores_become_probabilities() {
        assert_eq!(probabilities(&[0.25, 0.75]), [0.25, 0.75]);
        let found = probabilities(&[0.0, f32::ln(3.0)]);
        assert!((found[1] - 0.75).abs() < 1e-6);
        assert!(probabilities(&[-1.0, 2.0])[0] > 0.0, "they sum to one, but are none");
    }
}
