//! Histograms of single values of a tensor, in bins that need no range in advance.
//!
//! A bin holds the values of one sign, exponent and leading mantissa bits ([`value_bins`]): 64 bins an octave, so that
//! a bin is at most 1/64 of its values wide. Counts, minimum and maximum are exact. Any split of the values, in any
//! order, therefore merges to an equal histogram. NaN and infinities are counted apart from the bins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernels::moments::ValueCounts;
use crate::kernels::moments::value_bins::{self, INFINITE, NAN, SIDE, SLOTS, ZEROS};

/// Counts of the values of a tensor, with their minimum and maximum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValueHistogram {
    /// Number of values in each nonempty bin. Bin 0 holds zeros, bin `k` and `−k` values of magnitude number `k − 1`.
    pub bins: BTreeMap<i32, u64>,
    /// The smallest and the largest magnitude of positive values.
    pub positive: Option<[f32; 2]>,
    /// The smallest and the largest magnitude of negative values.
    pub negative: Option<[f32; 2]>,
    /// Number of NaN values.
    pub nan: u64,
    /// Number of values that are +∞ and −∞.
    pub infinite: [u64; 2],
}

/// A range of values with the number of values in it, which count as evenly spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueBin {
    /// Lower edge; it equals the upper edge if all values in the bin are equal.
    pub low: f64,
    /// Upper edge of the range.
    pub high: f64,
    /// Number of values in the range.
    pub count: u64,
}

/// Sums of [`ValueCounts`] over several reads of a device, by slot: fast to add to.
#[derive(Clone, Debug)]
pub(super) struct ValueSums {
    counts: Vec<u64>,
    /// Smallest magnitude, mirrored, and largest magnitude of positive and of negative values; 0 for none.
    extremes: [[f32; 2]; 2],
}

impl Default for ValueSums {
    fn default() -> Self {
        Self { counts: vec![0; SLOTS], extremes: [[0.0; 2]; 2] }
    }
}

impl ValueSums {
    /// Adds the output of [`ValueCounts`].
    pub(super) fn add(&mut self, output: &[f32]) {
        /// Slots that are skipped at once if they are empty.
        const GROUP: usize = 32;
        let (parts, extremes) = output.split_at(2 * SLOTS);
        let groups = parts[..SLOTS].chunks(GROUP).zip(parts[SLOTS..].chunks(GROUP));
        for (counts, (low, high)) in self.counts.chunks_mut(GROUP).zip(groups) {
            if low.iter().chain(high).fold(0, |all, part| all | part.to_bits()) == 0 {
                continue;
            }
            for (count, (&low, &high)) in counts.iter_mut().zip(low.iter().zip(high)) {
                // Both are whole numbers below 2²⁴.
                *count += u64::from(low as u32) + u64::from(high as u32) * ValueCounts::CARRY;
            }
        }
        for (own, &extreme) in self.extremes.iter_mut().flatten().zip(extremes) {
            *own = own.max(extreme);
        }
    }
}

impl ValueBin {
    /// Returns the number of values below `x`, or up to `x` if it is `inclusive`.
    fn below(&self, x: f64, inclusive: bool) -> f64 {
        let count = self.count as f64;
        if x > self.high || (inclusive && x == self.high) {
            count
        } else if x <= self.low {
            0.0
        } else {
            count * ((x - self.low) / (self.high - self.low))
        }
    }
}

impl ValueHistogram {
    /// Adds values to the counts.
    pub fn add(&mut self, values: &[f32]) {
        for &x in values {
            let slot = value_bins::slot(x);
            self.count(slot, 1);
            if slot < ZEROS {
                self.extend(slot / SIDE, [x.abs(); 2]);
            }
        }
    }

    /// Adds the counts of other values.
    pub fn merge(&mut self, other: &Self) {
        for (&bin, &count) in &other.bins {
            let own = self.bins.entry(bin).or_default();
            *own = own.saturating_add(count);
        }
        for (side, extent) in [other.positive, other.negative].into_iter().enumerate() {
            extent.into_iter().for_each(|extent| self.extend(side, extent));
        }
        self.nan = self.nan.saturating_add(other.nan);
        self.infinite = [0, 1].map(|side| self.infinite[side].saturating_add(other.infinite[side]));
    }

    /// Adds counts that a device has summed.
    pub(super) fn add_sums(&mut self, sums: &ValueSums) {
        for (slot, &count) in sums.counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            self.count(slot, count);
        }
        for (side, [smallest, largest]) in sums.extremes.into_iter().enumerate() {
            if largest > 0.0 {
                self.extend(side, [ValueCounts::mirrored(smallest), largest]);
            }
        }
    }

    fn count(&mut self, slot: usize, count: u64) {
        match slot {
            0..ZEROS => {
                let bin = (slot % SIDE) as i32 + 1;
                *self.bins.entry(if slot < SIDE { bin } else { -bin }).or_default() += count;
            }
            ZEROS => *self.bins.entry(0).or_default() += count,
            NAN => self.nan += count,
            _ => self.infinite[slot - INFINITE] += count,
        }
    }

    /// Extends the magnitudes of positive (0) or negative (1) values.
    fn extend(&mut self, side: usize, [smallest, largest]: [f32; 2]) {
        let known = if side == 0 { &mut self.positive } else { &mut self.negative };
        let [a, b] = known.unwrap_or([smallest, largest]);
        *known = Some([a.min(smallest), b.max(largest)]);
    }

    /// Returns the number of finite values.
    pub fn total(&self) -> u64 {
        self.bins.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the minimum of the finite values; `None` if there are none.
    pub fn min(&self) -> Option<f32> {
        match (self.negative, self.bins.contains_key(&0), self.positive) {
            (Some([_, largest]), ..) => Some(-largest),
            (None, true, _) => Some(0.0),
            (None, false, positive) => positive.map(|[smallest, _]| smallest),
        }
    }

    /// Returns the maximum of the finite values; `None` if there are none.
    pub fn max(&self) -> Option<f32> {
        match (self.positive, self.bins.contains_key(&0), self.negative) {
            (Some([_, largest]), ..) => Some(largest),
            (None, true, _) => Some(0.0),
            (None, false, negative) => negative.map(|[smallest, _]| -smallest),
        }
    }

    /// Returns the histogram of the magnitudes.
    #[must_use]
    pub fn magnitudes(&self) -> Self {
        let mut all = Self { nan: self.nan, infinite: [self.infinite.iter().sum(), 0], ..Self::default() };
        for (bin, count) in &self.bins {
            *all.bins.entry(bin.abs()).or_default() += count;
        }
        [self.positive, self.negative].into_iter().flatten().for_each(|extent| all.extend(0, extent));
        all
    }

    /// Returns the nonempty bins in ascending order, the outermost of each sign narrowed to the values in it.
    pub fn bins(&self) -> impl DoubleEndedIterator<Item = ValueBin> + '_ {
        self.bins.iter().map(|(&bin, &count)| {
            if bin == 0 {
                return ValueBin { low: 0.0, high: 0.0, count };
            }
            let [low, high] = value_bins::edges(bin.unsigned_abs() as usize - 1);
            let extent = if bin > 0 { self.positive } else { self.negative };
            let [smallest, largest] = extent.map_or([low, high], |extent| extent.map(f64::from));
            let [low, high] = [low.max(smallest), high.min(largest)];
            let [low, high] = if bin > 0 { [low, high] } else { [-high, -low] };
            ValueBin { low, high, count }
        })
    }

    /// Returns the value that a share `q` of the finite values does not exceed; `None` if there are none.
    ///
    /// It is exact for 0 and 1. In between, values are evenly spread within their bin, so the error is less than the
    /// bin's width, 1/64 of the value.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let wanted = q.clamp(0.0, 1.0) * self.total() as f64;
        let (mut before, mut last) = (0.0, None);
        for bin in self.bins() {
            let count = bin.count as f64;
            if before + count >= wanted {
                let share = (wanted - before).max(0.0) / count;
                return Some(bin.low + share * (bin.high - bin.low));
            }
            before += count;
            last = Some(bin.high);
        }
        last
    }

    /// Returns the numbers of values in `count` bins of equal width from `low` to `high`.
    ///
    /// Values on an edge belong to the bin farther from zero, zeros to the bin above; the outermost bins have their outer
    /// edges, and values outside are left out. Counts are exact if the edges are edges of the histogram, else the values
    /// of a histogram's bin are divided in proportion to the overlap.
    ///
    /// # Panics
    /// Panics if `low` is not below `high`.
    pub fn linear(&self, low: f64, high: f64, count: usize) -> Vec<f64> {
        assert!(low < high, "a range of no width");
        let edge = |i: usize| low + (high - low) * i as f64 / count as f64;
        let mut counts = vec![0.0; count];
        for bin in self.bins().filter(|bin| bin.high >= low && bin.low <= high) {
            let place = |x: f64| ((x - low) / (high - low) * count as f64).floor().max(0.0) as usize;
            // One more bin on either side, in case the division was rounded.
            let first = place(bin.low).saturating_sub(1).min(count - 1);
            let last = (place(bin.high) + 1).min(count - 1);
            let mut before = bin.below(edge(first), false);
            for (i, sum) in counts.iter_mut().enumerate().take(last + 1).skip(first) {
                let end = bin.below(edge(i + 1), i + 1 == count);
                *sum += end - before;
                before = end;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> ValueHistogram {
        let mut all = ValueHistogram::default();
        all.add(values);
        all
    }

    fn values() -> Vec<f32> {
        (0..2000).map(|i| (i as f32 * 1.7).sin() * ((i % 37) as f32 - 12.0).exp2()).collect()
    }

    #[test]
    fn any_split_in_any_order_merges_to_an_equal_histogram() {
        let values = values();
        let whole = of(&values);
        assert_eq!(whole.total(), 2000);
        let backwards: Vec<f32> = values.iter().rev().copied().collect();
        assert_eq!(of(&backwards), whole);
        for split in [0, 1, 777, 1999, 2000] {
            let mut parts = of(&values[split..]);
            parts.merge(&of(&values[..split]));
            assert_eq!(parts, whole, "{split}");
        }
    }

    #[test]
    fn minimum_and_maximum_are_exact_on_either_side_of_zero() {
        let extremes = |values: &[f32]| [of(values).min(), of(values).max()];
        assert_eq!(extremes(&[]), [None; 2]);
        assert_eq!(extremes(&[f32::NAN, f32::INFINITY]), [None; 2]);
        assert_eq!(extremes(&[3.1, 0.3, f32::NAN]), [Some(0.3), Some(3.1)]);
        assert_eq!(extremes(&[-3.1, -0.3, f32::NEG_INFINITY]), [Some(-3.1), Some(-0.3)]);
        assert_eq!(extremes(&[-0.3, 0.0]), [Some(-0.3), Some(0.0)]);
        assert_eq!(extremes(&[0.0, 1e-20]), [Some(0.0), Some(1e-20)]);
        assert_eq!(extremes(&[1e30, -1e-30]), [Some(-1e-30), Some(1e30)]);
        assert_eq!(of(&[-3.0, 2.0, 0.0]).magnitudes(), of(&[3.0, 2.0, 0.0]));
    }

    #[test]
    fn values_that_are_not_finite_are_counted_apart() {
        let all = of(&[f32::NAN, f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
        assert_eq!((all.total(), all.nan, all.infinite), (1, 1, [2, 1]));
    }

    #[test]
    fn linear_bins_are_exact_if_their_edges_are() {
        let values: Vec<f32> = (0..512).map(|i| (i as f32 + 0.5) / 256.0 - 1.0).collect();
        assert_eq!(of(&values).linear(-1.0, 1.0, 8), [64.0; 8]);
        assert_eq!(of(&[0.0, 0.5, 1.0, 1.0]).linear(0.0, 1.0, 2), [1.0, 3.0]);
        assert_eq!(of(&[-1.0, -0.5, 0.0]).linear(-1.0, 0.0, 4), [1.0, 1.0, 0.0, 1.0]);
        assert_eq!(of(&[3.5; 5]).linear(0.0, 3.5, 7), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0]);
        assert_eq!(of(&[5.0, -5.0]).linear(-1.0, 1.0, 3), [0.0; 3], "values outside are left out");
    }

    #[test]
    fn other_linear_bins_divide_values_in_proportion() {
        // One bin from 1 to 1 + 1/64 with all values, narrowed to them.
        let all = of(&[1.0, 1.0 + 1.0 / 128.0]);
        let counts = all.linear(1.0, 1.0 + 1.0 / 128.0, 4);
        assert_eq!(counts, [0.5; 4]);
        let sum: f64 = of(&values()).linear(-1e9, 1e9, 1000).iter().sum();
        assert!((sum - 2000.0).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn quantiles_are_within_a_bin_of_the_sorted_values() {
        let mut sorted = values();
        let all = of(&sorted);
        sorted.sort_by(f32::total_cmp);
        for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0] {
            let at = ((q * 1999.0) as usize).min(1999);
            let [exact, next] = [sorted[at], sorted[(at + 1).min(1999)]].map(f64::from);
            let found = all.quantile(q).unwrap_or(f64::NAN);
            let width = exact.abs().max(next.abs()) / 64.0 + (next - exact);
            assert!((found - exact).abs() <= width, "{q}: {found}, {exact}");
        }
        assert_eq!(all.quantile(0.0), all.min().map(f64::from));
        assert_eq!(all.quantile(1.0), all.max().map(f64::from));
        assert_eq!(of(&[]).quantile(0.5), None);
    }

    #[test]
    fn a_histogram_survives_json() {
        let all = of(&values());
        let text = serde_json::to_string(&all).unwrap_or_default();
        assert_eq!(serde_json::from_str::<ValueHistogram>(&text).ok(), Some(all));
    }
}
