//! Pruning in rounds with a training after each: a round prunes the network that the round before trained.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::decision::Outcome;
use super::evidence::Evidence;
use super::iterative::steps;
use super::network::Network;
use super::plan_options::{PlanOptions, Target};
use super::planning::decide;
use super::pruning::{PruneOptions, Pruned, Work};
use super::training_record::Round;
use super::whole_cut::Whole;
use crate::error::{Error, Result};
use crate::observer::{Notice, Observer};
use crate::ops::{Kept, KeptValues};
use crate::prune::{Budget, Cut, kept_values};

impl Work<'_> {
    /// Prunes in as many rounds as the options ask for, and trains after each.
    pub(super) fn in_trained_rounds(
        &self,
        network: &Network,
        evidence: Evidence,
        (deciding, budget): (&PlanOptions, Budget),
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Pruned>> {
        let budgets = steps(budget, deciding.rounds);
        let (mut now, mut evidence) = (network.clone(), Some(evidence));
        let (mut kept, mut profile, mut rounds) = (KeptValues::new(), None, Vec::new());
        for (i, &step) in budgets.iter().enumerate() {
            let is_last = i + 1 == budgets.len();
            observer.notice(Notice::Round { round: i + 1, of: budgets.len() });
            let plan = PlanOptions {
                target: Target::Keep(relative(step, network, &now)),
                protected: protected(network, &now, &kept, &deciding.protected),
                // All rounds together remove at most the share `max_cut` of a layer.
                max_cut: 1.0 - (1.0 - deciding.max_cut).powf(1.0 / budgets.len() as f64),
                rounds: 1,
                ..deciding.clone()
            };
            let later = Evidence { calibration: self.calibration, batch: self.batch, ..Evidence::default() };
            let evidence = evidence.take().unwrap_or(later);
            let decision = match decide(&now, self.device, evidence, &plan, observer)? {
                Outcome::Done(decision) => decision,
                Outcome::Refused(refusal) => return Ok(Outcome::Refused(refusal)),
                Outcome::Interrupted => return Ok(Outcome::Interrupted),
            };
            join(&mut kept, kept_values(&now.graph, &now.channels, &decision.removed)?);
            let removed = removed(network, &kept)?;
            let described = (decision.cut.criterion.clone(), Target::Keep(step).to_string());
            let of = (&network.graph, network.model.sha256.as_str());
            let whole = Whole {
                network,
                cut: Cut::new(of, &network.channels, &[], &removed, described)?,
                removed,
                profile: profile.get_or_insert_with(|| decision.profile.clone()).clone(),
                kept: kept.clone(),
                rounds: if is_last { std::mem::take(&mut rounds) } else { vec![] },
            };
            let options = match is_last {
                true => self.options.clone(),
                false => PruneOptions {
                    output: None,
                    masked: None,
                    report: None,
                    quantize: None,
                    stamp: false,
                    ..self.options.clone()
                },
            };
            let work = Work { options: &options, ..*self };
            let seed = Some(deciding.seed);
            let pruned = match work.carry_out(now, decision, (seed, Some(whole)), observer)? {
                Outcome::Done(pruned) if !is_last => pruned,
                last => return Ok(last),
            };
            rounds.push(Round {
                budget: Target::Keep(step).to_string(),
                untrained: pruned.untrained,
                training: pruned.training,
                evaluation: pruned.evaluation,
            });
            now = Network::in_memory(pruned.model, network.is_inexact())?;
        }
        Err(Error::new("no round to prune in").internal())
    }
}

/// Returns the budget of a round, a share of the first network, as a share of the network of the round.
fn relative(budget: Budget, first: &Network, now: &Network) -> Budget {
    let (first, now) = (first.cost(), now.cost());
    let share = |keep: f64, first: u64, now: u64| (keep * first as f64 / now.max(1) as f64).min(1.0);
    match budget {
        Budget::KeepMacs(keep) => Budget::KeepMacs(share(keep, first.macs, now.macs)),
        Budget::KeepParams(keep) => Budget::KeepParams(share(keep, first.params, now.params)),
        other => other,
    }
}

/// Joins the masks of a round, over the indices that were left before, with the masks of all rounds before.
fn join(kept: &mut KeptValues, round: KeptValues) {
    for (name, masks) in round {
        let before = kept.entry(name).or_insert_with(|| vec![None; masks.len()]);
        for (before, mask) in before.iter_mut().zip(masks) {
            let Some(mask) = mask else { continue };
            match before {
                None => *before = Some(mask),
                Some(before) => {
                    let mut mask = mask.into_iter();
                    before
                        .iter_mut()
                        .filter(|kept| **kept)
                        .for_each(|kept| *kept = mask.next().unwrap_or(false));
                }
            }
        }
    }
}

/// Returns the name and the axis of the constant that holds the filters of each producer of channels.
fn filters(network: &Network) -> HashMap<&str, (&str, usize)> {
    let producers = network.channels.coupling.producers.iter();
    let of =
        |node, (weight, axis)| (network.graph.nodes[node].name.as_str(), (network.graph.name(weight), axis));
    producers.map(|producer| of(producer.node, producer.weight)).collect()
}

/// Returns the mask of a node's channels; `None` if all are left.
fn mask<'a>(
    kept: &'a KeptValues,
    filters: &HashMap<&str, (&str, usize)>,
    node: &str,
) -> Option<&'a Vec<bool>> {
    let &(weight, axis) = filters.get(node)?;
    kept.get(weight)?.get(axis)?.as_ref()
}

/// Returns the coupled channels that are not among the indices that are left.
///
/// # Errors
/// Indices that no cut of the network leaves: a fault of this program.
fn removed(network: &Network, kept: &KeptValues) -> Result<BTreeSet<usize>> {
    let filters = filters(network);
    let is_gone = |&(node, channel): &(_, usize)| {
        let mask = mask(kept, &filters, &network.graph.nodes[node].name);
        mask.is_some_and(|mask| mask.get(channel) == Some(&false))
    };
    let sets = network.channels.coupled.iter();
    let removed: BTreeSet<usize> =
        sets.filter(|set| set.members.iter().any(is_gone)).map(|set| set.id).collect();
    let wanted: KeptValues = kept_values(&network.graph, &network.channels, &removed)?;
    let differs = |(name, masks): &(&String, &Kept)| kept.get(*name) != Some(*masks);
    if let Some((name, _)) = wanted.iter().find(differs) {
        return Err(Error::new("the cuts of all rounds are not one cut of the first network")
            .file(&network.graph.path)
            .got(format!("\"{name}\" with other indices"))
            .internal());
    }
    Ok(removed)
}

/// Returns the coupled channels of a later network that are protected in the first.
fn protected(first: &Network, now: &Network, kept: &KeptValues, ids: &BTreeSet<usize>) -> BTreeSet<usize> {
    let members = ids.iter().filter_map(|&id| first.channels.coupled.get(id)).flat_map(|set| &set.members);
    let wanted: HashSet<(&str, usize)> =
        members.map(|&(node, channel)| (first.graph.nodes[node].name.as_str(), channel)).collect();
    let filters = filters(now);
    let is_protected = |&(node, channel): &(_, usize)| {
        let name = now.graph.nodes[node].name.as_str();
        let channel = match mask(kept, &filters, name) {
            Some(mask) => (0..mask.len()).filter(|&i| mask[i]).nth(channel).unwrap_or(usize::MAX),
            None => channel,
        };
        wanted.contains(&(name, channel))
    };
    let sets = now.channels.coupled.iter();
    sets.filter(|set| set.members.iter().any(is_protected)).map(|set| set.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_rounds_are_joined() {
        let of = |mask: &[bool]| KeptValues::from([("w".to_owned(), vec![Some(mask.to_vec()), None])]);
        let mut kept = KeptValues::new();
        join(&mut kept, of(&[true, false, true, true]));
        join(&mut kept, KeptValues::from([("w".to_owned(), vec![None, Some(vec![false, true])])]));
        join(&mut kept, of(&[false, true, true]));
        let joined = vec![Some(vec![false, false, true, true]), Some(vec![false, true])];
        assert_eq!(kept, KeptValues::from([("w".to_owned(), joined)]));
    }
}
