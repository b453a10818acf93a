//! The rules by which gradients change parameters.

/// The rule by which gradients change parameters.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// AdamW with decay rates of the moments (Loshchilov & Hutter 2019).
    AdamW {
        /// Decay rates of the first and second moments.
        betas: [f64; 2],
    },
    /// Gradient descent with Nesterov's momentum.
    Sgd {
        /// Share of the momentum that stays.
        momentum: f64,
    },
}

/// The name with the decay rates, in words.
impl std::fmt::Display for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::AdamW { betas: [first, second] } => write!(f, "AdamW with betas {first} and {second}"),
            Self::Sgd { momentum } => write!(f, "SGD with momentum {momentum}"),
        }
    }
}

impl Optimizer {
    /// AdamW with the usual decay rates.
    pub const ADAMW: Self = Self::AdamW { betas: [0.9, 0.999] };
    /// Gradient descent with the usual momentum.
    pub const SGD: Self = Self::Sgd { momentum: 0.9 };

    /// Returns the highest learning rate that a range test tries.
    ///
    /// AdamW moves every number by about the rate in each step, so that larger rates forget what was learned, although a
    /// short test may not show it.
    pub(super) fn highest_rate(self) -> f64 {
        match self {
            Self::AdamW { .. } => 3e-3,
            Self::Sgd { .. } => 0.3,
        }
    }

    /// Returns the decay rates of the moments; 0 for SGD.
    pub(super) fn betas(self) -> [f64; 2] {
        match self {
            Self::AdamW { betas } => betas,
            Self::Sgd { .. } => [0.0; 2],
        }
    }

    /// Returns the number of arrays of a parameter's state: value, moments, average.
    pub(super) fn arrays(self) -> usize {
        match self {
            Self::AdamW { .. } => 4,
            Self::Sgd { .. } => 3,
        }
    }
}
