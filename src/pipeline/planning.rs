//! The decision which channels are removed.

use super::data_notices::notice_calibration;
use super::decision::{Decision, Outcome};
use super::evidence::Evidence;
use super::iterative::in_rounds;
use super::latency::for_latency;
use super::max_drop::{Limit, smallest};
use super::network::Network;
use super::plan_context::PlanContext;
use super::plan_options::{PlanOptions, Target};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::observer::Observer;

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
    notice_calibration(&network.graph, evidence.calibration, observer)?;
    decide(network, device, evidence, options, observer)
}

/// Decides as [`plan`], without notices about the images.
pub(super) fn decide(
    network: &Network,
    device: &Device,
    evidence: Evidence,
    options: &PlanOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Decision>> {
    let options = evidence.resolve(network, options, observer)?;
    options.target.check()?;
    let context = PlanContext { network, device, options: &options };
    let decided = match options.target {
        Target::Latency(share) => for_latency(&context, evidence, share, observer),
        Target::MaxDrop(most) => smallest(&context, evidence, Limit::Drop(most), observer),
        Target::MinQuality(least) => smallest(&context, evidence, Limit::Quality(least), observer),
        Target::Keep(budget) => in_rounds(&context, evidence, budget, observer),
    };
    Outcome::of(decided)?.and_then(|decision| Ok(options.confident(decision, observer)))
}
