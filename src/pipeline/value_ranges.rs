//! Ranges of the tensors whose values a profile has counted, by every method.

use crate::quantize::range::{Grid, RangeMethod, range};
use crate::stats::Profile;

/// Counts and ranges of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRanges {
    /// Name of the tensor.
    pub tensor: String,
    /// Number of finite values.
    pub values: u64,
    /// Number of NaN values.
    pub nan: u64,
    /// Number of infinite values of both signs.
    pub infinite: u64,
    /// Minimum and maximum of the finite values; `None` if there are none.
    pub extremes: Option<(f32, f32)>,
    /// Ranges for 256 integers, by method; empty without finite values.
    pub asymmetric: Vec<(RangeMethod, (f64, f64))>,
    /// Ranges for the integers from −127 to 127, by method; empty without finite values.
    pub symmetric: Vec<(RangeMethod, (f64, f64))>,
}

/// Returns the ranges of the tensors whose values a profile has counted.
pub fn value_ranges(profile: &Profile) -> Vec<ValueRanges> {
    let methods = [
        RangeMethod::MinMax,
        RangeMethod::Percentile(RangeMethod::PERCENT),
        RangeMethod::Entropy,
        RangeMethod::Mse,
    ];
    let tensors = profile.header.values.iter().zip(&profile.values);
    tensors
        .map(|(tensor, histogram)| {
            let by = |grid: Grid| {
                methods.iter().filter_map(|&m| Some((m, range(histogram, m, grid).ok()?))).collect()
            };
            ValueRanges {
                tensor: tensor.clone(),
                values: histogram.total(),
                nan: histogram.nan,
                infinite: histogram.infinite.iter().sum(),
                extremes: histogram.min().zip(histogram.max()),
                asymmetric: by(Grid::Asymmetric),
                symmetric: by(Grid::Symmetric),
            }
        })
        .collect()
}
