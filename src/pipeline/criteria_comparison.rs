//! Comparison of pruning criteria: what remains of a network at the same budgets.
//!
//! Masked networks are evaluated, not rewritten files: the consumers of removed channels get zero weights for them, which
//! gives the same outputs; a repair, if asked for, refits them first.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::decision::Outcome;
use super::evaluation::evaluate_against;
use super::evidence::{Evidence, Gathered};
use super::gradients::gather_gradients;
use super::image_source::ImageSource;
use super::kept_outputs::{KeptOutputs, Reference};
use super::metric::{MetricOptions, MetricResult};
use super::network::Network;
use super::original_check::check_original;
use super::plan_options::{PlanOptions, Scored, Target};
use super::profiling::{ProfileOptions, notice_skipped, pass};
use super::repairing::repair_layers;
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::{Observer, Silent, Stage, advance, staged};
use crate::onnx::Model;
use crate::prune::{Budget, CRITERIA, Channels, Criterion, MaskedReference};
use crate::repair::{Images, Repair};
use crate::stats::{Distances, Profile};

/// The criteria, budgets and repairs that are compared.
#[derive(Clone, Debug)]
pub struct ComparisonOptions {
    /// The criteria; all that the statistics allow, if empty.
    pub criteria: Vec<Criterion>,
    /// The budgets, each a share of the MACs.
    pub keep_macs: Vec<f64>,
    /// Seeds of the criterion `random`, whose mean counts.
    pub seeds: u64,
    /// The repairs after each cut.
    pub repairs: Vec<Repair>,
    /// Images at once; `None` lets the device's limits decide.
    pub batch: Option<usize>,
    /// How outputs are measured.
    pub metric: MetricOptions,
}

impl Default for ComparisonOptions {
    fn default() -> Self {
        Self {
            criteria: vec![],
            keep_macs: vec![0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
            seeds: 3,
            repairs: vec![Repair::None],
            batch: None,
            metric: MetricOptions::default(),
        }
    }
}

/// The quality that remains at one budget.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct CriterionPoint {
    /// The share of the MACs.
    pub keep_macs: f64,
    /// Top-1, 0 to 1, if there are labels.
    pub top1: Option<f64>,
    /// The share of images with the original's class, 0 to 1.
    pub agreement: Option<f64>,
    /// The signal-to-noise ratio to the original's outputs, in decibels.
    pub snr_db: Option<f64>,
    /// The standard error of what [`Self::quality`] returns, in its unit; for several seeds their mean.
    ///
    /// It is that of the difference to the original, if the original has a value.
    pub error: Option<f64>,
    /// The metric, in its unit, if one is named or label images are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl CriterionPoint {
    /// Returns the metric if one is named; else top-1; without labels the agreement; without classes the
    /// signal-to-noise ratio.
    pub fn quality(&self) -> Option<f64> {
        self.value.or(self.top1).or(self.agreement).or(self.snr_db)
    }
}

/// The quality that a criterion and a repair leave, in the order of the budgets.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CriterionCurve {
    /// The criterion that scored channels.
    pub criterion: String,
    /// The repair after each cut.
    pub repair: Repair,
    /// One point a budget that could be met.
    pub points: Vec<CriterionPoint>,
}

impl CriterionCurve {
    fn mean(&self) -> f64 {
        self.points.iter().filter_map(CriterionPoint::quality).sum::<f64>() / self.points.len().max(1) as f64
    }
}

/// The result of a comparison.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The curves, the best mean quality first.
    pub curves: Vec<CriterionCurve>,
    /// Criteria, or criteria at a budget, that were left out, and the reason.
    pub left_out: Vec<(String, String)>,
    /// Top-1 of the original, if there are labels.
    pub original_top1: Option<f64>,
    /// The metric of the original and of the last network, if one is named or label images are given.
    pub metric: Option<MetricResult>,
}

/// Measures accuracy against MACs by several criteria and repairs.
///
/// `each` is called with all curves so far after each new one, so that a long run can save them.
///
/// # Errors
/// A budget out of range, statistics that a named criterion lacks, an observer that breaks, an error of `each`.
pub fn compare_criteria(
    network: &Network,
    device: &Device,
    (calibration, profile): (&Calibration, Option<Profile>),
    options: &ComparisonOptions,
    each: &mut dyn FnMut(&[CriterionCurve]) -> Result<()>,
    observer: &mut dyn Observer,
) -> Result<Comparison> {
    options.keep_macs.iter().try_for_each(|&macs| Target::Keep(Budget::KeepMacs(macs)).check())?;
    let named = !options.criteria.is_empty();
    let criteria = if named { options.criteria.clone() } else { every_criterion()? };
    let repaired = options.repairs.iter().any(|&how| how != Repair::None);
    let none = Images::default();
    let images = if repaired || criteria.iter().any(|criterion| criterion.needs().patches) {
        calibration.images(observer)?
    } else {
        &none
    };
    let by = (options.batch, &options.metric);
    check_calibration(&network.graph, Some(calibration), options.metric.force, observer)?;
    check_original(&network.graph, device, calibration, by, observer)?;
    let named_metric = options.metric.metric.is_some() || options.metric.labels.is_some();
    let kept = KeptOutputs::default();
    let comparing = Comparing { network, device, calibration, images, options, kept: &kept, named_metric };
    let mut statistics = Statistics { is_given: profile.is_some(), profiles: BTreeMap::new() };
    statistics.profiles.extend(profile.map(|profile| (false, profile)));
    let mut comparison = Comparison { curves: vec![], left_out: vec![], original_top1: None, metric: None };
    let per_criterion = options.keep_macs.len() * options.repairs.len();
    staged(observer, Stage::ComparingCriteria, criteria.len() * per_criterion, |observer| {
        let mut done = 0;
        for criterion in &criteria {
            let scored = statistics.scored(&comparing, criterion)?;
            let scored = match scored {
                Ok(scored) => scored,
                Err(error) if named => return Err(error),
                // Criteria that were not asked for by name may need what is missing: checkpoints, labels, a BN.
                Err(error) => {
                    comparison.left_out.push((criterion.to_string(), error.message()));
                    done += per_criterion;
                    advance(observer, done)?;
                    continue;
                }
            };
            for &repair in &options.repairs {
                let mut points = Vec::new();
                for &macs in &options.keep_macs {
                    match comparing.measure(criterion, macs, &scored, repair) {
                        Ok(Measured { point, metric, original_top1 }) => {
                            comparison.metric = metric.or(comparison.metric.take());
                            comparison.original_top1 = original_top1.or(comparison.original_top1);
                            points.push(point);
                        }
                        Err(error) if named => return Err(error),
                        // The other budgets may be met.
                        Err(error) => {
                            comparison.left_out.push((format!("{criterion} at {macs}"), error.message()));
                        }
                    }
                    done += 1;
                    advance(observer, done)?;
                }
                if !points.is_empty() {
                    let criterion = criterion.to_string();
                    comparison.curves.push(CriterionCurve { criterion, repair, points });
                    each(&comparison.curves)?;
                }
            }
        }
        Ok(())
    })?;
    notice_skipped(&calibration.judge, observer);
    if comparison.curves.is_empty() {
        let why = |(name, why): &(String, String)| format!("{name}: {why}");
        return Err(Error::new("no criterion could be measured")
            .file(&network.model.path)
            .got(comparison.left_out.first().map_or_else(String::new, why))
            .remedy("set other `keep_macs`, or see what each criterion needs"));
    }
    let higher_is_better = comparison.metric.as_ref().is_none_or(|metric| metric.higher_is_better);
    comparison.curves.sort_by(|a, b| match higher_is_better {
        true => b.mean().total_cmp(&a.mean()),
        false => a.mean().total_cmp(&b.mean()),
    });
    Ok(comparison)
}

/// Returns all criteria but scores from a file.
fn every_criterion() -> Result<Vec<Criterion>> {
    let names = CRITERIA.iter().map(|row| row.name).filter(|name| !name.starts_with("file:"));
    names.map(str::parse).collect()
}

/// Statistics that criteria share: one profile of channels, one of patches.
struct Statistics {
    /// True if a given profile serves all criteria.
    is_given: bool,
    /// Profiles by whether they have moments of patches.
    profiles: BTreeMap<bool, Profile>,
}

impl Statistics {
    /// Scores the network by a criterion, once a seed; the inner error is that of the criterion.
    fn scored(&mut self, comparing: &Comparing, criterion: &Criterion) -> Result<Result<Vec<Scored>>> {
        let patches = criterion.needs().patches && !self.is_given;
        if let Entry::Vacant(entry) = self.profiles.entry(patches) {
            entry.insert(comparing.profile(criterion)?);
        }
        if let Some(profile) =
            self.profiles.get_mut(&patches).filter(|_| criterion.needs().gradients && !self.is_given)
            && let Err(error) = comparing.gradients(profile)
        {
            return Ok(Err(error));
        }
        let profile = &self.profiles[&patches];
        let seeds = if criterion.to_string() == "random" { comparing.options.seeds.max(1) } else { 1 };
        let scored = |seed| {
            let options = PlanOptions { seed, ..comparing.plan(criterion, 1.0) };
            options.score(comparing.network, &comparing.network.channels, (profile, None))
        };
        Ok((0..seeds).map(scored).collect())
    }
}

/// A measured point, with the metric that is named and top-1 of the original.
struct Measured {
    point: CriterionPoint,
    metric: Option<MetricResult>,
    original_top1: Option<f64>,
}

/// The parts that all measurements share.
struct Comparing<'a> {
    network: &'a Network,
    device: &'a Device,
    calibration: &'a Calibration,
    images: &'a Images,
    options: &'a ComparisonOptions,
    /// The outputs of the original, which all networks are compared with.
    kept: &'a KeptOutputs,
    /// True if the metric judges, instead of top-1, agreement and ratio.
    named_metric: bool,
}

impl Comparing<'_> {
    fn plan(&self, criterion: &Criterion, macs: f64) -> PlanOptions {
        let target = Target::Keep(Budget::KeepMacs(macs));
        PlanOptions { target, criterion: Some(criterion.clone()), ..PlanOptions::default() }
    }

    /// Gathers the statistics that a criterion needs.
    fn profile(&self, criterion: &Criterion) -> Result<Profile> {
        let batch = self.options.batch;
        if criterion.needs().patches {
            let mut evidence = Evidence { batch, ..Evidence::images(self.calibration) };
            let plan = self.plan(criterion, 1.0);
            return match evidence.gather(self.network, self.device, &plan, &mut Silent)? {
                Outcome::Done(Gathered { profile, .. }) => Ok(profile),
                Outcome::Refused(_) | Outcome::Interrupted => Err(Error::interrupted()),
            };
        }
        let options = ProfileOptions { batch, distances: Distances::All, ..ProfileOptions::default() };
        let source = (ImageSource::Calibration(self.calibration), &self.calibration.origin);
        Ok(pass(self.network, self.device, source, &options, None, &mut Silent)?.profile)
    }

    /// Gathers the gradients that a profile lacks.
    fn gradients(&self, profile: &mut Profile) -> Result<()> {
        let source = ImageSource::Calibration(self.calibration);
        gather_gradients(self.network, self.device, source, self.options.batch, profile, &mut Silent)
    }

    /// Returns the mean over seeds of what remains at a budget.
    fn measure(
        &self,
        criterion: &Criterion,
        keep_macs: f64,
        scored: &[Scored],
        repair: Repair,
    ) -> Result<Measured> {
        let Network { graph, channels, .. } = self.network;
        let plan = self.plan(criterion, keep_macs);
        let mut points = Vec::new();
        let (mut metric, mut original_top1) = (None, None);
        for scored in scored {
            let removed = plan.choose(Budget::KeepMacs(keep_macs), self.network, channels, scored)?.removed;
            let masked = self.masked(&removed, repair)?;
            let masked = Graph::from_model_owned(masked)?;
            let reference = Some(Reference { graph, kept: Some(self.kept) });
            let judge = &self.calibration.judge;
            let by = (self.options.batch, &self.options.metric);
            let found = evaluate_against(&masked, reference, self.device, judge, by, &mut Silent)?;
            let against = found.agreement.as_ref();
            let error = found.metric.as_ref().and_then(|metric| {
                // Shares are 0 to 1.
                let scale = if !self.named_metric && metric.unit == "%" { 0.01 } else { 1.0 };
                Some(scale * metric.error?)
            });
            metric = found.metric.filter(|_| self.named_metric);
            original_top1 = found.reference_accuracy.top1().filter(|_| !self.named_metric);
            points.push(CriterionPoint {
                keep_macs,
                top1: found.accuracy.top1(),
                agreement: against.and_then(Agreement::agreement),
                snr_db: against.map(Agreement::snr_db),
                error,
                value: metric.as_ref().map(|metric| metric.after),
            });
        }
        let mean = |get: fn(&CriterionPoint) -> Option<f64>| -> Option<f64> {
            points.iter().map(get).sum::<Option<f64>>().map(|sum| sum / points.len() as f64)
        };
        let [top1, agreement, snr_db] = [mean(|p| p.top1), mean(|p| p.agreement), mean(|p| p.snr_db)];
        let (error, value) = (mean(|p| p.error), mean(|p| p.value));
        let point = CriterionPoint { keep_macs, top1, agreement, snr_db, error, value };
        Ok(Measured { point, metric, original_top1 })
    }

    /// Returns the network, repaired, with zero weights for removed channels.
    fn masked(&self, removed: &BTreeSet<usize>, repair: Repair) -> Result<Model> {
        let Network { model, graph, channels, .. } = self.network;
        let with = (self.device, self.images);
        let repaired = repair_layers((graph, channels), removed, repair, with, &mut Silent)?;
        if repaired.is_empty() {
            return MaskedReference::new(model, graph, channels, removed)?.masked(model);
        }
        let now = repaired.apply(model)?;
        let graph = Graph::from_model(&now)?;
        MaskedReference::new(&now, &graph, &Channels::of(&graph)?, removed)?.masked(&now)
    }
}
