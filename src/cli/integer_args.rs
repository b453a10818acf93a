//! Options of 8-bit integers, for `quantize` and `prune --quantize`.

use crate::pipeline::{IntegerOptions, RangeMethod, Repair, Runtime};

#[derive(Debug, clap::Args)]
pub(super) struct IntegerArgs {
    /// Runtime whose conventions the integers follow.
    ///
    /// ort: activations in uint8, biases in int32. tensorrt: activations in int8 without a zero point, biases in float.
    /// openvino: activations in uint8, biases in float.
    #[arg(long = "for", value_name = "RUNTIME", default_value_t = Runtime::Ort)]
    pub(super) runtime: Runtime,
    /// Method that chooses the ranges of activations.
    ///
    /// minmax, percentile, percentile:P, entropy, or mse for the least squared error. By default the method whose
    /// outputs are nearest to the original's on 64 calibration images.
    #[arg(long, value_name = "METHOD")]
    ranges: Option<RangeMethod>,
    /// Node that stays in float; may be repeated.
    #[arg(long, value_name = "NODE")]
    float: Vec<String>,
}

impl IntegerArgs {
    pub(super) fn options(&self, repair: Repair) -> IntegerOptions {
        IntegerOptions { runtime: self.runtime, ranges: self.ranges, repair, float: self.float.clone() }
    }
}
