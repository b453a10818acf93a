//! Agreement of detections: boxes of the same class that overlap.

use super::estimate::{Measured, pseudo_values};

/// The overlap from which two boxes are one, in detection and in comparison (Everingham et al. 2015).
const SAME: f64 = 0.5;

/// The largest number of boxes of an image that are looked at, those with the highest scores.
const MOST_BOXES: usize = 1000;

/// A detected box with its class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Left, top, right and bottom edge, in any unit.
    pub edges: [f64; 4],
    /// Index of the detected class.
    pub class: usize,
    /// Confidence, larger for surer boxes.
    pub score: f64,
}

impl Detection {
    fn area(&self) -> f64 {
        let [left, top, right, bottom] = self.edges;
        (right - left).max(0.0) * (bottom - top).max(0.0)
    }

    /// Returns the intersection over union with another box; 0 for empty boxes and NaN.
    pub fn iou(&self, other: &Self) -> f64 {
        let ([l1, t1, r1, b1], [l2, t2, r2, b2]) = (self.edges, other.edges);
        let both = (r1.min(r2) - l1.max(l2)).max(0.0) * (b1.min(b2) - t1.max(t2)).max(0.0);
        let iou = both / (self.area() + other.area() - both);
        if iou.is_finite() { iou } else { 0.0 }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.class == other.class && self.iou(other) >= SAME
    }
}

/// Keeps the box with the highest score of all that overlap in one class, those with the highest scores first.
pub fn non_max_suppression(mut boxes: Vec<Detection>) -> Vec<Detection> {
    boxes.retain(|found| !found.score.is_nan());
    boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
    boxes.truncate(MOST_BOXES);
    let mut kept: Vec<Detection> = Vec::new();
    for found in boxes {
        if !kept.iter().any(|known| known.is_same(&found)) {
            kept.push(found);
        }
    }
    kept
}

/// Matches of two networks' boxes, image by image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    /// For every image: the matched boxes, and the boxes of both networks.
    images: Vec<(usize, usize)>,
    reference: usize,
}

impl Matches {
    /// Adds an image by the boxes of both networks.
    ///
    /// Overlapping boxes of a class count once. A box matches one box of the other network: the free one that overlaps
    /// most, of the same class and by half or more, with the highest scores first.
    pub fn add(&mut self, reference: Vec<Detection>, got: Vec<Detection>) {
        let (mut free, got) = (non_max_suppression(reference), non_max_suppression(got));
        let both = free.len() + got.len();
        self.reference += free.len();
        let mut matched = 0;
        for found in &got {
            let overlap = |place: &usize| free[*place].iou(found);
            let best = (0..free.len()).filter(|&place| free[place].is_same(found));
            if let Some(best) = best.max_by(|a, b| overlap(a).total_cmp(&overlap(b))) {
                free.swap_remove(best);
                matched += 1;
            }
        }
        self.images.push((matched, both));
    }

    /// Returns the number of the reference's boxes.
    pub fn reference_boxes(&self) -> usize {
        self.reference
    }

    /// Returns the F1 score of the boxes in percent: twice the matches over the boxes of both networks.
    ///
    /// Boxes are summed over all images first. NaN if no image has a box.
    pub fn f1(&self) -> Measured {
        let sum = self.images.iter().fold((0, 0), |(m, b), (matched, both)| (m + matched, b + both));
        let f1 = |(matched, both): (usize, usize)| 200.0 * matched as f64 / both as f64;
        let value = f1(sum);
        let without = |image: usize| {
            let (matched, both) = self.images[image];
            // An image that has all boxes to itself leaves nothing to compare.
            if sum.1 == both { value } else { f1((sum.0 - matched, sum.1 - both)) }
        };
        Measured { value, images: pseudo_values(value, self.images.len(), without), whole: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(edges: [f64; 4], class: usize, score: f64) -> Detection {
        Detection { edges, class, score }
    }

    #[test]
    fn overlaps_are_intersections_over_unions() {
        let one = found([0.0, 0.0, 2.0, 2.0], 0, 1.0);
        assert_eq!(one.iou(&one), 1.0);
        assert_eq!(one.iou(&found([1.0, 0.0, 3.0, 2.0], 0, 1.0)), 2.0 / 6.0);
        assert_eq!(one.iou(&found([2.0, 0.0, 3.0, 2.0], 0, 1.0)), 0.0);
        assert_eq!(one.iou(&found([f64::NAN, 0.0, 3.0, 2.0], 0, 1.0)), 0.0);
        let point = found([1.0; 4], 0, 1.0);
        assert_eq!(point.iou(&point), 0.0);
    }

    #[test]
    fn the_surest_of_overlapping_boxes_stays() {
        let kept = non_max_suppression(vec![
            found([0.0, 0.0, 10.0, 9.0], 1, 0.6),
            found([0.0, 0.0, 10.0, 10.0], 1, 0.9),
            found([0.0, 0.0, 10.0, 10.0], 2, 0.5),
            found([20.0, 0.0, 30.0, 10.0], 1, 0.4),
            found([20.0, 0.0, 30.0, 10.0], 1, f64::NAN),
        ]);
        assert_eq!(kept.iter().map(|d| d.score).collect::<Vec<_>>(), [0.9, 0.5, 0.4]);
    }

    #[test]
    fn matches_need_class_and_overlap() {
        let reference =
            || vec![found([0.0, 0.0, 10.0, 10.0], 1, 0.9), found([20.0, 0.0, 30.0, 10.0], 1, 0.8)];
        let mut matches = Matches::default();
        matches.add(reference(), reference());
        assert_eq!((matches.f1().value, matches.reference_boxes()), (100.0, 2));
        // One box is moved a little, the other has another class, and a third is new.
        matches.add(
            reference(),
            vec![
                found([0.0, 1.0, 10.0, 11.0], 1, 0.9),
                found([20.0, 0.0, 30.0, 10.0], 0, 0.8),
                found([50.0, 0.0, 60.0, 10.0], 1, 0.3),
            ],
        );
        // 3 matches of 4 + 5 boxes.
        let f1 = matches.f1();
        assert!((f1.value - 600.0 / 9.0).abs() < 1e-12);
        // Without the first image 2/5, without the second 1: pseudo-values 2·F − 40 and 2·F − 100.
        let expected = [1200.0 / 9.0 - 40.0, 1200.0 / 9.0 - 100.0];
        assert!(f1.images.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{f1:?}");
        assert!(Matches::default().f1().value.is_nan());
    }

    #[test]
    fn a_box_is_matched_once_and_by_the_nearest() {
        let mut matches = Matches::default();
        let (near, far) = (found([0.0, 0.0, 10.0, 10.0], 0, 0.9), found([0.0, 4.0, 10.0, 14.0], 0, 0.8));
        matches.add(vec![far, near], vec![far, near]);
        assert_eq!(matches.f1().value, 100.0);
        let mut matches = Matches::default();
        matches.add(vec![near], vec![near, found([0.0, 4.0, 10.0, 14.0], 1, 0.8)]);
        assert!((matches.f1().value - 200.0 / 3.0).abs() < 1e-12);
    }
}
