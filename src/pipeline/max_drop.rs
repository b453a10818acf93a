//! The search for the smallest network within a limit of quality.
//!
//! Channels are scored once; then budgets are bisected: each network is cut, repaired, and judged on the images that
//! judge. Quality is no monotone function of the budget, so the result is the smallest network that was *evaluated* and
//! is within the limit.

use std::cell::RefCell;

use super::calibration::Calibration;
use super::decision::{Attempt, Decision, Outcome, Refusal, RefusalReason};
use super::evaluation::{Evaluation, LEAST_TO_VARY, chosen, evaluate_against};
use super::evidence::Evidence;
use super::kept_outputs::{KeptOutputs, Reference};
use super::label_fit::LabelFit;
use super::metric::{Choice, MetricResult};
use super::original_check::check_original;
use super::plan_context::PlanContext;
use super::plan_options::Target;
use super::repairing::repair_layers;
use super::scored_channels::ScoredChannels;
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::{Notice, Observer, Stage, advance, staged};
use crate::prune::{Budget, Counted, written};
use crate::repair::{Images, Repair, Repaired};

/// Budgets nearer to each other than this are not distinguished.
const NEAR: f64 = 0.01;

/// The limit within which the smallest network is searched for, in the metric's unit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// The largest loss that is allowed.
    Drop(f64),
    /// The worst value that is allowed.
    Quality(f64),
}

impl Limit {
    /// Returns the limit of a target; `None` if the target is a budget.
    pub(super) fn of(target: Target) -> Option<Self> {
        match target {
            Target::MaxDrop(most) => Some(Self::Drop(most)),
            Target::MinQuality(least) => Some(Self::Quality(least)),
            Target::Keep(_) | Target::Latency(_) => None,
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Drop(_) => "max_drop",
            Self::Quality(_) => "min_quality",
        }
    }

    /// Returns whether a network is within the limit.
    pub(super) fn allows(self, attempt: &Attempt, higher_is_better: bool) -> bool {
        match self {
            Self::Drop(most) => attempt.drop <= most,
            Self::Quality(least) if higher_is_better => attempt.value >= least,
            Self::Quality(most) => attempt.value <= most,
        }
    }
}

/// A checked search: the metric, and what several searches of a sweep share.
pub(super) struct Searched<'a> {
    calibration: &'a Calibration,
    batch: Option<usize>,
    choice: Choice,
    /// The outputs of the original for the images that judge.
    pub(super) kept: KeptOutputs,
    /// The networks that were evaluated for other limits.
    tried: RefCell<Vec<(Attempt, MetricResult)>>,
}

impl<'a> Searched<'a> {
    /// Checks the original and the metric before anything is computed.
    pub(super) fn check(
        context: &PlanContext,
        evidence: &Evidence<'a>,
        limit: Limit,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let PlanContext { network, device, options } = context;
        let calibration = evidence.calibration.ok_or_else(|| {
            Error::new(format!("`{}` needs images", limit.option()))
                .expected("`data`")
                .remedy("set `data` to a folder of images")
        })?;
        let batch = evidence.batch;
        check_original(&network.graph, device, calibration, (batch, &options.metric), observer)?;
        let choice = measurable(context, calibration, (batch, limit))?;
        let (kept, tried) = (KeptOutputs::default(), RefCell::default());
        Ok(Self { calibration, batch, choice, kept, tried })
    }

    /// Looks for the smallest network within a limit.
    pub(super) fn smallest(
        &self,
        context: &PlanContext,
        scores: &ScoredChannels,
        limit: Limit,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Decision>> {
        let options = context.options;
        let higher_is_better = self.choice.metric.as_ref().is_none_or(|metric| metric.higher_is_better());
        notice_coarse(&self.choice, self.calibration, limit, observer);
        let counted = options.counted()?;
        let none = Images::default();
        let images =
            if options.repair == Repair::None { &none } else { self.calibration.images(observer)? };
        let search = Search { context, searched: self, scores, counted, images, limit };
        let least = search.least()?;
        let mut unit = "";
        let mut tried = 0;
        let mut attempt = |keep: f64, observer: &mut dyn Observer| {
            let (attempt, metric, repaired) = search.attempt(keep, observer)?;
            unit = match metric.drop_unit() {
                "points" => "points",
                "dB" => "dB",
                _ => "",
            };
            // Networks of searches for other limits were reported then.
            if repaired.is_some() {
                let (counted, drop, error) = (counted.to_string(), attempt.drop, attempt.error);
                observer.notice(Notice::DropTried { keep, counted, drop, error, unit });
            }
            tried += 1;
            advance(observer, tried)?;
            Ok((attempt, repaired))
        };
        let found = staged(observer, Stage::Searching, halvings(least), |observer| {
            let allows = |attempt: &Attempt| limit.allows(attempt, higher_is_better);
            bisect(least, &allows, &mut |keep| attempt(keep, observer))
        })?;
        let Found { best, attempts } = found;
        let Some((keep, repaired)) = best else {
            let reason = match limit {
                _ if attempts.is_empty() => RefusalReason::NothingToRemove { least, counted },
                Limit::Drop(max_drop) => RefusalReason::MaxDrop { max_drop, counted, unit },
                Limit::Quality(min_quality) => {
                    let metric = self.choice.metric.as_ref();
                    let metric = metric.map_or_else(|| "SNR".to_owned(), |metric| metric.name());
                    RefusalReason::MinQuality { min_quality, metric, counted }
                }
            };
            return Ok(Outcome::Refused(Box::new(Refusal { reason, attempts, decision: None })));
        };
        let text = format!("{} ({keep:.3} of the {counted})", options.target);
        let decision = options.decide((Budget::keep(counted, keep), text), context.network, scores)?;
        Ok(Outcome::Done(Decision { attempts, counted, repaired, ..decision }))
    }
}

/// Chooses the metric, and checks before anything is computed that a loss of it is a number.
fn measurable(
    context: &PlanContext,
    calibration: &Calibration,
    (batch, limit): (Option<usize>, Limit),
) -> Result<Choice> {
    let PlanContext { network, device, options } = context;
    let judge = &calibration.judge;
    let session = Session::for_samples(&network.graph, device, &judge.sample()?, (batch, judge.len()))?;
    let choice = chosen(&network.graph, &session, judge, &options.metric, true)?;
    match limit {
        Limit::Drop(_) if choice.is_relative => {
            let metric = choice.metric.as_ref().map_or_else(|| "SNR".to_owned(), |metric| metric.name());
            Err(no_drop(&metric, choice.unclassified.as_deref()).file(&network.model.path))
        }
        _ => Ok(choice),
    }
}

/// Returns the error for a metric of which a loss is no number.
fn no_drop(metric: &str, unclassified: Option<&str>) -> Error {
    let why = unclassified.map_or_else(String::new, |why| format!(" ({why})"));
    Error::new("`max_drop` needs a metric that the original has a value of")
        .expected("top-1, agreement or mIoU, PSNR or SSIM with label images, or a command")
        .got(format!("{metric}, which compares with the original{why}"))
        .remedy(format!("set `min_quality` to the least {metric}, `metric` to another one, or a budget such as `keep_macs`"))
}

/// Reports a limit that one image exceeds.
fn notice_coarse(choice: &Choice, calibration: &Calibration, limit: Limit, observer: &mut dyn Observer) {
    let images = calibration.judge.len();
    let weight = 100.0 / images.max(1) as f64;
    if let (Limit::Drop(max_drop), true) = (limit, choice.counts_images)
        && max_drop > 0.0
        && max_drop < weight
    {
        observer.notice(Notice::CoarseLimit { images, weight, max_drop });
    }
}

/// The result of a bisection.
struct Found<T> {
    /// The smallest share within the limit.
    best: Option<(f64, T)>,
    /// Everything that was evaluated, the smallest first.
    attempts: Vec<Attempt>,
}

/// Returns how many networks a bisection between `least` and all evaluates.
fn halvings(least: f64) -> usize {
    ((1.0 - least) / NEAR).log2().ceil().max(0.0) as usize
}

/// Bisects the shares between `least` and all for the smallest that is allowed.
fn bisect<T>(
    least: f64,
    allows: &dyn Fn(&Attempt) -> bool,
    attempt: &mut dyn FnMut(f64) -> Result<(Attempt, T)>,
) -> Result<Found<T>> {
    let (mut low, mut high) = (least, 1.0);
    let mut found = Found { best: None, attempts: vec![] };
    let mut keeps = |keep: f64| -> Result<bool> {
        let (one, made) = attempt(keep)?;
        let enough = allows(&one);
        if enough {
            found.best = Some((keep, made));
        }
        found.attempts.push(one);
        Ok(enough)
    };
    while high - low > NEAR {
        let keep = 0.5 * (low + high);
        if keeps(keep)? { high = keep } else { low = keep }
    }
    // Every attempt so far was good enough.
    if low == least && high < 1.0 {
        keeps(least)?;
    }
    found.attempts.sort_by(|a, b| a.keep.total_cmp(&b.keep));
    Ok(found)
}

/// The parts of a search that all attempts share.
struct Search<'a> {
    context: &'a PlanContext<'a>,
    searched: &'a Searched<'a>,
    scores: &'a ScoredChannels,
    counted: Counted,
    images: &'a Images,
    limit: Limit,
}

impl Search<'_> {
    /// Returns the least share of the cost that any cut leaves.
    fn least(&self) -> Result<f64> {
        let PlanContext { network, options, .. } = self.context;
        let channels = &network.channels;
        let all = Budget::RemoveBelow(f64::INFINITY);
        let removed = options.choose(all, network, channels, &self.scores.scored)?.removed;
        let whole = channels.count(&channels.lengths(), self.counted);
        let left = channels.count(&channels.lengths_without(&removed), self.counted);
        Ok(left as f64 / whole.max(1) as f64)
    }

    /// Cuts, repairs and evaluates a network, unless a search for another limit did: then there is no repair.
    fn attempt(
        &self,
        keep: f64,
        observer: &mut dyn Observer,
    ) -> Result<(Attempt, MetricResult, Option<Repaired>)> {
        let Searched { calibration, batch, kept, tried, .. } = self.searched;
        if let Some((attempt, metric)) = tried.borrow().iter().find(|(attempt, _)| attempt.keep == keep) {
            return Ok((attempt.clone(), metric.clone(), None));
        }
        let PlanContext { network, device, options } = self.context;
        let (model, graph, channels) = (&network.model, &network.graph, &network.channels);
        let budget = Budget::keep(self.counted, keep);
        let removed = options.choose(budget, network, channels, &self.scores.scored)?.removed;
        let with = (*device, self.images);
        let repaired = repair_layers((graph, channels), &removed, options.repair, with, observer)?;
        let small = written(repaired.apply(model)?, network.is_inexact(), &removed, &model.path)?;
        let small = Graph::from_model_owned(small)?;
        let reference = Reference { graph, kept: Some(kept) };
        let by = (*batch, &options.metric);
        let found = evaluate_against(&small, Some(reference), device, &calibration.judge, by, observer)?;
        let top1 = found.accuracy.top1();
        let agreement = found.agreement.as_ref().and_then(Agreement::agreement);
        let (drop, error) = self.drop(&found)?;
        let metric = found.metric.ok_or_else(|| Error::new("nothing was measured").internal())?;
        let attempt = Attempt { keep, top1, agreement, value: metric.after, drop, error };
        tried.borrow_mut().push((attempt.clone(), metric.clone()));
        Ok((attempt, metric, Some(repaired)))
    }

    /// Returns the loss of a network against the original, with its standard error.
    fn drop(&self, found: &Evaluation) -> Result<(f64, Option<f64>)> {
        let model = &self.context.network.model;
        let unclassified = found.unclassified.as_deref();
        let metric =
            found.metric.as_ref().ok_or_else(|| no_drop("nothing", unclassified).file(&model.path))?;
        let mut drop = (metric.drop().unwrap_or(f64::NAN), metric.error);
        if let Limit::Quality(_) = self.limit {
            return Ok(drop);
        }
        if !metric.before.is_some_and(f64::is_finite) {
            return Err(no_drop(&metric.name, unclassified).file(&model.path));
        }
        let agreement = found.agreement.as_ref();
        let class = agreement.and_then(|agreement| agreement.only_class(LEAST_TO_VARY));
        if let (Some(class), "agreement", false) =
            (class, metric.name.as_str(), self.context.options.metric.force)
        {
            return Err(Error::new("agreement says nothing: the original gives one class for all images")
                .file(&model.path)
                .expected("images of several classes")
                .got(format!("class {class} for {} images", found.images))
                .remedy("give other images, or set `force` to go on"));
        }
        let share = agreement.and_then(Agreement::agreement).map(|share| 100.0 * share);
        if let (Some(share), Some(before), "top-1") = (share, metric.before, metric.name.as_str()) {
            let error = found.metric_named("agreement").and_then(|agreement| agreement.error);
            // Labels that do not fit bound nothing.
            let is_chance = found.label_fit.as_ref().is_some_and(LabelFit::is_chance);
            let lead = if is_chance { 100.0 - share } else { before - share };
            if lead > drop.0 {
                drop = (lead, error);
            }
        }
        Ok(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bisects a network that loses `drop(keep)` points.
    fn search(least: f64, max_drop: f64, drop: fn(f64) -> f64) -> Found<()> {
        bisect(least, &|attempt| Limit::Drop(max_drop).allows(attempt, true), &mut |keep| {
            let attempt = Attempt {
                keep,
                top1: None,
                agreement: None,
                value: -drop(keep),
                drop: drop(keep),
                error: None,
            };
            Ok((attempt, ()))
        })
        .expect("no error")
    }

    #[test]
    fn the_smallest_share_within_the_drop_is_found() {
        let found = search(0.1, 1.0, |keep| 2.0 * (1.0 - keep));
        assert_eq!(found.attempts.len(), halvings(0.1));
        let best = found.best.expect("one is good enough").0;
        assert!((0.5..0.5 + NEAR).contains(&best), "{best}");
        assert!(found.attempts.windows(2).all(|pair| pair[0].keep < pair[1].keep), "the smallest first");
        assert!(
            found.attempts.iter().all(|a| a.drop > 1.0 || a.keep >= best),
            "no smaller one was good enough"
        );
    }

    #[test]
    fn the_least_share_is_evaluated_if_all_others_suffice() {
        let found = search(0.25, 1.0, |_| 0.0);
        assert_eq!(found.best.map(|(keep, ())| keep), Some(0.25));
        assert_eq!(found.attempts[0].keep, 0.25);
    }

    #[test]
    fn attempts_are_kept_if_none_suffices() {
        let found = search(0.25, 1.0, |_| 7.0);
        assert!(found.best.is_none() && found.attempts.len() > 3);
        assert!(search(0.995, 1.0, |_| 0.0).attempts.is_empty(), "nothing can be removed");
    }

    #[test]
    fn a_limit_of_quality_looks_at_the_value() {
        let attempt =
            Attempt { keep: 0.5, top1: None, agreement: None, value: 30.0, drop: f64::INFINITY, error: None };
        assert!(Limit::Quality(30.0).allows(&attempt, true) && !Limit::Quality(31.0).allows(&attempt, true));
        assert!(
            Limit::Quality(31.0).allows(&attempt, false) && !Limit::Quality(29.0).allows(&attempt, false)
        );
        assert!(!Limit::Drop(50.0).allows(&attempt, true));
    }
}
