//! The result of a quantization to 8-bit integers.

use super::evaluation::Evaluation;
use crate::quantize::coding::CodedSize;
use crate::quantize::integer::Integer;

/// A network of 8-bit integers, its size and its quality.
#[derive(Clone, Debug)]
pub struct IntegerNetwork {
    /// The model in QDQ form, with its layers and scales.
    pub integer: Integer,
    /// The coded size of the original and of the new model.
    pub coded: [CodedSize; 2],
    /// The quality against the original.
    pub evaluation: Evaluation,
    /// The loss by each node alone, the largest first; measured for a limit of quality.
    pub sensitivity: Vec<Sensitivity>,
    /// The networks that were evaluated for a limit of quality.
    pub tried: Vec<FloatTrial>,
}

/// The loss by one node.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Sensitivity {
    /// The name of the node.
    pub node: String,
    /// True for a layer with weights, false for a node such as a sum.
    pub is_layer: bool,
    /// The squared error of the network's outputs, as a share of their squares, if only this node has integers.
    pub noise: f64,
    /// True if the node stays in float.
    pub is_float: bool,
}

impl Sensitivity {
    /// Returns the signal-to-noise ratio of the outputs, in dB.
    pub fn snr_db(&self) -> f64 {
        -10.0 * self.noise.log10()
    }
}

/// A quantized network that was evaluated.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FloatTrial {
    /// The number of nodes that stay in float beside those that were asked for.
    pub float_nodes: usize,
    /// The metric, in its unit.
    pub value: f64,
    /// The loss of the metric, in its unit.
    pub drop: f64,
    /// The standard error of the loss; `None` if it is unknown.
    pub error: Option<f64>,
}
