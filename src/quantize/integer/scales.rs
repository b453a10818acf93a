//! Scales and zero points of activations and weights.

use crate::error::Result;
use crate::quantize::range::{Grid, RangeMethod, range};
use crate::stats::ValueHistogram;

/// The scale and the zero point of an activation: `x ≈ scale · (q − zero)`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ActivationScale {
    /// The distance of adjacent values.
    pub scale: f32,
    /// The integer that represents zero.
    pub zero: i32,
    /// The least value of the range from which the scale was computed.
    pub low: f64,
    /// The largest value of that range.
    pub high: f64,
}

/// Returns the scale of a tensor with this histogram.
///
/// `slope` is that of a LeakyRelu behind the tensor. It makes errors of negative values smaller, and their squares by the
/// squared slope, which the least squared error takes into account.
pub(super) fn of_histogram(
    histogram: &ValueHistogram,
    slope: Option<f32>,
    (method, grid): (RangeMethod, Grid),
) -> Result<ActivationScale> {
    let (low, high) = match slope.filter(|_| method == RangeMethod::Mse) {
        Some(slope) => {
            let weight = slope.powi(-2).min(1e6).round() as u64;
            let mut seen = histogram.clone();
            // Bins of negative values have negative numbers.
            seen.bins.range_mut(0..).for_each(|(_, count)| *count = count.saturating_mul(weight));
            range(&seen, method, grid)?
        }
        None => range(histogram, method, grid)?,
    };
    Ok(match grid {
        Grid::Symmetric => ActivationScale { scale: (high / 127.0) as f32, zero: 0, low, high },
        Grid::Asymmetric => {
            let scale = (high - low) / 255.0;
            let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0) as i32;
            ActivationScale { scale: scale as f32, zero, low, high }
        }
    })
}

/// The largest integer of a weight; −128 is left out, so that zero needs no offset.
const MOST: f32 = 127.0;

/// Returns the scale of a channel with this largest magnitude; 1 for zeros alone.
pub(super) fn of_weights(most: f32) -> f32 {
    let scale = most / MOST;
    if scale >= f32::MIN_POSITIVE { scale } else { 1.0 }
}

/// Returns the integer nearest to a weight.
pub(super) fn integer(weight: f32, scale: f32) -> i64 {
    (weight / scale).round_ties_even().clamp(-MOST, MOST) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_round_to_the_nearest_integer_and_saturate() {
        let scale = of_weights(2.54);
        assert_eq!([2.54, -2.54, 0.0, 0.021, 9.0].map(|w| integer(w, scale)), [127, -127, 0, 1, 127]);
        assert_eq!((of_weights(0.0), of_weights(1e-40)), (1.0, 1.0));
    }
}
