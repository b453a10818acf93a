//! The cuts of several rounds as one cut.

use std::collections::BTreeSet;

use super::network::Network;
use super::training_record::Round;
use crate::ops::KeptValues;
use crate::prune::Cut;
use crate::stats::Profile;

/// The cuts of all rounds so far as one cut of the network that was pruned first.
pub(super) struct Whole<'a> {
    pub(super) network: &'a Network,
    pub(super) cut: Cut,
    pub(super) removed: BTreeSet<usize>,
    /// The statistics of the first round.
    pub(super) profile: Profile,
    /// The indices that are left of the first network's values.
    pub(super) kept: KeptValues,
    /// The rounds before, in the last one.
    pub(super) rounds: Vec<Round>,
}
