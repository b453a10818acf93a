//! Quality of a network's outputs: against labels, label images, or a reference network.
//!
//! Sums are in `f64`. A NaN never counts in a network's favour.

pub mod detection;
pub mod estimate;
pub mod image_quality;
pub mod segmentation;

/// Returns the index of the largest value, the lowest among equals; `None` for a NaN or no values.
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

/// Returns the number of classes of an output of class scores: `[images, classes]`, or `[images, classes, 1, 1]`.
///
/// With one trailing axis, `[images, n, 1]` is a value for each of n places, not n classes.
pub fn classes(shape: &[usize]) -> Option<usize> {
    let classes = *shape.get(1)?;
    let axes = shape.len() != 3 && shape[2..].iter().all(|&d| d == 1);
    (classes > 1 && axes).then_some(classes)
}

/// Returns whether `label` is among the `k` largest of one image's `logits`.
///
/// Among equal logits the lower index comes first. A NaN is never a hit, and counts as larger than all others. A label
/// beyond the classes is no hit.
pub fn top_k(logits: &[f32], label: u32, k: usize) -> bool {
    let label = label as usize;
    let Some(&value) = logits.get(label).filter(|v| !v.is_nan()) else { return false };
    let before = |(index, &other): (usize, &f32)| !(other < value || (other == value && index >= label));
    logits.iter().enumerate().filter(|&pair| before(pair)).count() < k
}

/// Top-1 and top-5 accuracy, accumulated over batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accuracy {
    images: u64,
    first: u64,
    among_five: u64,
    classes: usize,
}

impl Accuracy {
    /// Adds images: `logits` is images × `classes`, row-major, with one label per image.
    ///
    /// # Panics
    /// Panics if the lengths do not fit.
    pub fn add(&mut self, logits: &[f32], classes: usize, labels: &[u32]) {
        assert_eq!(logits.len(), classes * labels.len(), "logits and labels are of one batch");
        for (row, &label) in logits.chunks_exact(classes.max(1)).zip(labels) {
            self.images += 1;
            self.first += u64::from(top_k(row, label, 1));
            self.among_five += u64::from(top_k(row, label, 5));
        }
        self.classes = classes;
    }

    /// Adds an image by its class; `None` is never right.
    pub fn add_class(&mut self, class: Option<usize>, label: u32) {
        self.images += 1;
        self.first += u64::from(class == Some(label as usize));
    }

    /// Returns the number of images added.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Returns the share of images whose label has the largest logit, 0..1; `None` without images.
    pub fn top1(&self) -> Option<f64> {
        (self.images > 0).then(|| self.first as f64 / self.images as f64)
    }

    /// Returns the share of images whose label is among the five largest logits, 0..1.
    ///
    /// `None` without images, and for five classes or fewer.
    pub fn top5(&self) -> Option<f64> {
        (self.images > 0 && self.classes > 5).then(|| self.among_five as f64 / self.images as f64)
    }
}

/// Agreement of a network's outputs with a reference's, accumulated over batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    rows: u64,
    same: u64,
    /// Rows with logits, and the sum of their divergences.
    scored: u64,
    divergence: f64,
    signal: f64,
    noise: f64,
    largest: f64,
    /// The reference's class of the first row, and whether other rows have another.
    first: Option<usize>,
    varied: bool,
}

impl Agreement {
    /// Adds the outputs of one batch, both row-major.
    ///
    /// With `classes`, rows of that many logits are also compared as classifications.
    ///
    /// # Panics
    /// Panics if the lengths differ, or are not a multiple of `classes`.
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
            let (by_reference, by_got) = (argmax(r), argmax(g));
            self.add_classes(by_reference, by_got);
            self.scored += 1;
            self.divergence += divergence(r, g);
        }
    }

    /// Adds the classes of one row, by the reference and by the network; `None` for NaN.
    pub fn add_classes(&mut self, reference: Option<usize>, got: Option<usize>) {
        self.rows += 1;
        self.same += u64::from(reference.is_some() && reference == got);
        self.varied |= self.rows > 1 && reference != self.first;
        if self.rows == 1 {
            self.first = reference;
        }
    }

    /// Returns the only class of the reference, if it has one class for all rows of `least` or more.
    pub fn only_class(&self, least: u64) -> Option<usize> {
        self.first.filter(|_| self.rows >= least && !self.varied)
    }

    /// Forgets the classes of all rows, but not the errors of elements.
    pub fn forget_classes(&mut self) {
        let Self { signal, noise, largest, .. } = *self;
        *self = Self { signal, noise, largest, ..Self::default() };
    }

    /// Takes the signal-to-noise ratio of another output if that is lower, and its largest error if that is larger.
    pub fn join_errors(&mut self, other: &Self) {
        if !(self.snr_db() <= other.snr_db()) && !self.snr_db().is_nan() {
            (self.signal, self.noise) = (other.signal, other.noise);
        }
        self.largest = self.largest.max(other.largest);
    }

    /// Returns the share of rows with the same largest logit, 0..1; `None` without classifications.
    pub fn agreement(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.same as f64 / self.rows as f64)
    }

    /// Returns the mean Kullback–Leibler divergence of a row, in nats; `None` without class scores.
    ///
    /// KL(softmax(reference) ‖ softmax(got)) = Σ p·ln(p/q).
    pub fn kl(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.divergence / self.scored as f64)
    }

    /// Returns the signal-to-noise ratio of all outputs in decibels.
    ///
    /// 10·log₁₀(Σ reference² / Σ (reference − got)²); infinite for equal outputs, NaN if any output is NaN.
    pub fn snr_db(&self) -> f64 {
        if self.noise == 0.0 { f64::INFINITY } else { 10.0 * (self.signal / self.noise).log10() }
    }

    /// Returns the sum of squares of the reference, which the signal-to-noise ratio is about.
    pub fn signal(&self) -> f64 {
        self.signal
    }

    /// Returns the largest absolute error; infinite if any output is NaN.
    pub fn max_abs_err(&self) -> f64 {
        self.largest
    }
}

/// Returns the mean KL(softmax(reference/T) ‖ softmax(got/T)) of rows of `classes` logits, in nats.
///
/// The temperature T is the standard deviation of the reference's logits about their row's mean. So rows of high and of
/// low confidence count equally, at any scale of the logits. Hinton, Vinyals & Dean 2015 soften in the same way, with a
/// fixed T.
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

/// Returns KL(softmax(r) ‖ softmax(g)), computed from logarithms to avoid underflow.
fn divergence(r: &[f32], g: &[f32]) -> f64 {
    let log_sum = |row: &[f32]| {
        let top = row.iter().map(|&v| f64::from(v)).fold(f64::NEG_INFINITY, f64::max);
        top + row.iter().map(|&v| (f64::from(v) - top).exp()).sum::<f64>().ln()
    };
    let (zr, zg) = (log_sum(r), log_sum(g));
    let term = |(&r, &g): (&f32, &f32)| {
        let (ln_p, ln_q) = (f64::from(r) - zr, f64::from(g) - zg);
        let p = ln_p.exp();
        // A probability of zero contributes nothing, even if the other is zero too.
        if p == 0.0 { 0.0 } else { p * (ln_p - ln_q) }
    };
    // Rounding can make the sum of equal rows slightly negative; NaN stays NaN.
    let sum: f64 = r.iter().zip(g).map(term).sum();
    if sum < 0.0 { 0.0 } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softened_divergence_is_independent_of_scale_and_offset() {
        let (r, g) = ([8.0f32, 0.0, -2.0, 1.0, 1.5, -1.0], [7.0f32, 1.0, -2.0, 1.0, 1.0, -1.0]);
        let scaled = |row: &[f32; 6]| row.map(|v| 1000.0 * v);
        let (plain, large) = (softened_kl(&r, &g, 3), softened_kl(&scaled(&r), &scaled(&g), 3));
        assert!(plain > 1e-3 && (plain - large).abs() < 1e-5, "{plain} {large}");
        assert!((softened_kl(&r, &g.map(|v| v + 4.0), 3) - plain).abs() < 1e-5);
        assert!(softened_kl(&r, &r, 3) == 0.0 && softened_kl(&[1.0; 4], &[1.0; 4], 2) == 0.0);
        assert!(softened_kl(&r, &[f32::NAN; 6], 3).is_nan());
        // Without softening, rows of high confidence hardly count.
        assert!(divergence(&r[..3], &g[..3]) < 0.01 && softened_kl(&r[..3], &g[..3], 3) > 0.01);
    }
}
