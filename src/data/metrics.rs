//! How good the answers are: top-k accuracy against labels, and agreement with a reference network.
//!
//! Sums are kept in `f64`. A NaN never counts in a network's favour.

/// The index of the largest value, the lower one of equals; `None` when there is a NaN or nothing.
pub fn argmax(row: &[f32]) -> Option<usize> {
    let mut best = None;
    for (index, &value) in row.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, b)| value > b) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

/// The classes of an output that is one score a class for each image (`[images, classes]`, then ones at most).
pub fn classes(shape: &[usize]) -> Option<usize> {
    let classes = *shape.get(1)?;
    (classes > 1 && shape[2..].iter().all(|&d| d == 1)).then_some(classes)
}

/// Whether `label` is among the `k` largest of one image's `logits`.
///
/// Of equal logits the lower index comes first. A NaN is no hit itself and counts as larger than all; a
/// label beyond the classes is no hit.
pub fn top_k(logits: &[f32], label: u32, k: usize) -> bool {
    let label = label as usize;
    let Some(&value) = logits.get(label).filter(|v| !v.is_nan()) else { return false };
    let before = |(index, &other): (usize, &f32)| !(other < value || (other == value && index >= label));
    logits.iter().enumerate().filter(|&pair| before(pair)).count() < k
}

/// Top-1 and top-5, gathered batch by batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accuracy {
    images: u64,
    first: u64,
    among_five: u64,
    classes: usize,
}

impl Accuracy {
    /// Adds images: `logits` is images×`classes`, row-major, with one label an image.
    ///
    /// Panics when the lengths do not fit: that is the caller's bug.
    pub fn add(&mut self, logits: &[f32], classes: usize, labels: &[u32]) {
        assert_eq!(logits.len(), classes * labels.len(), "logits and labels are of one batch");
        for (row, &label) in logits.chunks_exact(classes.max(1)).zip(labels) {
            self.images += 1;
            self.first += u64::from(top_k(row, label, 1));
            self.among_five += u64::from(top_k(row, label, 5));
        }
        self.classes = classes;
    }

    /// How many images were judged.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// The share of images whose label is the largest logit, 0..1; `None` before the first image.
    pub fn top1(&self) -> Option<f64> {
        (self.images > 0).then(|| self.first as f64 / self.images as f64)
    }

    /// The share of images whose label is among the five largest logits, 0..1; `None` before the first
    /// image, and where there are no more than five classes to choose from.
    pub fn top5(&self) -> Option<f64> {
        (self.images > 0 && self.classes > 5).then(|| self.among_five as f64 / self.images as f64)
    }
}

/// How near a network's outputs are to a reference's, gathered batch by batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    rows: u64,
    same: u64,
    divergence: f64,
    signal: f64,
    noise: f64,
    largest: f64,
}

impl Agreement {
    /// Adds the outputs of one batch, both row-major. With `classes`, rows of so many logits are also
    /// compared as classifications; without, as numbers only.
    ///
    /// Panics when the lengths differ or are not whole rows: that is the caller's bug.
    pub fn add(&mut self, reference: &[f32], got: &[f32], classes: Option<usize>) {
        assert_eq!(reference.len(), got.len(), "outputs of one shape");
        for (&r, &g) in reference.iter().zip(got) {
            let (r, g) = (f64::from(r), f64::from(g));
            let error = if r == g { 0.0 } else { (r - g).abs() };
            self.signal += r * r;
            self.noise += error * error;
            self.largest = self.largest.max(if error.is_nan() { f64::INFINITY } else { error });
        }
        let Some(classes) = classes.filter(|&c| c > 0) else { return };
        assert_eq!(reference.len() % classes, 0, "whole rows of logits");
        for (r, g) in reference.chunks_exact(classes).zip(got.chunks_exact(classes)) {
            self.rows += 1;
            let (by_reference, by_got) = (argmax(r), argmax(g));
            self.same += u64::from(by_reference.is_some() && by_reference == by_got);
            self.divergence += divergence(r, g);
        }
    }

    /// The share of rows with the same largest logit, 0..1; `None` without classifications.
    pub fn agreement(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.same as f64 / self.rows as f64)
    }

    /// The mean Kullback–Leibler divergence KL(softmax(reference) ‖ softmax(got)) = Σ p·ln(p/q) of a row, in
    /// nats; `None` without classifications.
    pub fn kl(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.divergence / self.rows as f64)
    }

    /// The signal-to-noise ratio of all outputs, 10·log₁₀(Σ reference² / Σ (reference − got)²) in decibels:
    /// infinite for equal outputs, NaN when a NaN is involved.
    pub fn snr_db(&self) -> f64 {
        if self.noise == 0.0 { f64::INFINITY } else { 10.0 * (self.signal / self.noise).log10() }
    }

    /// The largest absolute error; infinite when a NaN is involved.
    pub fn max_abs_err(&self) -> f64 {
        self.largest
    }
}

/// The mean KL(softmax(reference/T) ‖ softmax(got/T)) of rows of `classes` logits, in nats. The temperature T is the
/// spread of the reference's logits about their row's mean: so rows count alike that a network is sure of and that it is
/// not, whatever the scale of its logits (Hinton, Vinyals & Dean 2015 soften alike, with a T by hand).
pub fn softened_kl(reference: &[f32], got: &[f32], classes: usize) -> f64 {
    let rows = || reference.chunks_exact(classes).zip(got.chunks_exact(classes));
    let variance = |row: &[f32]| {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / classes as f64;
        row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / classes as f64
    };
    let count = (reference.len() / classes).max(1) as f64;
    let spread = (rows().map(|(r, _)| variance(r)).sum::<f64>() / count).sqrt();
    let temperature = if spread > 0.0 { spread } else { 1.0 };
    let soft =
        |row: &[f32]| -> Vec<f32> { row.iter().map(|&v| (f64::from(v) / temperature) as f32).collect() };
    rows().map(|(r, g)| divergence(&soft(r), &soft(g))).sum::<f64>() / count
}

/// KL(softmax(r) ‖ softmax(g)), from the logarithms of both so that nothing underflows.
fn divergence(r: &[f32], g: &[f32]) -> f64 {
    let log_sum = |row: &[f32]| {
        let top = row.iter().map(|&v| f64::from(v)).fold(f64::NEG_INFINITY, f64::max);
        top + row.iter().map(|&v| (f64::from(v) - top).exp()).sum::<f64>().ln()
    };
    let (zr, zg) = (log_sum(r), log_sum(g));
    let term = |(&r, &g): (&f32, &f32)| {
        let (ln_p, ln_q) = (f64::from(r) - zr, f64::from(g) - zg);
        let p = ln_p.exp();
        // A probability of zero contributes nothing, whatever the other one is.
        if p == 0.0 { 0.0 } else { p * (ln_p - ln_q) }
    };
    // Rounding can take the sum of equal rows a hair below zero; a NaN stays one.
    let sum: f64 = r.iter().zip(g).map(term).sum();
    if sum < 0.0 { 0.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softened_divergence_knows_no_scale_and_no_offset() {
        let (r, g) = ([8.0f32, 0.0, -2.0, 1.0, 1.5, -1.0], [7.0f32, 1.0, -2.0, 1.0, 1.0, -1.0]);
        let scaled = |row: &[f32; 6]| row.map(|v| 1000.0 * v);
        let (plain, large) = (softened_kl(&r, &g, 3), softened_kl(&scaled(&r), &scaled(&g), 3));
        assert!(plain > 1e-3 && (plain - large).abs() < 1e-5, "{plain} {large}");
        assert!((softened_kl(&r, &g.map(|v| v + 4.0), 3) - plain).abs() < 1e-5);
        assert!(softened_kl(&r, &r, 3) == 0.0 && softened_kl(&[1.0; 4], &[1.0; 4], 2) == 0.0);
        assert!(softened_kl(&r, &[f32::NAN; 6], 3).is_nan());
        // What a network is sure of says hardly anything unsoftened.
        assert!(divergence(&r[..3], &g[..3]) < 0.01 && softened_kl(&r[..3], &g[..3], 3) > 0.01);
    }
}
