//! Quality of segmentation maps: mean intersection over union.

use super::estimate::{Measured, pseudo_values};

/// The label of pixels that count for no class, as in PASCAL VOC and Cityscapes.
pub const IGNORED: u32 = 255;

/// Intersections and unions of predicted and labelled classes, image by image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlaps {
    /// For every image: the classes that occur in it, with the pixels of their intersection and union.
    images: Vec<Vec<(u32, u64, u64)>>,
}

impl Overlaps {
    /// Adds an image by the class of each of its pixels, predicted and labelled.
    ///
    /// Pixels labelled [`IGNORED`] do not count. A prediction of `None` (a NaN) misses.
    ///
    /// # Panics
    /// Panics if the lengths differ.
    pub fn add(&mut self, predicted: &[Option<u32>], labels: &[u32]) {
        assert_eq!(predicted.len(), labels.len(), "a prediction a pixel");
        let mut classes: std::collections::BTreeMap<u32, (u64, u64)> = std::collections::BTreeMap::new();
        for (&predicted, &label) in predicted.iter().zip(labels).filter(|(_, label)| **label != IGNORED) {
            let labelled = classes.entry(label).or_default();
            labelled.1 += 1;
            if predicted == Some(label) {
                labelled.0 += 1;
            } else if let Some(class) = predicted {
                classes.entry(class).or_default().1 += 1;
            }
        }
        self.images.push(classes.into_iter().map(|(class, (both, either))| (class, both, either)).collect());
    }

    /// Returns the mean over classes of intersection/union, in percent.
    ///
    /// Pixels are summed over all images first (Everingham et al. 2015). Classes that occur neither in predictions nor
    /// in labels do not count.
    pub fn mean_iou(&self) -> Measured {
        let mut totals: std::collections::BTreeMap<u32, (u64, u64)> = std::collections::BTreeMap::new();
        for &(class, both, either) in self.images.iter().flatten() {
            let total = totals.entry(class).or_default();
            *total = (total.0 + both, total.1 + either);
        }
        let iou = |(both, either): (u64, u64)| both as f64 / either as f64;
        let sum: f64 = totals.values().map(|&total| iou(total)).sum();
        let value = 100.0 * sum / totals.len() as f64;
        let without = |image: usize| {
            let (mut sum, mut classes) = (sum, totals.len());
            for &(class, both, either) in &self.images[image] {
                let total = totals[&class];
                sum -= iou(total);
                let left = (total.0 - both, total.1 - either);
                if left.1 == 0 { classes -= 1 } else { sum += iou(left) }
            }
            // An image that has all classes to itself leaves nothing to compare.
            if classes == 0 { value } else { 100.0 * sum / classes as f64 }
        };
        let images = pseudo_values(value, self.images.len(), without);
        Measured { value, images, whole: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predicted(classes: &[u32]) -> Vec<Option<u32>> {
        classes.iter().copied().map(Some).collect()
    }

    #[test]
    fn the_mean_over_classes_is_of_summed_pixels() {
        let mut overlaps = Overlaps::default();
        // Class 0: 2 of 3, class 1: 1 of 2; the pixel labelled 255 does not count.
        overlaps.add(&predicted(&[0, 0, 0, 1, 1]), &[0, 0, 1, 1, 255]);
        assert!((overlaps.mean_iou().value - 100.0 * (2.0 / 3.0 + 1.0 / 2.0) / 2.0).abs() < 1e-9);
        // Class 0: 2 of 4, class 1: 2 of 3, class 2: 0 of 1.
        overlaps.add(&predicted(&[1, 2]), &[1, 0]);
        let found = overlaps.mean_iou();
        assert!((found.value - 100.0 * (2.0 / 4.0 + 2.0 / 3.0) / 3.0).abs() < 1e-9, "{found:?}");
        // Leaving out the second image leaves 2/3 and 1/2; leaving out the first 0/1, 1/1 and 0/1.
        let expected = [2.0 * found.value - 100.0 / 3.0, 2.0 * found.value - 100.0 * (7.0 / 12.0)];
        assert!(
            found.images.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9),
            "{found:?} {expected:?}"
        );
    }

    #[test]
    fn a_prediction_of_nan_misses() {
        let mut overlaps = Overlaps::default();
        overlaps.add(&[Some(1), None], &[1, 1]);
        assert_eq!(overlaps.mean_iou().value, 50.0);
    }
}
