//! Pruning to several budgets side by side: statistics are gathered, and the original is evaluated, once.

use std::path::PathBuf;

use super::data_notices::check_calibration;
use super::decision::{Outcome, Refusal, RefusalReason};
use super::evidence::Evidence;
use super::metric::MetricResult;
use super::network::Network;
use super::plan_context::PlanContext;
use super::plan_options::{PlanOptions, Target};
use super::planning::Prepared;
use super::pruning::{PruneOptions, Pruned, Work, check_and_read};
use super::quality_curve::{against_macs, front, on_page, quality};
use super::repairing::chosen;
use super::schedule::Schedule;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::devices::Device;
use crate::observer::{Notice, Observer};
use crate::repair::Repair;
use crate::report::{Cost, SearchPoint};

/// A budget of a sweep, and the files of its network.
#[derive(Clone, Debug)]
pub struct SweepBudget {
    /// The goal of the decision.
    pub target: Target,
    /// The file of the pruned network.
    pub output: Option<PathBuf>,
    /// The file of the masked reference.
    pub masked: Option<PathBuf>,
}

/// The result for one budget of a sweep.
#[derive(Clone, Debug)]
pub struct SweptBudget {
    /// The goal of the decision.
    pub target: Target,
    /// The pruned network, or an honest no.
    pub result: Result<Pruned, Box<Refusal>>,
    /// True if no other network has as few MACs and the quality of this one, or is better in both.
    pub is_best: bool,
}

/// The networks of a sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The cost of the original.
    pub before: Cost,
    /// The results, in the order of the budgets.
    pub budgets: Vec<SweptBudget>,
}

/// Prunes a network to several budgets of one kind.
///
/// The target and the files of `options` do not count. A budget that is refused, or that the limits do not allow, leaves
/// the others. Report pages have the curve of all networks.
///
/// # Errors
/// No budgets, equal ones or several kinds; rounds; otherwise as [`prune`](super::prune).
pub fn sweep(
    network: &Network,
    device: &Device,
    evidence: Evidence,
    budgets: &[SweepBudget],
    options: &PruneOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Sweep>> {
    let targets: Vec<Target> = budgets.iter().map(|budget| budget.target).collect();
    check_targets(&targets, options.plan.rounds)?;
    Outcome::of(swept(network, device, evidence, budgets, options, observer))
}

/// Checks that targets can be met side by side, in so many rounds.
///
/// # Errors
/// No targets, a target out of range, equal ones or several kinds; several rounds to several targets.
pub fn check_targets(targets: &[Target], rounds: usize) -> Result<()> {
    targets.iter().try_for_each(|target| target.check())?;
    let kind = |target: &Target| target.to_string().split(' ').next().unwrap_or_default().to_owned();
    let first = targets.first().ok_or_else(|| {
        Error::new("a sweep has no budget").expected("at least one").remedy("set `keep_macs`, for example")
    })?;
    if let Some(other) = targets.iter().find(|target| kind(target) != kind(first)) {
        return Err(Error::new("a sweep has budgets of one kind")
            .expected(kind(first))
            .got(other.to_string())
            .remedy("run `prune()` for each kind"));
    }
    for (i, target) in targets.iter().enumerate() {
        if targets[..i].contains(target) {
            return Err(Error::new("a budget is given twice")
                .expected("several different budgets")
                .got(target.to_string())
                .remedy("leave one of them out"));
        }
    }
    if rounds > 1 && targets.len() > 1 {
        return Err(Error::new("rounds reach one budget, not several")
            .expected("one budget, or `rounds` of 1")
            .got(format!("{} budgets and {rounds} rounds", targets.len()))
            .remedy("run `prune()` for each budget, or leave out `rounds`"));
    }
    Ok(())
}

fn swept(
    network: &Network,
    device: &Device,
    mut evidence: Evidence,
    budgets: &[SweepBudget],
    options: &PruneOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Sweep>> {
    let (calibration, batch) = (evidence.calibration, evidence.batch);
    check_calibration(&network.graph, calibration, options.plan.metric.force, observer)?;
    let repair = chosen(options.repair, calibration, observer)?;
    let plan = PlanOptions { repair, target: budgets[0].target, ..options.plan.clone() };
    let plan = evidence.resolve(network, &plan, observer)?;
    let mut schedule = Schedule::of(network);
    if let Some(calibration) = calibration.filter(|_| plan.target.limit().is_none()) {
        schedule.original_check(calibration, &plan.metric);
    }
    schedule.images(calibration.filter(|_| repair != Repair::None));
    let more = (options.report.as_ref(), options.finetune.as_ref());
    schedule.sweep(&evidence, (&plan, budgets.len()), more)?;
    schedule.announce(observer);
    check_and_read(network, device, &evidence, (plan.target, &plan.metric, repair), observer)?;
    let context = PlanContext { network, device, options: &plan };
    let Outcome::Done(prepared) = Prepared::new(&context, &mut evidence, observer)? else {
        return Ok(Outcome::Interrupted);
    };
    let mut all = Vec::new();
    for (i, budget) in budgets.iter().enumerate() {
        let target = budget.target;
        observer.notice(Notice::Budget { budget: target.to_string(), place: i + 1, of: budgets.len() });
        let plan = PlanOptions { target, ..plan.clone() };
        let context = PlanContext { options: &plan, ..context };
        let decided = feasible(prepared.decide(&context, observer))?;
        let outcome = match decided.and_then(|decision| Ok(plan.confident(decision, observer)))? {
            Outcome::Done(decision) => {
                let seed = Some(plan.seed);
                let options = PruneOptions {
                    plan,
                    output: budget.output.clone(),
                    masked: budget.masked.clone(),
                    ..options.clone()
                };
                let kept = Some(prepared.kept());
                let work = Work { device, calibration, batch, options: &options, repair, kept };
                work.carry_out(network.clone(), decision, (seed, None), observer)?
            }
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Interrupted => Outcome::Interrupted,
        };
        let result = match outcome {
            Outcome::Done(pruned) => Ok(pruned),
            Outcome::Refused(refusal) => Err(refusal),
            Outcome::Interrupted => return Ok(Outcome::Interrupted),
        };
        all.push(SweptBudget { target, result, is_best: false });
    }
    let mut sweep = Sweep { before: network.cost(), budgets: all };
    sweep.mark_best();
    sweep.draw();
    Ok(Outcome::Done(sweep))
}

/// Turns the error of a budget that the limits do not allow into a refusal.
fn feasible<T>(decided: Result<Outcome<T>>) -> Result<Outcome<T>> {
    match decided {
        Err(error) if error.kind() == ErrorKind::BudgetInfeasible => {
            let reason = RefusalReason::Infeasible { reason: error.message() };
            Ok(Outcome::Refused(Box::new(Refusal { reason, attempts: vec![], decision: None })))
        }
        other => other,
    }
}

impl Pruned {
    /// Returns the metric that judges, if its value is a number.
    fn judged(&self) -> Option<&MetricResult> {
        self.evaluation.as_ref()?.metric.as_ref().filter(|metric| !metric.after.is_nan())
    }
}

impl Sweep {
    /// Returns the pruned networks with their places among the budgets.
    pub fn networks(&self) -> impl Iterator<Item = (usize, &Pruned)> {
        self.budgets.iter().enumerate().filter_map(|(i, budget)| Some((i, budget.result.as_ref().ok()?)))
    }

    /// Returns whether a budget was refused.
    pub fn is_refused(&self) -> bool {
        self.budgets.iter().any(|budget| budget.result.is_err())
    }

    /// Marks the networks of the Pareto front of MACs and quality.
    fn mark_best(&mut self) {
        let points: Vec<(usize, u64, f64)> = self
            .networks()
            .filter_map(|(i, pruned)| {
                let metric = pruned.judged()?;
                Some((i, pruned.after.macs, quality(metric.after, metric.higher_is_better)))
            })
            .collect();
        for i in front(&points) {
            self.budgets[i].is_best = true;
        }
    }

    /// Adds the curve of quality against MACs to the report pages.
    fn draw(&mut self) {
        let Some(metric) = self.networks().find_map(|(_, pruned)| pruned.judged()).cloned() else { return };
        let value = |value| on_page(&metric.unit, value);
        let mut points: Vec<(usize, SearchPoint)> = self
            .networks()
            .filter_map(|(i, pruned)| {
                let metric = pruned.judged()?;
                let point = SearchPoint {
                    keep: pruned.after.macs as f64 / pruned.before.macs.max(1) as f64,
                    value: value(metric.after),
                    error: metric.error.and_then(value),
                    name: self.budgets[i].target.to_string(),
                    best: self.budgets[i].is_best,
                    chosen: false,
                };
                Some((i, point))
            })
            .collect();
        points.sort_by(|a, b| a.1.keep.total_cmp(&b.1.keep));
        let whole = SearchPoint {
            keep: 1.0,
            value: metric.before.and_then(value),
            name: "original".to_owned(),
            ..SearchPoint::default()
        };
        for (i, budget) in self.budgets.iter_mut().enumerate() {
            let Some(page) = budget.result.as_mut().ok().and_then(|pruned| pruned.page.as_mut()) else {
                continue;
            };
            let own = points.iter().cloned();
            let own = own.map(|(of, point)| SearchPoint { chosen: of == i, ..point });
            let points = own.chain([whole.clone()]).collect();
            page.curve = Some(against_macs(&metric.name, &metric.unit, points));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::Budget;

    #[test]
    fn budgets_of_a_sweep_are_different_and_of_one_kind() {
        let macs = |share| Target::Keep(Budget::KeepMacs(share));
        let fails = |targets: &[Target], rounds: usize| {
            check_targets(targets, rounds).err().map(|error| error.message()).unwrap_or_default()
        };
        assert_eq!(fails(&[macs(0.8), macs(0.6)], 1), "");
        assert!(fails(&[], 1).contains("no budget"));
        assert!(fails(&[macs(0.8), macs(0.8)], 1).contains("twice"));
        assert!(fails(&[macs(0.8), Target::MaxDrop(1.0)], 1).contains("one kind"));
        assert!(fails(&[macs(0.8), macs(0.6)], 2).contains("rounds"));
        assert!(fails(&[macs(0.8), macs(1.6)], 1).contains("does not fit"));
    }
}
