//! The search for the smallest network within an accuracy drop.
//!
//! Channels are scored once; then budgets are bisected: each network is cut, repaired, and judged on the images that
//! judge. Accuracy is no monotone function of the budget, so the result is the smallest network that was *evaluated* and
//! lost no more than allowed.

use super::calibration::Calibration;
use super::decision::{Attempt, Decision, Outcome, Refusal, RefusalReason};
use super::evaluation::evaluate;
use super::evidence::{Evidence, Gathered};
use super::plan_context::PlanContext;
use super::plan_options::Scored;
use super::repairing::repair_layers;
use crate::data::metrics::Agreement;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::observer::{Notice, Observer};
use crate::prune::{Budget, Counted, written};
use crate::repair::{Images, Repair, Repaired};

/// Budgets nearer to each other than this are not distinguished.
const NEAR: f64 = 0.01;

/// Looks for the smallest network that loses at most `max_drop` percentage points.
pub(super) fn smallest(
    context: &PlanContext,
    mut evidence: Evidence,
    max_drop: f64,
    observer: &mut dyn Observer,
) -> Result<Outcome<Decision>> {
    let PlanContext { network, device, options } = context;
    let calibration = evidence.calibration.ok_or_else(|| {
        Error::new("`max_drop` needs images").expected("`data`").remedy("set `data` to a folder of images")
    })?;
    let Outcome::Done(Gathered { profile, curves }) = evidence.gather(network, device, options, observer)?
    else {
        return Ok(Outcome::Interrupted);
    };
    let scored = options.score(network, &network.channels, (&profile, Some(&curves)))?;
    let counted = options.counted()?;
    let none = Images::default();
    let images = if options.repair == Repair::None { &none } else { calibration.images(observer)? };
    let whole = evaluate(&network.graph, None, device, &calibration.judge, evidence.batch, observer)?;
    let search = Search {
        context,
        scored: &scored,
        counted,
        calibration,
        images,
        batch: evidence.batch,
        whole: whole.accuracy.top1(),
    };
    let least = search.least()?;
    let found = bisect(least, max_drop, &mut |keep| {
        let (attempt, repaired) = search.attempt(keep, observer)?;
        let (counted, drop) = (counted.to_string(), attempt.drop);
        observer.notice(Notice::DropTried { keep, counted, drop });
        Ok((attempt, repaired))
    })?;
    let Found { best, attempts } = found;
    let Some((keep, repaired)) = best else {
        let reason = if attempts.is_empty() {
            RefusalReason::NothingToRemove { least, counted }
        } else {
            RefusalReason::MaxDrop { max_drop, counted }
        };
        return Ok(Outcome::Refused(Box::new(Refusal { reason, attempts, decision: None })));
    };
    let text = format!("{} ({keep:.3} of the {counted})", options.target);
    let goal = (Budget::keep(counted, keep), text);
    let decision = options.decide(goal, network, &network.channels, (scored, profile))?;
    Ok(Outcome::Done(Decision { attempts, counted, repaired: Some(repaired), ..decision }))
}

/// The result of a bisection.
struct Found<T> {
    /// The smallest share that lost no more than allowed.
    best: Option<(f64, T)>,
    /// Everything that was evaluated, the smallest first.
    attempts: Vec<Attempt>,
}

/// Bisects the shares between `least` and all for the smallest whose drop is allowed.
fn bisect<T>(
    least: f64,
    max_drop: f64,
    attempt: &mut dyn FnMut(f64) -> Result<(Attempt, T)>,
) -> Result<Found<T>> {
    let (mut low, mut high) = (least, 1.0);
    let mut found = Found { best: None, attempts: vec![] };
    let mut keeps = |keep: f64| -> Result<bool> {
        let (one, made) = attempt(keep)?;
        let enough = one.drop <= max_drop;
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
    scored: &'a Scored,
    counted: Counted,
    calibration: &'a Calibration,
    images: &'a Images,
    batch: Option<usize>,
    /// The original's top-1, if there are labels.
    whole: Option<f64>,
}

impl Search<'_> {
    /// Returns the least share of the cost that any cut leaves.
    fn least(&self) -> Result<f64> {
        let PlanContext { network, options, .. } = self.context;
        let channels = &network.channels;
        let all = Budget::RemoveBelow(f64::INFINITY);
        let removed = options.choose(all, network, channels, self.scored)?.removed;
        let whole = channels.count(&channels.lengths(), self.counted);
        let left = channels.count(&channels.lengths_without(&removed), self.counted);
        Ok(left as f64 / whole.max(1) as f64)
    }

    /// Cuts, repairs and evaluates a network.
    fn attempt(&self, keep: f64, observer: &mut dyn Observer) -> Result<(Attempt, Repaired)> {
        let PlanContext { network, device, options } = self.context;
        let (model, graph, channels) = (&network.model, &network.graph, &network.channels);
        let budget = Budget::keep(self.counted, keep);
        let removed = options.choose(budget, network, channels, self.scored)?.removed;
        let with = (*device, self.images);
        let repaired = repair_layers((graph, channels), &removed, options.repair, with, observer)?;
        let small = written(repaired.apply(model)?, network.is_inexact(), &removed, &model.path)?;
        let small = Graph::from_model_owned(small)?;
        let judge = &self.calibration.judge;
        let found = evaluate(&small, Some(graph), device, judge, self.batch, observer)?;
        let top1 = found.accuracy.top1();
        let agreement = found.agreement.as_ref().and_then(Agreement::agreement);
        let share = self.whole.zip(top1).map(|(before, after)| before - after);
        let drop = share.or(agreement.map(|a| 1.0 - a)).ok_or_else(|| {
            Error::new("`max_drop` needs a network whose first output is a score a class")
                .file(&model.path)
                .remedy("set a budget such as `keep_macs`: the SNR to the original is reported")
        })?;
        Ok((Attempt { keep, top1, agreement, drop: 100.0 * drop }, repaired))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bisects a network that loses `drop(keep)` points.
    fn search(least: f64, max_drop: f64, drop: fn(f64) -> f64) -> Found<()> {
        bisect(least, max_drop, &mut |keep| {
            Ok((Attempt { keep, top1: None, agreement: None, drop: drop(keep) }, ()))
        })
        .expect("no error")
    }

    #[test]
    fn the_smallest_share_within_the_drop_is_found() {
        let found = search(0.1, 1.0, |keep| 2.0 * (1.0 - keep));
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
