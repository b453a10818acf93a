//! The loss and the images of gradients of gates.

use crate::stats::GateLoss;
use crate::tensor::SampleShape;

/// The loss whose gradients are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateObjective {
    /// Cross-entropy of class scores.
    Classes {
        /// The place of the scores among the network's outputs.
        output: usize,
        /// The number of classes.
        classes: usize,
        /// True for the images' labels, false for classes drawn from the network's probabilities.
        labels: bool,
    },
    /// Sum of all outputs, each times a random number of mean 0 and variance 1.
    Outputs,
}

impl GateObjective {
    /// Returns the loss as profiles name it.
    pub fn loss(self) -> GateLoss {
        match self {
            Self::Classes { labels: true, .. } => GateLoss::Labels,
            Self::Classes { labels: false, .. } => GateLoss::DrawnClasses,
            Self::Outputs => GateLoss::Outputs,
        }
    }
}

/// Options of the gradients of gates.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// The loss of an image.
    pub objective: GateObjective,
    /// The most images per run; `None` for 64. Fewer are computed at once if memory does not suffice.
    pub batch: Option<usize>,
    /// The number of images in all.
    pub images: usize,
    /// Shape of the first sample.
    pub sample: SampleShape,
}
