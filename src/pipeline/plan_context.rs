//! The network, device and options that every kind of decision uses, and the scores that several decisions share.

use super::decision::{Decision, Outcome};
use super::evidence::{Evidence, Gathered};
use super::network::Network;
use super::plan_options::{PlanOptions, Target};
use super::scored_channels::ScoredChannels;
use crate::bench::widths;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::observer::{Observer, Stage, staged};
use crate::prune::{Budget, Channels};
use crate::stats::Profile;

/// The network to prune, the device that measures, and the options.
#[derive(Clone, Copy)]
pub(super) struct PlanContext<'a> {
    pub(super) network: &'a Network,
    pub(super) device: &'a Device,
    pub(super) options: &'a PlanOptions,
}

impl PlanContext<'_> {
    /// Gathers statistics of `network` (the original, or one that is being pruned in rounds), and scores its channels.
    pub(super) fn score(
        &self,
        network: &Network,
        evidence: &mut Evidence,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<ScoredChannels>> {
        let Self { device, options, .. } = self;
        evidence.gather(network, device, options, observer)?.and_then(|Gathered { profile, curves }| {
            let timed = match options.target {
                Target::Latency(_) => {
                    let Network { model, graph, channels, .. } = network;
                    let times = widths::times(model, graph, channels, device, observer)?;
                    Some(Channels { times: Some(times), ..channels.clone() })
                }
                Target::Keep(_) | Target::Bytes(_) | Target::MaxDrop(_) | Target::MinQuality(_) => None,
            };
            let channels = timed.as_ref().unwrap_or(&network.channels);
            let scored = staged(observer, Stage::Scoring, 0, |_| {
                options.score(network, channels, (&profile, Some(&curves)))
            })?;
            let profile = Profile { grams: vec![], ..profile };
            Ok(Outcome::Done(ScoredChannels { scored, profile, timed }))
        })
    }

    /// Decides for a budget by the scores of `network`.
    pub(super) fn decide(
        &self,
        budget: Budget,
        network: &Network,
        scores: &ScoredChannels,
    ) -> Result<Decision> {
        self.options.decide((budget, self.options.target.to_string()), network, scores)
    }
}
