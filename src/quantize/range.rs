//! Ranges of values that integers represent, chosen from histograms.
//!
//! A range has an integer for zero, so that padding and the zeros behind activations are exact. Sources: maximum,
//! percentile and entropy in Wu et al. 2020 ([arXiv 2004.09602](https://arxiv.org/abs/2004.09602), section 4.2), entropy
//! as Migacz 2017 (*8-bit inference with TensorRT*, GTC), squared error in Nagel et al. 2021
//! ([arXiv 2106.08295](https://arxiv.org/abs/2106.08295), section 3.1).

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::stats::{ValueBin, ValueHistogram};

/// A method that chooses a range from a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RangeMethod {
    /// From the minimum to the maximum.
    MinMax,
    /// A percentage of the values, with equal shares of the others on both sides (of magnitudes, for symmetric grids).
    Percentile(f64),
    /// The range with the least KL divergence of the quantized from the original distribution.
    Entropy,
    /// The range with the least mean squared error.
    Mse,
}

impl RangeMethod {
    /// The usual percentage, as in ONNX Runtime.
    pub const PERCENT: f64 = 99.999;
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => write!(f, "minmax"),
            Self::Percentile(percent) => write!(f, "percentile:{percent}"),
            Self::Entropy => write!(f, "entropy"),
            Self::Mse => write!(f, "mse"),
        }
    }
}

impl FromStr for RangeMethod {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let percent = |text: &str| text.parse().ok().filter(|percent| *percent > 0.0 && *percent <= 100.0);
        let method = match text {
            "minmax" => Some(Self::MinMax),
            "percentile" => Some(Self::Percentile(Self::PERCENT)),
            "entropy" => Some(Self::Entropy),
            "mse" => Some(Self::Mse),
            other => other.strip_prefix("percentile:").and_then(percent).map(Self::Percentile),
        };
        method.ok_or_else(|| {
            Error::new("unknown method for ranges")
                .expected("minmax, percentile, percentile:P with P above 0 and up to 100, entropy or mse")
                .got(text)
                .remedy("for example percentile:99.99")
        })
    }
}

/// The integers of an 8-bit type that represent a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// The integers from −127 to 127; 0 represents zero.
    Symmetric,
    /// 256 integers, any of which may represent zero.
    Asymmetric,
}

impl Grid {
    /// Returns the number of steps between the integers of the range's ends.
    fn steps(self) -> f64 {
        match self {
            Self::Symmetric => 254.0,
            Self::Asymmetric => 255.0,
        }
    }

    /// Returns the smallest range of this grid that contains the values from `low` to `high`, and zero.
    fn cover(self, low: f64, high: f64) -> (f64, f64) {
        match self {
            Self::Symmetric => {
                let most = low.abs().max(high.abs());
                (-most, most)
            }
            Self::Asymmetric => (low.min(0.0), high.max(0.0)),
        }
    }

    /// Returns whether the scale of a range is a normal number in `f32`.
    fn has_scale(self, (low, high): (f64, f64)) -> bool {
        (high - low) / self.steps() >= f64::from(f32::MIN_POSITIVE)
    }

    /// Returns the width of a step, and the range moved by less than half a step so that zero is on a step.
    fn moved(self, (low, high): (f64, f64)) -> (f64, (f64, f64)) {
        let step = (high - low) / self.steps();
        let below = (-low / step).round_ties_even();
        (step, (-below * step, (self.steps() - below) * step))
    }
}

/// Chooses the range of a tensor by its histogram; it contains zero.
///
/// A symmetric grid has a range (−t, t). NaN and infinite values are left out. If all values are zeros, or so small
/// that `f32` cannot represent the scale, the range is that of values up to 1. If a method finds no wider range than
/// that, as a percentile of a tensor that is nearly always zero, the range is from the minimum to the maximum.
///
/// # Errors
/// A histogram without finite values.
pub fn range(histogram: &ValueHistogram, method: RangeMethod, grid: Grid) -> Result<(f64, f64)> {
    let (Some(min), Some(max)) = (histogram.min(), histogram.max()) else {
        return Err(no_values(histogram));
    };
    let whole = grid.cover(min.into(), max.into());
    if !grid.has_scale(whole) {
        return Ok(grid.cover(0.0, 1.0));
    }
    let found = match method {
        RangeMethod::MinMax => whole,
        RangeMethod::Percentile(percent) => percentile(histogram, percent, grid),
        RangeMethod::Entropy => entropy(histogram, grid, whole),
        RangeMethod::Mse => least_squares(histogram, grid, whole),
    };
    Ok(if grid.has_scale(found) { found } else { whole })
}

fn no_values(histogram: &ValueHistogram) -> Error {
    let (nan, infinite) = (histogram.nan, histogram.infinite.iter().sum::<u64>());
    Error::new("a tensor without finite values has no range")
        .expected("at least one finite value")
        .got(if nan + infinite == 0 {
            "no values".to_owned()
        } else {
            format!("{nan} NaN and {infinite} infinite values")
        })
        .remedy("check the images and their preprocessing, or leave the tensor in float")
}

/// Returns the range of a percentage of the values.
fn percentile(histogram: &ValueHistogram, percent: f64, grid: Grid) -> (f64, f64) {
    let share = percent / 100.0;
    match grid {
        Grid::Symmetric => {
            let most = histogram.magnitudes().quantile(share).unwrap_or(0.0);
            grid.cover(-most, most)
        }
        Grid::Asymmetric => {
            let outside = (1.0 - share) / 2.0;
            let quantile = |q| histogram.quantile(q).unwrap_or(0.0);
            grid.cover(quantile(outside), quantile(1.0 - outside))
        }
    }
}

/// Bins on each side of zero for the entropy, as in TensorRT.
const BINS: usize = 2048;
/// Bins of the narrowest range that is tried, on each side.
const FEWEST: usize = 128;
/// Bins by which ranges that are tried differ, on each side.
const STRIDE: usize = 8;
/// The number of values that a bin has at least in a quantized distribution, so that logarithms are finite.
const LEAST: f64 = 1e-4;

/// Returns the range with the least KL divergence, among those whose larger side is a multiple of eight bins.
///
/// The original distribution P has the values outside in its outermost bins. The quantized one has the values inside,
/// evenly spread over the nonempty bins that are rounded to one integer. Zeros are left out: every range represents
/// them exactly.
fn entropy(histogram: &ValueHistogram, grid: Grid, whole: (f64, f64)) -> (f64, f64) {
    let far = whole.1.max(-whole.0);
    let mut others = histogram.clone();
    others.bins.remove(&0);
    let counts = others.linear(-far, far, 2 * BINS);
    let width = far / BINS as f64;
    let mut best = (f64::INFINITY, whole);
    for side in (FEWEST..=BINS).rev().step_by(STRIDE) {
        let t = side as f64 * width;
        let range = (whole.0.max(-t), whole.1.min(t));
        let step = (range.1 - range.0) / grid.steps();
        let at = |x: f64| ((x / width) + BINS as f64).round() as usize;
        let (first, past) = (at(range.0).min(2 * BINS - 1), at(range.1).max(1));
        let center = |bin: usize| (bin as f64 + 0.5 - BINS as f64) * width;
        let divergence = divergence(&counts, first..past, |bin| (center(bin) / step).round());
        if divergence < best.0 {
            best = (divergence, range);
        }
    }
    best.1
}

/// Returns the KL divergence of the distribution `counts`, if bins of one level become equal and values outside of
/// `inside` move to its ends.
fn divergence(counts: &[f64], inside: std::ops::Range<usize>, level: impl Fn(usize) -> f64) -> f64 {
    let bins = &counts[inside.clone()];
    let kept: f64 = bins.iter().sum();
    if kept <= 0.0 {
        return f64::INFINITY;
    }
    let below: f64 = counts[..inside.start].iter().sum();
    let above: f64 = counts[inside.end..].iter().sum();
    let total = below + kept + above;
    let mut sum = 0.0;
    let mut first = 0;
    while first < bins.len() {
        let own = level(inside.start + first);
        let past = (first..bins.len()).find(|&bin| level(inside.start + bin) != own).unwrap_or(bins.len());
        let original = |bin: usize| {
            let outside = [(0, below), (bins.len() - 1, above)];
            bins[bin] + outside.iter().filter(|(end, _)| *end == bin).map(|(_, count)| count).sum::<f64>()
        };
        let nonempty = (first..past).filter(|&bin| original(bin) > 0.0).count();
        let even = bins[first..past].iter().sum::<f64>() / nonempty.max(1) as f64;
        for bin in first..past {
            let (p, q) = (original(bin) / total, even.max(LEAST) / kept);
            if p > 0.0 {
                sum += p * (p / q).ln();
            }
        }
        first = past;
    }
    sum
}

/// Divisions of an octave in the search for the least squared error, and the octaves that are searched.
const DIVISIONS: [i32; 2] = [16, 8];
/// Rounds of the search over both ends of a range.
const ROUNDS: usize = 3;

/// Returns the range with the least squared error of values that are evenly spread within their bins.
fn least_squares(histogram: &ValueHistogram, grid: Grid, whole: (f64, f64)) -> (f64, f64) {
    let bins: Vec<ValueBin> = histogram.bins().collect();
    let error = |range: (f64, f64)| squared_error(&bins, grid, range);
    // Factors of an end: from 1 down by sixteenths of an octave, then finer about the best one.
    let shrunk = |of: &dyn Fn(f64) -> (f64, f64)| {
        let [divisions, octaves] = DIVISIONS;
        let factor = |k: f64| (-k / f64::from(divisions)).exp2();
        let best = |places: &mut dyn Iterator<Item = f64>| {
            let tried = places.map(|k| (error(of(factor(k))), k));
            tried.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, k)| k)
        };
        let coarse = best(&mut (0..=divisions * octaves).map(f64::from));
        let near = (-divisions..=divisions).map(|k| (coarse + f64::from(k) / f64::from(divisions)).max(0.0));
        factor(best(&mut near.into_iter()))
    };
    if grid == Grid::Symmetric {
        let t = whole.1 * shrunk(&|factor| (whole.0 * factor, whole.1 * factor));
        return (-t, t);
    }
    let (mut low, mut high) = whole;
    for _ in 0..ROUNDS {
        let before = (low, high);
        if whole.1 > 0.0 {
            high = whole.1 * shrunk(&|factor| (low, whole.1 * factor));
        }
        if whole.0 < 0.0 {
            low = whole.0 * shrunk(&|factor| (whole.0 * factor, high));
        }
        if (low, high) == before {
            break;
        }
    }
    (low, high)
}

/// Returns the sum of the squared errors if values are rounded to the steps of a range.
fn squared_error(bins: &[ValueBin], grid: Grid, range: (f64, f64)) -> f64 {
    if !grid.has_scale(range) {
        return f64::INFINITY;
    }
    let (step, (low, high)) = grid.moved(range);
    // The integral of the squared distance to the nearest whole number.
    let rounding = |t: f64| t.round() / 12.0 + (t - t.round()).powi(3) / 3.0;
    let cube = |x: f64| x.powi(3) / 3.0;
    let one = |bin: &ValueBin| {
        let width = bin.high - bin.low;
        if width < 1e-3 * step {
            let x = f64::midpoint(bin.low, bin.high);
            return (x - (x.clamp(low, high) / step).round() * step).powi(2);
        }
        let [a, b] = [bin.low, bin.high].map(|x| x.clamp(low, high));
        let inside = step.powi(3) * (rounding(b / step) - rounding(a / step));
        let below = cube(bin.high.min(low) - low) - cube(bin.low.min(low) - low);
        let above = cube(bin.high.max(high) - high) - cube(bin.low.max(high) - high);
        (inside + below + above) / width
    };
    bins.iter().map(|bin| bin.count as f64 * one(bin)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHODS: [RangeMethod; 4] = [
        RangeMethod::MinMax,
        RangeMethod::Percentile(RangeMethod::PERCENT),
        RangeMethod::Entropy,
        RangeMethod::Mse,
    ];

    fn of(values: &[f32]) -> ValueHistogram {
        let mut all = ValueHistogram::default();
        all.add(values);
        all
    }

    /// Numbers of a normal distribution: sums of twelve uniform ones.
    fn normal(len: usize) -> Vec<f32> {
        let uniform = crate::kernels::case::noise(len * 12, 3);
        uniform.chunks(12).map(|x| x.iter().sum::<f32>() / 2.0).collect()
    }

    fn ranges(histogram: &ValueHistogram, grid: Grid) -> Vec<(f64, f64)> {
        METHODS.iter().filter_map(|&method| range(histogram, method, grid).ok()).collect()
    }

    #[test]
    fn every_range_contains_zero_and_lies_within_the_values() {
        let both = normal(20_000);
        let positive: Vec<f32> = both.iter().map(|x| x.max(0.0)).collect();
        let negative: Vec<f32> = both.iter().map(|x| -x.abs() - 1.0).collect();
        for values in [&both, &positive, &negative] {
            let all = of(values);
            let (min, max) = (all.min().map_or(0.0, f64::from), all.max().map_or(0.0, f64::from));
            for (low, high) in ranges(&all, Grid::Asymmetric) {
                assert!(low <= 0.0 && 0.0 <= high && low < high);
                assert!(low >= min.min(0.0) && high <= max.max(0.0), "({low}, {high}) of ({min}, {max})");
            }
            for (low, high) in ranges(&all, Grid::Symmetric) {
                assert!(low == -high && high > 0.0 && high <= max.max(-min));
            }
        }
        assert_eq!(ranges(&of(&positive), Grid::Asymmetric).iter().filter(|range| range.0 == 0.0).count(), 4);
    }

    #[test]
    fn degenerate_tensors_have_a_safe_range() {
        for (values, expected) in [
            (vec![0.0; 9], (0.0, 1.0)),
            (vec![1e-37, -1e-37], (0.0, 1.0)),
            (vec![2.5; 9], (0.0, 2.5)),
            (vec![-2.5], (-2.5, 0.0)),
            (vec![f32::NAN, 2.0, f32::INFINITY], (0.0, 2.0)),
        ] {
            for (method, found) in METHODS.iter().zip(ranges(&of(&values), Grid::Asymmetric)) {
                assert!((found.0 - expected.0).abs() < 0.01, "{method}: {found:?} of {values:?}");
                assert!((found.1 - expected.1).abs() < 0.01, "{method}: {found:?} of {values:?}");
            }
        }
        assert_eq!(ranges(&of(&[0.0]), Grid::Symmetric), [(-1.0, 1.0); 4]);
        let mut rare = vec![0.0; 2_000_000];
        rare[7] = 3.0;
        let percentile = range(&of(&rare), RangeMethod::Percentile(99.0), Grid::Asymmetric);
        assert_eq!(percentile.ok(), Some((0.0, 3.0)), "a percentile of nothing but zeros");
    }

    #[test]
    fn a_tensor_without_finite_values_is_refused() {
        for (values, got) in
            [(vec![], "no values"), (vec![f32::NAN; 2], "2 NaN"), (vec![f32::INFINITY], "1 inf")]
        {
            for method in METHODS {
                let error = range(&of(&values), method, Grid::Symmetric).map_err(|e| e.to_string());
                assert!(error.as_ref().is_err_and(|text| text.contains(got)), "{method}: {error:?}");
            }
        }
    }

    #[test]
    fn outliers_are_clipped_except_by_the_maximum() {
        let mut values = normal(500_000);
        values[17] = 100.0;
        let found = ranges(&of(&values), Grid::Symmetric);
        assert_eq!(found[0].1, 100.0);
        assert!(found[1..].iter().all(|range| (2.5..30.0).contains(&range.1)), "{found:?}");
    }

    #[test]
    fn the_squared_error_is_that_of_rounded_values() {
        let values = normal(50_000);
        let bins: Vec<ValueBin> = of(&values).bins().collect();
        for (grid, range) in [
            (Grid::Symmetric, (-2.0, 2.0)),
            (Grid::Symmetric, (-0.3, 0.3)),
            (Grid::Asymmetric, (-1.0, 3.5)),
            (Grid::Asymmetric, (0.0, 4.0)),
        ] {
            let (step, (low, high)) = grid.moved(range);
            let rounded = |x: f64| (x.clamp(low, high) / step).round() * step;
            let exact: f64 = values.iter().map(|&x| (f64::from(x) - rounded(x.into())).powi(2)).sum();
            let found = squared_error(&bins, grid, range);
            assert!((found / exact - 1.0).abs() < 0.02, "{grid:?} {range:?}: {found}, {exact}");
        }
    }

    #[test]
    fn no_other_range_has_a_smaller_squared_error() {
        let values = normal(50_000);
        let bins: Vec<ValueBin> = of(&values).bins().collect();
        let least = least_squares(&of(&values), Grid::Symmetric, (-6.0, 6.0));
        let error = |t: f64| squared_error(&bins, Grid::Symmetric, (-t, t));
        let best = (1..600).map(|k| error(f64::from(k) * 0.01)).fold(f64::INFINITY, f64::min);
        assert!(error(least.1) <= best * 1.001, "{} at {least:?}, {best}", error(least.1));
    }

    #[test]
    fn methods_are_written_as_they_are_read() {
        for method in METHODS {
            assert_eq!(method.to_string().parse::<RangeMethod>().ok(), Some(method));
        }
        assert_eq!("percentile".parse::<RangeMethod>().ok(), Some(RangeMethod::Percentile(99.999)));
        for wrong in ["percentile:0", "percentile:101", "percentile:x", "max"] {
            assert!(wrong.parse::<RangeMethod>().is_err(), "{wrong}");
        }
    }
}
