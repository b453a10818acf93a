//! Iterative pruning: the budget is reached in rounds.
//!
//! After each round the network is repaired and profiled again, so that remaining channels are scored by what they
//! contribute now, not by what they contributed in the original.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decision::{Decision, Outcome};
use super::evidence::Evidence;
use super::network::Network;
use super::plan_context::PlanContext;
use super::repairing::repair_layers;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::observer::{Notice, Observer};
use crate::prune::{Budget, Channels};
use crate::repair::Repair;
use crate::stats::Profile;

/// Decides in as many rounds as the options ask for.
pub(super) fn in_rounds(
    context: &PlanContext,
    mut evidence: Evidence,
    budget: Budget,
    observer: &mut dyn Observer,
) -> Result<Outcome<Decision>> {
    let options = context.options;
    let several = evidence.calibration.is_some() && options.repair != Repair::None;
    let budgets = if several { steps(budget, options.rounds) } else { vec![budget] };
    let mut removed = BTreeSet::new();
    let mut original: Option<Profile> = None;
    let mut last = None;
    for (i, &step) in budgets.iter().enumerate() {
        if i + 1 < budgets.len() {
            observer.notice(Notice::Round { round: i + 1, of: budgets.len() });
        }
        let repaired = match removed.is_empty() {
            true => None,
            false => Some(without(context, &evidence, &removed, observer)?),
        };
        if repaired.is_some() {
            // Statistics of the repaired network are no statistics of the original.
            evidence.file = None;
        }
        let now = repaired.as_ref().unwrap_or(context.network);
        let Outcome::Done(scores) = context.score(now, &mut evidence, observer)? else {
            return Ok(Outcome::Interrupted);
        };
        let decision = context.decide(step, now, &scores)?;
        removed.clone_from(&decision.removed);
        original.get_or_insert_with(|| decision.profile.clone());
        last = Some(decision);
    }
    let last = last.ok_or_else(|| Error::new("no round to decide in").internal())?;
    Ok(Outcome::Done(Decision { profile: original.unwrap_or(last.profile), ..last }))
}

/// Returns the budgets of the rounds: equal steps of shares of a cost; other budgets take one round.
pub(super) fn steps(budget: Budget, rounds: usize) -> Vec<Budget> {
    let make: fn(f64) -> Budget = match budget {
        Budget::KeepMacs(_) => Budget::KeepMacs,
        Budget::KeepParams(_) => Budget::KeepParams,
        Budget::KeepLatency(_) | Budget::RemoveBelow(_) => return vec![budget],
    };
    match budget.share() {
        Some((_, keep)) if rounds > 1 => {
            // Shares before the last are rounded, because they are shown.
            let shares = (1..rounds).map(|i| 1.0 - (1.0 - keep) * i as f64 / rounds as f64);
            shares.map(|share| (1e6 * share).round() / 1e6).chain([keep]).map(make).collect()
        }
        _ => vec![budget],
    }
}

/// Returns the network repaired without some channels, whose ids stay those of the original.
fn without(
    context: &PlanContext,
    evidence: &Evidence,
    removed: &BTreeSet<usize>,
    observer: &mut dyn Observer,
) -> Result<Network> {
    let PlanContext { network, device, options } = context;
    let calibration = evidence.calibration.ok_or_else(|| Error::new("a round without images").internal())?;
    let images = calibration.images(observer)?;
    let repaired = repair_layers(
        (&network.graph, &network.channels),
        removed,
        options.repair,
        (device, images),
        observer,
    )?;
    let model = repaired.apply(&network.model)?;
    let graph = Graph::from_model(&model)?;
    let mut channels = Channels::analyze(&graph, network.is_inexact())?;
    channels.gone.clone_from(removed);
    channels.mixing = Arc::clone(&network.channels.mixing);
    Ok(Network { model, graph, channels, original: network.original.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_take_equal_steps() {
        assert_eq!(steps(Budget::KeepMacs(0.4), 3), [0.8, 0.6, 0.4].map(Budget::KeepMacs));
        assert_eq!(steps(Budget::KeepParams(0.5), 2), [Budget::KeepParams(0.75), Budget::KeepParams(0.5)]);
        assert_eq!(steps(Budget::KeepMacs(0.5), 1), [Budget::KeepMacs(0.5)]);
        assert_eq!(steps(Budget::RemoveBelow(0.1), 3), [Budget::RemoveBelow(0.1)]);
    }
}
