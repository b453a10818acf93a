//! The fit of labels to a network: top-1 against chance, and with shifted labels.
//!
//! Chance is the larger of two shares: that of a uniform guess, and that of a network whose classes are as frequent, but
//! independent of the labels. The latter shows a network that gives one class only, whose top-1 is not small if few
//! classes occur. Cohen, *A coefficient of agreement for nominal scales* (1960); standard error by Fleiss, Cohen and
//! Everitt (1969).

use std::collections::BTreeMap;

use crate::data::Dataset;
use crate::data::metrics::estimate::wilson;
use crate::data::metrics::{argmax, top_k};

/// The least number of images that say something.
const LEAST_IMAGES: usize = 8;
/// The least effective number of classes among labels with which classes can be compared by chance.
const LEAST_CLASSES: f64 = 1.99;
/// The number of standard errors by which top-1 must exceed chance.
const STANDARD_ERRORS: f64 = 2.0;

/// Labels that do not fit a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfit {
    /// Top-1 of the labels in percent.
    pub top1: f64,
    /// Top-1 of guessing in percent.
    pub chance: f64,
    /// The result of shifting labels, and the option for it, if that fits better.
    pub advice: Option<String>,
}

/// Top-1 of a network with the labels as given, and shifted by one.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelFit {
    classes: usize,
    images: usize,
    /// Images whose label plus −1, 0, 1 has the largest score.
    hits: [usize; 3],
    /// The number of images by label, and by the class with the largest score.
    frequencies: [BTreeMap<usize, usize>; 2],
}

impl LabelFit {
    /// Starts a count for so many classes.
    pub fn new(classes: usize) -> Self {
        Self { classes, images: 0, hits: [0; 3], frequencies: Default::default() }
    }

    /// Adds an image by its scores.
    pub fn add(&mut self, scores: &[f32], label: u32) {
        self.images += 1;
        let shifted = [label.checked_sub(1), Some(label), label.checked_add(1)];
        for (hits, label) in self.hits.iter_mut().zip(shifted) {
            *hits += usize::from(label.is_some_and(|label| top_k(scores, label, 1)));
        }
        for (frequencies, class) in
            self.frequencies.iter_mut().zip([shifted[1].map(|l| l as usize), argmax(scores)])
        {
            *frequencies.entry(class.unwrap_or(usize::MAX)).or_default() += 1;
        }
    }

    /// Returns the number of images whose label has the largest score.
    pub fn hits(&self) -> usize {
        self.hits[1]
    }

    /// Returns the number of images.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Returns top-1 of the labels, from 0 to 1.
    pub fn top1(&self) -> f64 {
        self.shifted(0)
    }

    /// Returns top-1 of labels plus −1, 0 or 1, from 0 to 1.
    fn shifted(&self, shift: i64) -> f64 {
        self.hits[(shift + 1) as usize] as f64 / self.images.max(1) as f64
    }

    /// Returns top-1 that guessing has, from 0 to 1.
    pub fn chance(&self) -> f64 {
        self.independent().map_or(self.uniform(), |(share, _)| share.max(self.uniform()))
    }

    fn uniform(&self) -> f64 {
        1.0 / self.classes.max(1) as f64
    }

    /// Returns top-1 that classes of these frequencies have if they are independent of the labels, and its standard
    /// error; `None` if hardly any labels differ: fewer than two effective classes ([`Self::label_classes`]).
    fn independent(&self) -> Option<(f64, f64)> {
        let [labels, predicted] = &self.frequencies;
        if self.label_classes() < LEAST_CLASSES {
            return None;
        }
        let images = self.images as f64;
        let (mut share, mut both) = (0.0, 0.0);
        for (class, &count) in labels {
            let label = count as f64 / images;
            let class = predicted.get(class).map_or(0.0, |&count| count as f64 / images);
            share += label * class;
            both += label * class * (label + class);
        }
        Some((share, ((share + share * share - both).max(0.0) / images).sqrt()))
    }

    /// Returns the number of classes of the network.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the effective number of classes among the labels: the exponential of their entropy.
    pub fn label_classes(&self) -> f64 {
        let share = |&count: &usize| count as f64 / self.images.max(1) as f64;
        self.frequencies[0].values().map(share).map(|share| -share * share.ln()).sum::<f64>().exp()
    }

    /// Returns Cohen's kappa: the share of the agreement beyond chance, at most 1.
    ///
    /// `None` for fewer than eight images, and for labels of one class.
    pub fn kappa(&self) -> Option<f64> {
        let (chance, _) = self.independent().filter(|_| self.images >= LEAST_IMAGES)?;
        Some((self.top1() - chance) / (1.0 - chance).max(f64::MIN_POSITIVE))
    }

    /// Returns whether top-1 is not above chance by two standard errors; false for fewer than eight images.
    pub fn is_chance(&self) -> bool {
        let independent = || {
            self.independent().is_some_and(|(share, error)| self.top1() <= share + STANDARD_ERRORS * error)
        };
        self.images >= LEAST_IMAGES && (self.interval(0).0 <= self.uniform() || independent())
    }

    fn interval(&self, shift: i64) -> (f64, f64) {
        wilson(self.shifted(shift), self.images, STANDARD_ERRORS)
    }

    /// Returns the shift of labels that fits clearly better, with its top-1 from 0 to 1.
    pub fn better_shift(&self) -> Option<(i64, f64)> {
        let better = |shift: &i64| {
            let low = self.interval(*shift).0;
            low > self.interval(0).1 && low > self.uniform()
        };
        let shift =
            [-1, 1].into_iter().filter(better).max_by(|&a, &b| self.shifted(a).total_cmp(&self.shifted(b)));
        shift.filter(|_| self.images >= LEAST_IMAGES).map(|shift| (shift, self.shifted(shift)))
    }

    /// Describes labels that do not fit; `None` if they fit.
    pub fn misfit(&self, data: &Dataset) -> Option<Misfit> {
        let shift = self.better_shift();
        if !self.is_chance() && shift.is_none() {
            return None;
        }
        let [top1, chance] = [self.top1(), self.chance()].map(|share| 100.0 * share);
        let advice = shift.map(|(shift, share)| {
            let (sign, offset) = (if shift < 0 { "-" } else { "+" }, data.label_offset() + shift);
            format!("labels {sign} 1 would give {:.0} %: set `label_offset` to {offset}", 100.0 * share)
        });
        Some(Misfit { top1, chance, advice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(classes: usize, images: usize, hits: [usize; 3]) -> LabelFit {
        LabelFit { hits, images, ..LabelFit::new(classes) }
    }

    /// Labels and classes of images, each with its number.
    fn of_pairs(classes: usize, pairs: &[(u32, usize, usize)]) -> LabelFit {
        let mut found = LabelFit::new(classes);
        for &(label, class, count) in pairs {
            let mut scores = vec![0.0; classes];
            scores[class] = 1.0;
            (0..count).for_each(|_| found.add(&scores, label));
        }
        found
    }

    #[test]
    fn a_single_class_is_chance_however_often_it_is_right() {
        let constant = of_pairs(10, &[(0, 0, 20), (5, 0, 20)]);
        assert!(constant.is_chance());
        assert_eq!((constant.top1(), constant.chance()), (0.5, 0.5));
        assert!(!of_pairs(2, &[(0, 0, 38), (1, 0, 2)]).is_chance(), "a few other labels decide nothing");
        assert!(!of_pairs(10, &[(3, 3, 9), (3, 4, 1)]).is_chance(), "labels of one class are no reason");
        assert!(of_pairs(10, &[(0, 1, 10), (1, 0, 10), (2, 2, 1)]).is_chance());
        let half = of_pairs(4, &[(0, 0, 6), (1, 1, 6), (2, 3, 6), (3, 2, 6)]);
        assert!((half.kappa().unwrap_or(f64::NAN) - (0.5 - 0.25) / 0.75).abs() < 1e-12);
        assert!((half.label_classes() - 4.0).abs() < 1e-12 && constant.kappa() == Some(0.0));
    }

    #[test]
    fn chance_is_judged_with_its_error() {
        assert!(fit(1000, 256, [0, 0, 0]).is_chance());
        assert!(fit(1000, 256, [0, 1, 0]).is_chance(), "a lucky guess");
        assert!(!fit(1000, 256, [0, 5, 0]).is_chance());
        assert!(fit(2, 64, [0, 32, 0]).is_chance() && !fit(2, 64, [0, 45, 0]).is_chance());
        assert!(!fit(10, 7, [0, 0, 0]).is_chance(), "too few images say nothing");
    }

    #[test]
    fn shifted_labels_are_recognized() {
        let mut found = LabelFit::new(4);
        // The network gives class label + 1.
        for label in (0..3).cycle().take(30) {
            let mut scores = [0.0; 4];
            scores[label as usize + 1] = 1.0;
            found.add(&scores, label);
        }
        assert_eq!(found.better_shift(), Some((1, 1.0)));
        assert!(found.is_chance() && found.hits == [0, 0, 30]);
        // Neighbouring classes are alike, so that labels shifted by one are better than chance.
        assert_eq!(fit(1000, 200, [120, 10, 0]).better_shift(), Some((-1, 0.6)));
        assert_eq!(fit(1000, 200, [110, 100, 0]).better_shift(), None, "not clearly better");
    }
}
