//! Codebooks of a layer's weights, by k-means in one dimension.
//!
//! The clusters of sorted numbers are intervals, so dynamic programming finds the optimum (Wang & Song 2011), by
//! divide and conquer over the ends of intervals. Lloyd's algorithm from linear initialization, as in Deep Compression
//! (Han 2016), depends on its start. Weights of many values are first counted in bins; Lloyd's steps over the weights
//! themselves then remove the error of the bins.

/// The most different numbers for which clusters are optimal; more are counted in as many bins of equal width.
const BINS: usize = 4096;
/// The most steps of Lloyd's algorithm.
const STEPS: usize = 50;

/// The values that the weights of a layer share, in ascending order.
#[derive(Clone, Debug, PartialEq)]
pub struct Codebook {
    values: Vec<f32>,
}

/// A number with its weight in the sum of squared errors.
type Point = (f64, f64);

impl Codebook {
    /// Returns the codebook of at most `most` values with the least error `Σ importance · (weight − value)²`.
    ///
    /// `importance` has a factor for each weight; without it all are 1. If as many weights are zero as share a value on
    /// average, zero is a value of the codebook, so that they stay zero. Weights that are not finite are left out.
    ///
    /// # Panics
    /// Panics if `most` is 0, or if `importance` has another length than `weights`.
    pub fn of(weights: &[f32], importance: Option<&[f64]>, most: usize) -> Self {
        assert!(most > 0, "a codebook needs a value");
        assert!(importance.is_none_or(|of| of.len() == weights.len()), "an importance for each weight");
        let zeros = weights.iter().filter(|&&w| w == 0.0).count();
        let keeps_zero = zeros > 0 && zeros * most >= weights.len() && most > 1;
        let mut points: Vec<Point> = weights
            .iter()
            .enumerate()
            .map(|(i, &w)| (f64::from(w), importance.map_or(1.0, |of| of[i])))
            .filter(|&(w, _)| w.is_finite() && !(keeps_zero && w == 0.0))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0.0 };
            same
        });
        // Weights without importance still need a value.
        let least = points.iter().map(|p| p.1).fold(0.0, f64::max) * 1e-6;
        let least = if least > 0.0 { least } else { 1.0 };
        points.iter_mut().for_each(|point| point.1 = point.1.max(least));
        let fixed = keeps_zero.then_some(0.0);
        let free = most - usize::from(keeps_zero);
        let mut values = match points.len() {
            count if count <= free => points.iter().map(|p| p.0).collect(),
            count if count <= BINS => clusters(&points, free),
            _ => clusters(&binned(&points), free),
        };
        values.extend(fixed);
        values.sort_by(f64::total_cmp);
        if points.len() > free {
            lloyd(&points, &mut values, fixed);
        }
        Self::from_values(values.into_iter().map(|value| value as f32).collect())
    }

    /// Returns the codebook of these values.
    pub fn from_values(mut values: Vec<f32>) -> Self {
        values.sort_by(f32::total_cmp);
        values.dedup_by(|a, b| a == b);
        Self { values }
    }

    /// Returns the values in ascending order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the index of the value that is nearest to a number; 0 for NaN and an empty codebook.
    pub fn nearest(&self, number: f64) -> usize {
        let above = self.values.partition_point(|&value| f64::from(value) < number);
        let distance = |at: usize| (f64::from(self.values[at]) - number).abs();
        match above {
            0 => 0,
            _ if above == self.values.len() => above - 1,
            _ if distance(above - 1) <= distance(above) => above - 1,
            _ => above,
        }
    }

    /// Returns weights with the nearest value in place of each.
    pub fn rounded(&self, weights: &[f32]) -> Vec<f32> {
        let value = |&w: &f32| self.values.get(self.nearest(w.into())).copied().unwrap_or(w);
        weights.iter().map(|w| if w.is_finite() { value(w) } else { *w }).collect()
    }
}

/// Joins points in bins of equal width, each with the mean of its points.
fn binned(points: &[Point]) -> Vec<Point> {
    let (low, high) = (points[0].0, points[points.len() - 1].0);
    let mut bins = vec![(0.0, 0.0); BINS];
    for &(number, weight) in points {
        let at = ((number - low) / (high - low) * BINS as f64) as usize;
        let bin = &mut bins[at.min(BINS - 1)];
        *bin = (bin.0 + weight * number, bin.1 + weight);
    }
    bins.iter().filter(|bin| bin.1 > 0.0).map(|&(sum, weight)| (sum / weight, weight)).collect()
}

/// Returns the means of the `count` intervals of sorted points with the least sum of squared errors.
fn clusters(points: &[Point], count: usize) -> Vec<f64> {
    let n = points.len();
    let count = count.min(n);
    // Sums about the mean of all points, so that differences of squares keep their digits.
    let center = points.iter().map(|p| p.0 * p.1).sum::<f64>() / points.iter().map(|p| p.1).sum::<f64>();
    let mut sums = vec![[0.0; 3]; n + 1];
    for (i, &(number, weight)) in points.iter().enumerate() {
        let (x, [w, s, q]) = (number - center, sums[i]);
        sums[i + 1] = [w + weight, s + weight * x, q + weight * x * x];
    }
    let part = |from: usize, to: usize, which: usize| sums[to][which] - sums[from][which];
    let cost =
        |from: usize, to: usize| (part(from, to, 2) - part(from, to, 1).powi(2) / part(from, to, 0)).max(0.0);
    // `best[end]` is the least error of the first `end` points; `starts[k][end]` begins the last interval.
    let mut best: Vec<f64> = (0..=n).map(|end| if end == 0 { 0.0 } else { cost(0, end) }).collect();
    let mut starts = vec![vec![0u32; n + 1]];
    for k in 1..count {
        let (mut next, mut from) = (vec![f64::INFINITY; n + 1], vec![0u32; n + 1]);
        // Ends in [low, high), whose last intervals begin in [first, last].
        let mut open = vec![(k + 1, n + 1, k, n)];
        while let Some((low, high, first, last)) = open.pop() {
            if low >= high {
                continue;
            }
            let end = low.midpoint(high);
            let mut at = first.min(end - 1);
            let past = (last + 1).min(end);
            for (start, before) in best.iter().enumerate().take(past).skip(first) {
                let error = before + cost(start, end);
                if error < next[end] {
                    (next[end], at) = (error, start);
                }
            }
            from[end] = at as u32;
            open.push((low, end, first, at));
            open.push((end + 1, high, at, last));
        }
        best = next;
        starts.push(from);
    }
    let (mut end, mut means) = (n, Vec::new());
    for from in starts.iter().rev() {
        let start = from[end] as usize;
        means.push(center + part(start, end, 1) / part(start, end, 0));
        end = start;
    }
    means.reverse();
    means
}

/// Moves sorted values to the means of the points nearest to them, until they stay; `fixed` never moves.
fn lloyd(points: &[Point], values: &mut [f64], fixed: Option<f64>) {
    for _ in 0..STEPS {
        let mut from = 0;
        let mut moved = false;
        let old = values.to_vec();
        for (at, value) in values.iter_mut().enumerate() {
            let bound = old.get(at + 1).map(|next| old[at].midpoint(*next));
            let to = bound.map_or(points.len(), |bound| points.partition_point(|p| p.0 <= bound));
            let own = &points[from.min(to)..to];
            from = to;
            let weight: f64 = own.iter().map(|p| p.1).sum();
            if weight > 0.0 && Some(*value) != fixed {
                let mean = own.iter().map(|p| p.0 * p.1).sum::<f64>() / weight;
                moved |= (mean - *value).abs() > 1e-9 * mean.abs();
                *value = mean;
            }
        }
        if !moved {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic::splitmix64;

    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut words = splitmix64(seed).map(|w| (w >> 40) as f32 / (1u64 << 24) as f32 - 0.5);
        // Sums of four: many small numbers and few large ones.
        (0..count).map(|_| words.by_ref().take(4).sum::<f32>()).collect()
    }

    fn error(weights: &[f32], book: &Codebook) -> f64 {
        weights.iter().zip(book.rounded(weights)).map(|(&a, b)| f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn the_optimum_of_all_partitions_is_found() {
        let weights = noise(9, 3);
        let mut sorted: Vec<Point> = weights.iter().map(|&w| (w.into(), 1.0)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let of = |part: &[Point]| {
            let mean = part.iter().map(|p| p.0).sum::<f64>() / part.len() as f64;
            part.iter().map(|p| (p.0 - mean).powi(2)).sum::<f64>()
        };
        let all = (1..8).flat_map(|a| (a + 1..9).map(move |b| (a, b)));
        let least = all
            .map(|(a, b)| of(&sorted[..a]) + of(&sorted[a..b]) + of(&sorted[b..]))
            .fold(f64::MAX, f64::min);
        let book = Codebook::of(&weights, None, 3);
        assert!((error(&weights, &book) - least).abs() < 1e-6 * least, "{book:?}");
    }

    #[test]
    fn many_weights_are_clustered_as_well_as_in_one_pass() {
        // More values than bins, of which some lie far from the others.
        let mut weights = noise(20_000, 5);
        weights.extend([9.0, 9.5, -12.0]);
        let few: Vec<f32> = weights.iter().copied().step_by(6).chain([9.0, 9.5, -12.0]).collect();
        let mean = |book: &Codebook| error(&weights, book) / weights.len() as f64;
        let (all, part) = (Codebook::of(&weights, None, 16), Codebook::of(&few, None, 16));
        assert!(mean(&all) < 1.001 * mean(&part), "{} {}", mean(&all), mean(&part));
    }

    #[test]
    fn importance_draws_values() {
        let weights = [0.0, 1.0, 2.0, 3.0];
        let book = Codebook::of(&weights[1..], Some(&[1.0, 1.0, 100.0]), 2);
        assert_eq!(book.values(), [1.5, 3.0]);
        let even = Codebook::of(&weights[1..], Some(&[0.0, 0.0, 0.0]), 3);
        assert_eq!(even.values(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn zeros_of_sparse_weights_stay() {
        let weights: Vec<f32> = noise(1000, 7).iter().map(|w| if w.abs() < 0.5 { 0.0 } else { *w }).collect();
        let book = Codebook::of(&weights, None, 8);
        assert!(book.values().len() == 8 && book.values().contains(&0.0), "{book:?}");
        let rounded = book.rounded(&weights);
        assert!(weights.iter().zip(&rounded).all(|(a, b)| (*a == 0.0) <= (*b == 0.0)));
        // A zero by chance needs no value of its own.
        let dense: Vec<f32> = noise(1000, 7).into_iter().chain([0.0]).collect();
        assert!(!Codebook::of(&dense, None, 8).values().contains(&0.0));
    }

    #[test]
    fn awkward_weights_have_a_codebook() {
        assert_eq!(Codebook::of(&[2.0; 5], None, 16).values(), [2.0]);
        assert_eq!(Codebook::of(&[], None, 16).values(), [0.0f32; 0]);
        assert_eq!(Codebook::of(&[1.0, f32::NAN, 3.0], None, 2).values(), [1.0, 3.0]);
        assert_eq!(Codebook::of(&[1.0, 3.0], None, 1).values(), [2.0]);
        let book = Codebook::from_values(vec![1.0, -1.0]);
        assert_eq!([-5.0, -0.1, 0.0, 0.1, 7.0].map(|x| book.nearest(x)), [0, 0, 0, 1, 1]);
        assert!(book.rounded(&[f32::NAN])[0].is_nan());
    }
}
