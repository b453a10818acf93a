//! The scores that decisions for several budgets share.

use super::network::Network;
use super::plan_options::Scored;
use crate::prune::Channels;
use crate::stats::Profile;

/// The scores of all channels, which serve every budget of one kind.
pub(super) struct ScoredChannels {
    pub(super) scored: Scored,
    /// The statistics, without Gram matrices.
    pub(super) profile: Profile,
    /// The channels with the times of the layers, if the budget is a share of the latency.
    pub(super) timed: Option<Channels>,
}

impl ScoredChannels {
    /// Returns the channels of the network, with measured times if there are any.
    pub(super) fn channels<'a>(&'a self, network: &'a Network) -> &'a Channels {
        self.timed.as_ref().unwrap_or(&network.channels)
    }
}
