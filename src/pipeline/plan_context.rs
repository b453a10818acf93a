//! The network, device and options that every kind of decision uses.

use super::decision::{Decision, Outcome};
use super::evidence::{Evidence, Gathered};
use super::network::Network;
use super::plan_options::PlanOptions;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::observer::{Observer, Stage, staged};
use crate::prune::{Budget, Channels};

/// The network to prune, the device that measures, and the options.
pub(super) struct PlanContext<'a> {
    pub(super) network: &'a Network,
    pub(super) device: &'a Device,
    pub(super) options: &'a PlanOptions,
}

impl PlanContext<'_> {
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
            let scored = staged(observer, Stage::Scoring, 0, |_| {
                options.score(network, channels, (&profile, Some(&curves)))
            })?;
            let goal = (budget, options.target.to_string());
            options.decide(goal, network, channels, (scored, profile)).map(Outcome::Done)
        })
    }
}
