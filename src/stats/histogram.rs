//! A histogram that needs no range in advance and merges exactly.
//!
//! Bin `k` covers `[k·2ᵉ, (k+1)·2ᵉ)`. The exponent grows with the range: two bins of one size then become one of the
//! next. Edges nest, and the final exponent is the least that fits the range, in any order of the values. So any split
//! of the data merges to the same counts.

/// The number of bins; the range covers between half of them and all.
pub const BINS: usize = 128;
/// The exponent of the narrowest bins.
const LEAST: i32 = -60;
/// The most binary digits of a bin number: bins are wide enough for the largest magnitude.
const DIGITS: i32 = 40;

/// Counts of values in bins of equal width.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Exponent of the bin width `2^exponent`.
    pub exponent: i32,
    /// Number of the bin counted in `counts[0]`, the lowest nonempty one.
    pub first: i64,
    /// Number of values in each bin.
    pub counts: [u32; BINS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { exponent: LEAST, first: 0, counts: [0; BINS] }
    }
}

impl Histogram {
    /// Counts one finite value; others are ignored and show up in the moments.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        if let Some(at) = self.covered(value) {
            self.counts[at] += 1;
            return;
        }
        let magnitude = if value == 0.0 { LEAST } else { (value.abs().log2().floor() as i32) - DIGITS };
        let exponent = magnitude.max(LEAST);
        if exponent > self.exponent {
            self.coarsen(exponent);
        }
        let bin = (value * f64::from(-self.exponent).exp2()).floor() as i64;
        self.include(bin, bin);
        let at = (value * f64::from(-self.exponent).exp2()).floor() as i64 - self.first;
        self.counts[at as usize] += 1;
    }

    /// Returns the place of a value in the range that the counts already cover, in which nearly all values are.
    fn covered(&self, value: f64) -> Option<usize> {
        let scaled = value * f64::from_bits(u64::from((1023 - self.exponent).unsigned_abs()) << 52);
        if self.counts[0] == 0 || scaled.abs() >= (1i64 << DIGITS) as f64 {
            return None;
        }
        let at = scaled.floor() as i64 - self.first;
        usize::try_from(at).ok().filter(|&at| at < BINS)
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        let exponent = self.exponent.max(other.exponent);
        other.coarsen(exponent);
        let Some((low, high)) = other.range() else { return };
        self.coarsen(exponent);
        self.include(low, high);
        other.coarsen(self.exponent);
        for (bin, count) in (other.first..).zip(other.counts).filter(|&(_, count)| count > 0) {
            self.counts[(bin - self.first) as usize] += count;
        }
    }

    /// Returns the number of values.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|&c| u64::from(c)).sum()
    }

    /// Returns the lower edge of bin `i`; [`BINS`] gives the upper edge of the last.
    pub fn edge(&self, i: usize) -> f64 {
        (self.first + i as i64) as f64 * f64::from(self.exponent).exp2()
    }

    /// Returns the entropy H = −Σ p ln p in nats, and its standard error √((Σ p ln²p − H²)/n).
    pub fn entropy(&self) -> (f64, f64) {
        let n = self.total() as f64;
        let (mut entropy, mut squares) = (0.0, 0.0);
        for &count in self.counts.iter().filter(|&&c| c > 0) {
            let p = f64::from(count) / n;
            entropy -= p * p.ln();
            squares += p * p.ln() * p.ln();
        }
        (entropy, ((squares - entropy * entropy).max(0.0) / n).sqrt())
    }

    /// Returns the lowest and the highest nonempty bin.
    fn range(&self) -> Option<(i64, i64)> {
        let last = self.counts.iter().rposition(|&c| c > 0)?;
        Some((self.first, self.first + last as i64))
    }

    /// Extends the range to the bins from `low` to `high`, and coarsens bins if needed.
    fn include(&mut self, low: i64, high: i64) {
        let (mut least, mut most) = match self.range() {
            Some((first, last)) => (first.min(low), last.max(high)),
            None => (low, high),
        };
        let mut exponent = self.exponent;
        while most - least >= BINS as i64 {
            (least, most, exponent) = (least >> 1, most >> 1, exponent + 1);
        }
        self.coarsen(exponent);
        self.start_at(least);
    }

    /// Merges neighbouring bins until they are `2^exponent` wide.
    fn coarsen(&mut self, exponent: i32) {
        let by = exponent - self.exponent;
        if by <= 0 {
            return;
        }
        let halve = |bin: i64| bin >> by.min(63);
        let (old, first) = (self.counts, halve(self.first));
        self.counts = [0; BINS];
        for (bin, count) in (self.first..).zip(old).filter(|&(_, count)| count > 0) {
            self.counts[(halve(bin) - first) as usize] += count;
        }
        (self.first, self.exponent) = (first, exponent);
    }

    /// Shifts the counts to start at bin `first`, which must not exceed the lowest nonempty bin.
    fn start_at(&mut self, first: i64) {
        match self.range() {
            None => self.first = first,
            Some((low, _)) if low > first => {
                self.counts.rotate_right((low - first) as usize);
                self.first = first;
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Histogram {
        let mut all = Histogram::default();
        values.iter().for_each(|&v| all.add(v));
        all
    }

    #[test]
    fn bins_cover_the_values_as_finely_as_they_fit() {
        let all = of(&(0..1000).map(|i| f64::from(i) * 0.1 - 20.0).collect::<Vec<_>>());
        assert_eq!((all.total(), all.exponent, all.first), (1000, 0, -20));
        assert_eq!((all.counts[0], all.counts[99], all.counts[100]), (10, 10, 0));
        assert_eq!((all.edge(0), all.edge(100)), (-20.0, 80.0));
    }

    #[test]
    fn any_split_in_any_order_merges_to_the_same_counts() {
        let values: Vec<f64> =
            (0..500).map(|i| (f64::from(i) * 1.7).sin() * f64::from(i % 7).exp2()).collect();
        let whole = of(&values);
        let backwards: Vec<f64> = values.iter().rev().copied().collect();
        assert_eq!(of(&backwards), whole);
        for split in [0, 1, 77, 499, 500] {
            let mut parts = of(&values[split..]);
            parts.merge(&of(&values[..split]));
            assert_eq!(parts, whole, "{split}");
        }
    }

    #[test]
    fn extremes_do_not_break_it() {
        let all = of(&[0.0, 1e-300, -1e-300, 1e300, f64::NAN, f64::INFINITY]);
        assert_eq!(all.total(), 4);
        let equal = of(&[3.5; 9]);
        assert_eq!((equal.total(), equal.counts[0]), (9, 9));
        assert_eq!(equal.entropy(), (0.0, 0.0));
    }

    #[test]
    fn entropy_is_that_of_the_shares() {
        let (entropy, error) = of(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]).entropy();
        assert!(
            (entropy - 4f64.ln()).abs() < 1e-12 && error < 1e-6,
            "equal shares have no first-order error"
        );
    }
}
