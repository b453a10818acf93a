//! The decision which channels are removed.

use super::byte_budget::for_bytes;
use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::decision::{Decision, Outcome};
use super::evidence::Evidence;
use super::iterative::in_rounds;
use super::kept_outputs::KeptOutputs;
use super::latency::for_latency;
use super::max_drop::Searched;
use super::network::Network;
use super::plan_context::PlanContext;
use super::plan_options::{PlanOptions, Target};
use super::schedule::Schedule;
use super::scored_channels::ScoredChannels;
use crate::error::{Error, Result};
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
    // A cut for a budget can still be refused when it is applied.
    let goes_on = options.metric.force || options.target.limit().is_none();
    check_calibration(&network.graph, evidence.calibration, goes_on, observer)?;
    let options = evidence.resolve(network, options, observer)?;
    options.target.check()?;
    let mut schedule = Schedule::of(network);
    schedule.decision(&evidence, &options)?;
    schedule.announce(observer);
    decide(network, device, evidence, &options, observer)
}

/// Decides which channels are removed, as a part of an operation that announced its stages and reported its images.
pub(super) fn decide(
    network: &Network,
    device: &Device,
    mut evidence: Evidence,
    options: &PlanOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome<Decision>> {
    let context = PlanContext { network, device, options };
    let decided = match options.target {
        Target::Keep(budget) => in_rounds(&context, evidence, budget, observer),
        Target::Latency(_) | Target::Bytes(_) | Target::MaxDrop(_) | Target::MinQuality(_) => {
            Prepared::new(&context, &mut evidence, observer)
                .and_then(|prepared| prepared.and_then(|prepared| prepared.decide(&context, observer)))
        }
    };
    Outcome::of(decided)?.and_then(|decision| Ok(options.confident(decision, observer)))
}

/// Scores and searches that decisions for several targets of one kind share.
pub(super) struct Prepared<'a> {
    scores: ScoredChannels,
    /// Images and their batch, if there are any.
    images: Option<(&'a Calibration, Option<usize>)>,
    /// The search, if targets are limits of quality.
    searched: Option<Searched<'a>>,
    /// The outputs of the original for the images that judge, if nothing is searched.
    kept: KeptOutputs,
}

impl<'a> Prepared<'a> {
    /// Gathers statistics and scores channels once, for all targets of the kind that the options have.
    pub(super) fn new(
        context: &PlanContext,
        evidence: &mut Evidence<'a>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Self>> {
        let limit = context.options.target.limit();
        let searched = limit.map(|limit| Searched::check(context, evidence, limit, observer)).transpose()?;
        let images = evidence.calibration.map(|calibration| (calibration, evidence.batch));
        context.score(context.network, evidence, observer)?.and_then(|scores| {
            Ok(Outcome::Done(Self { scores, images, searched, kept: KeptOutputs::default() }))
        })
    }

    /// Decides for the target of the options.
    pub(super) fn decide(
        &self,
        context: &PlanContext,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Decision>> {
        match (context.options.target, context.options.target.limit(), &self.searched) {
            (_, Some(limit), Some(searched)) => searched.smallest(context, &self.scores, limit, observer),
            (Target::Latency(share), ..) => for_latency(context, &self.scores, share, observer),
            (Target::Bytes(share), ..) => for_bytes(context, self.images, (&self.scores, share), observer),
            (Target::Keep(budget), ..) => {
                context.decide(budget, context.network, &self.scores).map(Outcome::Done)
            }
            _ => Err(Error::new("a search that was not checked").internal()),
        }
    }

    /// Returns the outputs of the original that are kept for evaluations.
    pub(super) fn kept(&self) -> &KeptOutputs {
        self.searched.as_ref().map_or(&self.kept, |searched| &searched.kept)
    }
}
