//! The options of a trainer.

use super::objective::Objective;
use super::optimizer::Optimizer;
use super::penalty::Penalty;

/// The layers whose features are compared with the teacher's.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum FeatureLayers {
    /// The input of the last layer.
    #[default]
    Last,
    /// The input of the last layer, and the last maps of each size.
    Stages,
    /// The input of the last layer, and the outputs of nodes with these names.
    Named(Vec<String>),
}

impl std::str::FromStr for FeatureLayers {
    type Err = std::convert::Infallible;

    /// Parses `last`, `stages`, or names of nodes with commas between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "last" => Self::Last,
            "stages" => Self::Stages,
            names => Self::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
        })
    }
}

/// Writes the layers as [`str::parse`] reads them.
impl std::fmt::Display for FeatureLayers {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Stages => f.write_str("stages"),
            Self::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

impl serde::Serialize for FeatureLayers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The options of a trainer.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// The losses that are minimized.
    pub objective: Objective,
    /// The layers whose features are compared with the teacher's.
    pub features: FeatureLayers,
    /// The rule by which parameters change.
    pub optimizer: Optimizer,
    /// Weight decay of layers' weights.
    pub decay: f64,
    /// The largest norm of the gradients of a step.
    pub max_norm: f64,
    /// The number of samples of a step.
    ///
    /// `None` for the samples of `runs` runs of a network with a batch size of its own.
    pub batch: Option<usize>,
    /// The number of runs of a step, over which gradients are summed; it divides `batch`.
    pub runs: usize,
    /// True to normalize by the statistics of each batch, and to update the stored ones.
    pub batch_statistics: bool,
    /// The penalty that shrinks groups of weights.
    pub penalty: Option<Penalty>,
    /// True to sum gradients over each filter and step ([`Trainer::take_filter_steps`](super::Trainer::take_filter_steps)).
    pub observes: bool,
}

impl TrainerOptions {
    /// Returns the number of samples of a run; `None` for networks with a batch size of their own.
    pub(super) fn run_batch(&self) -> Option<usize> {
        self.batch.map(|batch| batch / self.runs.max(1))
    }
}
