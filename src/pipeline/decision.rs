//! The result of a decision, and the reasons for which it is refused.

use std::collections::BTreeSet;

use super::collapse::Collapse;
use super::integer_network::FloatTrial;
use super::network::Network;
use super::plan_options::{Choice, PlanOptions};
use super::quality_limit::QualityLimit;
use super::scored_channels::ScoredChannels;
use crate::bench::Quantiles;
use crate::error::{ErrorKind, Result};
use crate::observer::{Notice, Observer};
use crate::prune::{Budget, Counted, Cut, Judged};
use crate::quantize::NumberFormat;
use crate::repair::Repaired;
use crate::stats::Profile;

/// The result of an operation that may be refused or interrupted.
#[derive(Clone, Debug)]
pub enum Outcome<T> {
    /// The result of the operation.
    Done(T),
    /// An honest no: the options forbid the result that was found.
    Refused(Box<Refusal>),
    /// The observer ended the operation; statistics measured so far are in the checkpoint file, if there is one.
    Interrupted,
}

impl<T> Outcome<T> {
    /// Returns the result, if there is one.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(result) => Some(result),
            Self::Refused(_) | Self::Interrupted => None,
        }
    }

    /// Turns the error of an interruption into the outcome of one.
    pub(super) fn of(result: Result<Self>) -> Result<Self> {
        match result {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Self::Interrupted),
            other => other,
        }
    }

    /// Applies a function to the result.
    pub(super) fn and_then<U>(self, f: impl FnOnce(T) -> Result<Outcome<U>>) -> Result<Outcome<U>> {
        match self {
            Self::Done(result) => f(result),
            Self::Refused(refusal) => Ok(Outcome::Refused(refusal)),
            Self::Interrupted => Ok(Outcome::Interrupted),
        }
    }
}

/// A result that the options refuse.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The reason for the refusal.
    pub reason: RefusalReason,
    /// The networks that were evaluated, the smallest first.
    pub attempts: Vec<Attempt>,
    /// The decision that was refused, if one was made.
    pub decision: Option<Decision>,
}

/// The reason for a refusal.
#[derive(Clone, Debug, PartialEq)]
pub enum RefusalReason {
    /// The images do not make the cut as certain as required.
    Confidence {
        /// The confidence found; `None` if the criterion's standard error is unknown.
        found: Option<f64>,
        /// The confidence that was required.
        required: f64,
    },
    /// All evaluated networks lose more than allowed.
    MaxDrop {
        /// The allowed loss, in the metric's unit.
        max_drop: f64,
        /// The cost of which networks keep a share.
        counted: Counted,
        /// The unit of the loss: points, dB, or nothing.
        unit: &'static str,
    },
    /// The metric of all evaluated networks is worse than required.
    MinQuality {
        /// The required value, in the metric's unit.
        min_quality: f64,
        /// The name of the metric.
        metric: String,
        /// The cost of which networks keep a share.
        counted: Counted,
    },
    /// All evaluated networks of integers are worse than allowed.
    FloatNodes {
        /// The limit that none keeps.
        limit: QualityLimit,
        /// The number of nodes that could be quantized.
        nodes: usize,
        /// The networks that were evaluated, that with the fewest nodes in float first.
        tried: Vec<FloatTrial>,
    },
    /// The budget cannot be met within the limits, which other budgets of a sweep may be.
    Infeasible {
        /// The error of the budget, as a sentence.
        reason: String,
    },
    /// The pruned network has collapsed: it is no better than chance.
    Collapsed(Collapse),
    /// The limits leave hardly anything to remove.
    NothingToRemove {
        /// The share of the cost that every cut leaves.
        least: f64,
        /// The cost that is counted.
        counted: Counted,
    },
}

/// A network that was evaluated in a search.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Attempt {
    /// The share of the counted cost that was asked for.
    pub keep: f64,
    /// Top-1, 0 to 1, if there are labels.
    pub top1: Option<f64>,
    /// The share of images with the original's class, 0 to 1.
    pub agreement: Option<f64>,
    /// The metric, in its unit.
    pub value: f64,
    /// The loss of the metric, in its unit: percentage points for top-1 and agreement.
    ///
    /// For top-1 also the lead of the original's top-1 over the agreement, if that is larger: a network that gives other
    /// classes than the original is none, even if it is right as often.
    pub drop: f64,
    /// The standard error of the loss; `None` if it is unknown.
    pub error: Option<f64>,
}

/// A latency as a share of the original's, measured side by side.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Latency {
    /// The share asked for.
    pub asked: f64,
    /// The share that was measured.
    pub measured: Quantiles,
}

/// A network in a number format that was tried for a budget of bytes.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FormatTrial {
    /// The name of the number format.
    pub format: String,
    /// The share of the parameters that was kept.
    pub keep_params: f64,
    /// The bytes of the file.
    pub bytes: u64,
    /// The squared error of the outputs on a few calibration images, as a share of the squared outputs.
    pub noise: f64,
}

/// The channels to remove, and what led to them.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The decision as a file.
    pub cut: Cut,
    /// The ids of the removed coupled channels.
    pub removed: BTreeSet<usize>,
    /// The expected share of the removed channels that is truly among the lowest; `None` if errors are unknown.
    pub confidence: Option<f64>,
    /// The statistics of the original network, without Gram matrices.
    pub profile: Profile,
    /// The latency, for [`super::Target::Latency`].
    pub latency: Option<Latency>,
    /// The number format that was chosen, for [`super::Target::Bytes`].
    pub format: Option<NumberFormat>,
    /// The formats that were tried.
    pub formats: Vec<FormatTrial>,
    /// The networks that were evaluated on the way, the smallest first.
    pub attempts: Vec<Attempt>,
    /// The cost that attempts count.
    pub counted: Counted,
    /// The repair of the network that was found in a search.
    pub repaired: Option<Repaired>,
}

impl PlanOptions {
    /// Decides for a budget; `text` describes the goal in the cut's file.
    pub(super) fn decide(
        &self,
        (budget, text): (Budget, String),
        network: &Network,
        scores: &ScoredChannels,
    ) -> Result<Decision> {
        let (channels, scored) = (scores.channels(network), &scores.scored);
        let Choice { removed, confidences, confidence } = self.choose(budget, network, channels, scored)?;
        let pairs = scored.0.iter().zip(confidences);
        let judged: Vec<Judged> = pairs.map(|(&score, confidence)| Judged { score, confidence }).collect();
        let how = (self.criterion()?.to_string(), text);
        let cut = Cut::new((&network.graph, &network.model.sha256), channels, &judged, &removed, how)?;
        Ok(Decision {
            cut,
            removed,
            confidence,
            profile: scores.profile.clone(),
            latency: None,
            format: None,
            formats: vec![],
            attempts: vec![],
            counted: Counted::Macs,
            repaired: None,
        })
    }

    /// Refuses a decision whose confidence is below the one required; reports an uncertain one.
    pub(super) fn confident(&self, decision: Decision, observer: &mut dyn Observer) -> Outcome<Decision> {
        const THRESHOLD: f64 = 0.95;
        let removed = || decision.cut.coupled.iter().filter(|coupled| !coupled.keep);
        let uncertain = removed().filter(|coupled| coupled.confidence.is_some_and(|c| c < THRESHOLD)).count();
        if let (Some(confidence), true) = (decision.confidence, uncertain > 0) {
            let removed = removed().count();
            observer.notice(Notice::UncertainCut { uncertain, removed, threshold: THRESHOLD, confidence });
        }
        match (self.require_confidence, decision.confidence) {
            (Some(required), found) if found.is_none_or(|found| !(found >= required)) => {
                let reason = RefusalReason::Confidence { found, required };
                let attempts = decision.attempts.clone();
                Outcome::Refused(Box::new(Refusal { reason, attempts, decision: Some(decision) }))
            }
            _ => Outcome::Done(decision),
        }
    }
}
