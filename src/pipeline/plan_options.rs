//! The options of a decision: criterion, target and limits.

use std::collections::BTreeSet;

use super::metric::MetricOptions;
use super::network::Network;
use super::quality_limit::QualityLimit;
use crate::error::{Error, Result};
use crate::prune::{
    Budget, Channels, Counted, Criterion, CutLimits, EliminationCurves, Scope, Score, ScoreNormalization,
    Scoring, allocate, confidence, cut_confidence, scores,
};
use crate::quantize::NumberFormat;
use crate::quantize::integer::IntegerOptions;
use crate::quantize::palette::PaletteBits;
use crate::repair::Repair;
use crate::stats::Profile;

/// The name of the default criterion.
pub const DEFAULT_CRITERION: &str = "reconstruction";

/// The goal of a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// A budget that scores and costs decide alone.
    Keep(Budget),
    /// At most this share of the original's latency of one image, measured on the device.
    Latency(f64),
    /// At most this share of the original's bytes in a file, by fewer channels and another number format together.
    Bytes(f64),
    /// The smallest network that loses at most so much of the metric, in its unit: percentage points of top-1, or of
    /// agreement without labels.
    MaxDrop(f64),
    /// The smallest network whose metric is at least this, in its unit; at most, if less is better.
    MinQuality(f64),
}

impl Default for Target {
    /// Half of the MACs.
    fn default() -> Self {
        Self::Keep(Budget::KeepMacs(0.5))
    }
}

impl Target {
    /// Returns the limit of quality of a search; `None` for a budget.
    pub(super) fn limit(self) -> Option<QualityLimit> {
        match self {
            Self::MaxDrop(most) => Some(QualityLimit::Drop(most)),
            Self::MinQuality(least) => Some(QualityLimit::Quality(least)),
            Self::Keep(_) | Self::Latency(_) | Self::Bytes(_) => None,
        }
    }

    /// Checks the range of the goal's number.
    ///
    /// # Errors
    /// A share outside of (0, 1], a drop outside of [0, 100), a threshold that is NaN.
    pub fn check(self) -> Result<()> {
        let share = |name: &str, value: f64| {
            if value > 0.0 && value <= 1.0 {
                return Ok(());
            }
            Err(Error::new(format!("`{name}` does not fit"))
                .expected("a share above 0, up to 1")
                .got(value.to_string())
                .remedy("for example 0.5"))
        };
        match self {
            Self::Keep(Budget::KeepMacs(value)) => share("keep_macs", value),
            Self::Keep(Budget::KeepParams(value)) => share("keep_params", value),
            Self::Keep(Budget::KeepLatency(value)) | Self::Latency(value) => share("keep_latency", value),
            Self::Bytes(value) => share("keep_bytes", value),
            Self::Keep(Budget::RemoveBelow(value)) if value.is_nan() => {
                Err(Error::new("`remove_below` does not fit")
                    .expected("a score")
                    .got(value.to_string())
                    .remedy("for example 0.5"))
            }
            Self::Keep(Budget::RemoveBelow(_)) => Ok(()),
            Self::MaxDrop(value) => QualityLimit::Drop(value).check(),
            Self::MinQuality(value) => QualityLimit::Quality(value).check(),
        }
    }
}

/// The text that a cut's file holds.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keep(Budget::KeepMacs(value)) => write!(f, "keep-macs {value}"),
            Self::Keep(Budget::KeepParams(value)) => write!(f, "keep-params {value}"),
            Self::Keep(Budget::KeepLatency(value)) | Self::Latency(value) => {
                write!(f, "keep-latency {value}")
            }
            Self::Keep(Budget::RemoveBelow(value)) => write!(f, "remove-below {value}"),
            Self::Bytes(value) => write!(f, "keep-bytes {value}"),
            Self::MaxDrop(value) => write!(f, "max-drop {value}"),
            Self::MinQuality(value) => write!(f, "min-quality {value}"),
        }
    }
}

/// How channels are scored and chosen.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// The goal of the decision.
    pub target: Target,
    /// The criterion; `None` takes [`DEFAULT_CRITERION`], or the next best that a profile has statistics for.
    pub criterion: Option<Criterion>,
    /// How scores of different layers are made comparable; `None` lets criterion and target decide.
    pub normalize: Option<ScoreNormalization>,
    /// The scope in which scores compete.
    pub scope: Scope,
    /// Widths are kept multiples of this.
    pub round_to: usize,
    /// The largest share of its channels that a layer may lose, 0 to 1.
    pub max_cut: f64,
    /// Channels that a layer keeps at least.
    pub min_channels: usize,
    /// Coupled channels that are kept in any case ([`Network::protect`]).
    pub protected: BTreeSet<usize>,
    /// The seed of the criterion `random`.
    pub seed: u64,
    /// The rounds of iterative pruning; after each, the network is repaired and profiled again.
    pub rounds: usize,
    /// The repair between rounds and for the attempts of [`Target::MaxDrop`] and [`Target::MinQuality`].
    pub repair: Repair,
    /// The number formats among which [`Target::Bytes`] chooses.
    pub formats: Vec<NumberFormat>,
    /// The confidence below which a cut is refused.
    pub require_confidence: Option<f64>,
    /// How outputs are measured, for [`Target::MaxDrop`], [`Target::MinQuality`] and the result.
    pub metric: MetricOptions,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            target: Target::default(),
            criterion: None,
            normalize: None,
            scope: Scope::Global,
            round_to: 1,
            max_cut: 0.9,
            min_channels: 1,
            protected: BTreeSet::new(),
            seed: 0,
            rounds: 1,
            repair: Repair::None,
            formats: vec![
                NumberFormat::Float,
                NumberFormat::Integers(IntegerOptions::default()),
                NumberFormat::Palette(PaletteBits::Four),
            ],
            require_confidence: None,
            metric: MetricOptions::default(),
        }
    }
}

/// The scores of all coupled channels.
#[derive(Clone, Debug)]
pub(super) struct Scored(pub(super) Vec<Score>);

/// The channels chosen for removal, with confidences.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) removed: BTreeSet<usize>,
    pub(super) confidences: Vec<Option<f64>>,
    pub(super) confidence: Option<f64>,
}

impl PlanOptions {
    /// Returns options for a criterion by name, with all else by default.
    ///
    /// # Errors
    /// An unknown criterion.
    pub fn by(criterion: &str) -> Result<Self> {
        Ok(Self { criterion: Some(criterion.parse()?), ..Self::default() })
    }

    /// Returns the criterion, or the default one.
    ///
    /// # Errors
    /// None for the default one.
    pub fn criterion(&self) -> Result<Criterion> {
        self.criterion.clone().map_or_else(|| DEFAULT_CRITERION.parse(), Ok)
    }

    /// Returns how scores are normalized: by layer, but for criteria that estimate losses of the whole network, whose
    /// scores are divided by the cost that the target counts.
    pub(super) fn normalization(&self) -> Result<ScoreNormalization> {
        let criterion = self.criterion()?;
        let whole = criterion.needs().patches || criterion.is_by_gradients();
        Ok(match (self.normalize, whole, self.target) {
            (Some(normalize), ..) => normalize,
            (None, false, _) => ScoreNormalization::Layer,
            (None, true, Target::Latency(_) | Target::Keep(Budget::KeepLatency(_))) => {
                ScoreNormalization::Time
            }
            (None, true, Target::Keep(Budget::KeepParams(_)) | Target::Bytes(_)) => {
                ScoreNormalization::Params
            }
            (None, true, _) => ScoreNormalization::Macs,
        })
    }

    /// Returns the cost that a search for the smallest network counts.
    pub(super) fn counted(&self) -> Result<Counted> {
        Ok(self.normalization()?.counted().unwrap_or(Counted::Macs))
    }

    /// Scores all coupled channels, for any budget.
    pub(super) fn score(
        &self,
        network: &Network,
        channels: &Channels,
        (profile, curves): (&Profile, Option<&EliminationCurves>),
    ) -> Result<Scored> {
        let criterion = self.criterion()?;
        let (normalize, seed) = (self.normalization()?, self.seed);
        let scoring = Scoring { criterion: &criterion, normalize, seed, curves };
        scores(&network.graph, channels, profile, &scoring, &self.protected).map(Scored)
    }

    /// Chooses the channels to remove for a budget.
    pub(super) fn choose(
        &self,
        budget: Budget,
        network: &Network,
        channels: &Channels,
        scored: &Scored,
    ) -> Result<Choice> {
        if !(0.0..=1.0).contains(&self.max_cut) {
            return Err(Error::new("`max_cut` does not fit")
                .expected("0 to 1")
                .got(self.max_cut.to_string())
                .remedy("for example 0.9"));
        }
        let limits = CutLimits {
            min_channels: self.min_channels,
            max_cut: self.max_cut,
            round_to: self.round_to,
            prefer: channels.times.as_ref().map_or(1, |times| times.step),
            scope: self.scope,
            repriced: self.normalization()?.counted(),
        };
        let removed = allocate(channels, &Score::values(&scored.0), budget, &limits, &self.protected)
            .map_err(|e| e.file(&network.model.path))?;
        let confidences = confidence(channels, &scored.0, &removed, self.scope, &self.protected);
        let confidence = cut_confidence(&confidences, &removed);
        Ok(Choice { removed, confidences, confidence })
    }

    /// Returns the confidence of the cut that a profile leads to; `None` if a standard error is unknown.
    pub(super) fn confidence(&self, network: &Network, profile: &Profile) -> Result<Option<f64>> {
        let scored = self.score(network, &network.channels, (profile, None))?;
        let budget = match self.target {
            Target::Keep(budget) => budget,
            Target::Latency(share) => Budget::KeepLatency(share),
            Target::Bytes(_) | Target::MaxDrop(_) | Target::MinQuality(_) => {
                return Err(Error::new("a confidence needs a budget")
                    .got(self.target.to_string())
                    .remedy("set `keep_macs`, for example"));
            }
        };
        Ok(self.choose(budget, network, &network.channels, &scored)?.confidence)
    }
}
