//! The decision which channels are removed.

use super::decision::{Decision, Outcome};
use super::evidence::{Evidence, Gathered};
use super::iterative::in_rounds;
use super::latency::for_latency;
use super::max_drop::smallest;
use super::network::Network;
use super::plan_options::{PlanOptions, Target};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::observer::Observer;
use crate::prune::{Budget, Channels};

/// Decides which channels are removed.
///
/// # Errors
/// Options out of range, statistics that are missing and cannot be gathered, a target that cannot be reached.
pub fn plan(
    network: &Network,
    device: &Device,
    evidence: Evidence,
    options: &PlanOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Decision>> {
    let options = evidence.resolve(network, options, observer)?;
    options.target.check()?;
    let planning = Planning { network, device, options: &options };
    let decided = match options.target {
        Target::Latency(share) => for_latency(&planning, evidence, share, observer)?,
        Target::MaxDrop(points) => smallest(&planning, evidence, points, observer)?,
        Target::Keep(budget) => in_rounds(&planning, evidence, budget, observer)?,
    };
    decided.and_then(|decision| Ok(options.confident(decision, observer)))
}

/// What all kinds of decisions share.
pub(super) struct Planning<'a> {
    pub(super) network: &'a Network,
    pub(super) device: &'a Device,
    pub(super) options: &'a PlanOptions,
}

impl Planning<'_> {
    /// Decides for a budget by the statistics of `network`: the original, or one that is being pruned in rounds.
    pub(super) fn decide(
        &self,
        budget: Budget,
        network: &Network,
        evidence: &mut Evidence,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Decision>> {
        let (options, channels): (_, &Channels) = (self.options, &network.channels);
        evidence.gather(network, self.device, options, observer)?.and_then(|gathered| {
            let Gathered { profile, curves } = gathered;
            let scored = options.score(network, channels, (&profile, Some(&curves)))?;
            let goal = (budget, options.target.to_string());
            options.decide(goal, network, channels, (scored, profile)).map(Outcome::Done)
        })
    }
}
