//! The search for the smallest network within a limit of quality.
//!
//! Channels are scored once; then budgets are bisected: each network is cut, repaired, and judged on the images that
//! judge. Quality is no monotone function of the budget, so the result is the smallest network that was *evaluated* and
//! is within the limit.

use std::cell::RefCell;

use super::calibration::Calibration;
use super::decision::{Attempt, Decision, Outcome, Refusal, RefusalReason};
use super::evaluation::evaluate_against;
use super::evidence::Evidence;
use super::kept_outputs::{KeptOutputs, Reference};
use super::metric::{Choice, MetricResult};
use super::original_check::check_original;
use super::plan_context::PlanContext;
use super::quality_limit::QualityLimit;
use super::quality_loss::{limited_metric, loss, notice_coarse};
use super::repairing::repair_layers;
use super::scored_channels::ScoredChannels;
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::observer::{Notice, Observer, Stage, advance, staged};
use crate::prune::{Budget, Counted, written};
use crate::repair::{Images, Repair, Repaired};

/// Budgets nearer to each other than this are not distinguished.
const NEAR: f64 = 0.01;

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
        limit: QualityLimit,
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
        let choice = limited_metric(limit, network, device, calibration, (batch, &options.metric))?;
        let (kept, tried) = (KeptOutputs::default(), RefCell::default());
        Ok(Self { calibration, batch, choice, kept, tried })
    }

    /// Looks for the smallest network within a limit.
    pub(super) fn smallest(
        &self,
        context: &PlanContext,
        scores: &ScoredChannels,
        limit: QualityLimit,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Decision>> {
        let options = context.options;
        let higher_is_better = self.choice.metric.as_ref().is_none_or(|metric| metric.higher_is_better());
        notice_coarse(limit, &self.choice, self.calibration, observer);
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
            let allows = |attempt: &Attempt| limit.allows((attempt.drop, attempt.value), higher_is_better);
            bisect(least, &allows, &mut |keep| attempt(keep, observer))
        })?;
        let Found { best, attempts } = found;
        let Some((keep, repaired)) = best else {
            let reason = match limit {
                _ if attempts.is_empty() => RefusalReason::NothingToRemove { least, counted },
                QualityLimit::Drop(max_drop) => RefusalReason::MaxDrop { max_drop, counted, unit },
                QualityLimit::Quality(min_quality) => {
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
    limit: QualityLimit,
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
        let (drop, error) = loss(self.limit, &found, &model.path, options.metric.force)?;
        let metric = found.metric.ok_or_else(|| Error::new("nothing was measured").internal())?;
        let attempt = Attempt { keep, top1, agreement, value: metric.after, drop, error };
        tried.borrow_mut().push((attempt.clone(), metric.clone()));
        Ok((attempt, metric, Some(repaired)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bisects a network that loses `drop(keep)` points.
    fn search(least: f64, max_drop: f64, drop: fn(f64) -> f64) -> Found<()> {
        bisect(
            least,
            &|attempt| QualityLimit::Drop(max_drop).allows((attempt.drop, attempt.value), true),
            &mut |keep| {
                let attempt = Attempt {
                    keep,
                    top1: None,
                    agreement: None,
                    value: -drop(keep),
                    drop: drop(keep),
                    error: None,
                };
                Ok((attempt, ()))
            },
        )
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
}
