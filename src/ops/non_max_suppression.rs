//! The operator NonMaxSuppression, which selects the best of overlapping boxes.
//!
//! The number of selected boxes is data-dependent, so the node runs on the host (`exec::host_subgraph`), where its inputs
//! are constants. Overlaps are computed in single precision, as in ONNX Runtime, so that a box exactly at the threshold
//! is treated alike.

use super::lower::Lowering;
use super::nonzero::constant_result;
use super::{Build, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::tensor::{Tensor, show};

#[derive(Debug)]
struct NonMaxSuppression {
    /// True if boxes are given by centre and size, false for two opposite corners.
    centers: bool,
}

/// Builds NonMaxSuppression: the best of overlapping boxes, for each class.
pub(super) fn non_max_suppression(build: &Build) -> Result<Box<dyn Operator>> {
    match build.attrs.int_or("center_point_box", 0)? {
        at @ (0 | 1) => Ok(Box::new(NonMaxSuppression { centers: at == 1 })),
        other => Err(Error::new("an unknown form of boxes")
            .expected("center_point_box 0 (corners) or 1 (centre and size)")
            .got(other.to_string())
            .invalid_model()),
    }
}

/// A box by its least and greatest coordinates.
#[derive(Clone, Copy, Debug)]
struct Corners {
    low: [f32; 2],
    high: [f32; 2],
}

impl Corners {
    /// Creates a box from two opposite corners, in any order.
    fn from_corners(b: &[f32]) -> Self {
        Self { low: [b[0].min(b[2]), b[1].min(b[3])], high: [b[0].max(b[2]), b[1].max(b[3])] }
    }

    /// Creates a box from its centre, width and height.
    fn from_center(b: &[f32]) -> Self {
        let (w, h) = (b[2] / 2.0, b[3] / 2.0);
        Self { low: [b[0] - w, b[1] - h], high: [b[0] + w, b[1] + h] }
    }

    fn area(self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Returns whether the intersection over union exceeds `threshold`; false if a box has no area.
    fn overlaps(self, other: Self, threshold: f32) -> bool {
        let side = |a: usize| self.high[a].min(other.high[a]) - self.low[a].max(other.low[a]);
        let (first, second) = (side(0), side(1));
        if !(first > 0.0 && second > 0.0) {
            return false;
        }
        let (common, own, others) = (first * second, self.area(), other.area());
        let union = own + others - common;
        common > 0.0 && own > 0.0 && others > 0.0 && union > 0.0 && common / union > threshold
    }
}

impl NonMaxSuppression {
    /// Returns the indices of the selected boxes of one class, by descending score and ascending index.
    fn best(boxes: &[Corners], scores: &[f32], limits: &BoxLimits) -> Vec<usize> {
        // Boxes with a NaN score are never selected.
        let above = |score: f32| limits.score.map_or(!score.is_nan(), |least| score > least);
        let mut candidates: Vec<usize> = (0..boxes.len()).filter(|&i| above(scores[i])).collect();
        candidates.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        let mut selected: Vec<usize> = Vec::new();
        for candidate in candidates {
            if selected.len() as i64 >= limits.boxes {
                break;
            }
            if !selected.iter().any(|&s| boxes[candidate].overlaps(boxes[s], limits.overlap)) {
                selected.push(candidate);
            }
        }
        selected
    }

    fn select(&self, inputs: &Inputs) -> Result<Tensor> {
        let (boxes, scores) = (tensor(inputs, 0, "the boxes")?, tensor(inputs, 1, "the scores")?);
        let limits = BoxLimits::of(inputs)?;
        let (&[batch, count, 4], &[batches, classes, scored]) = (&boxes.shape[..], &scores.shape[..]) else {
            return Err(misfit(boxes, scores));
        };
        if batch != batches || count != scored {
            return Err(misfit(boxes, scores));
        }
        let (boxes, scores) = (boxes.floats()?, scores.floats()?);
        let mut selected = Vec::new();
        for image in 0..batch {
            let own = boxes[image * count * 4..(image + 1) * count * 4].chunks(4);
            let own: Vec<Corners> =
                own.map(if self.centers { Corners::from_center } else { Corners::from_corners }).collect();
            for class in 0..classes {
                let start = (image * classes + class) * count;
                for index in Self::best(&own, &scores[start..start + count], &limits) {
                    selected.extend([image as i64, class as i64, index as i64]);
                }
            }
        }
        Ok(Tensor::int(&[selected.len() / 3, 3], selected))
    }
}

fn misfit(boxes: &Tensor, scores: &Tensor) -> Error {
    Error::new("boxes and scores of NonMaxSuppression do not fit")
        .expected("batch×boxes×4 and batch×classes×boxes")
        .got(format!("{} and {}", show(&boxes.shape), show(&scores.shape)))
        .with_kind(ErrorKind::InvalidModel)
}

fn tensor<'a>(inputs: &Inputs<'a>, i: usize, what: &str) -> Result<&'a Tensor> {
    inputs.constant(i, what)?.ok_or_else(|| {
        Error::new(format!("{what} of NonMaxSuppression are missing")).with_kind(ErrorKind::InvalidModel)
    })
}

/// The limits of the selection.
#[derive(Debug)]
struct BoxLimits {
    /// The largest number of boxes for a class of an image.
    boxes: i64,
    /// The largest intersection over union.
    overlap: f32,
    /// The threshold that a score must exceed, if there is one.
    score: Option<f32>,
}

impl BoxLimits {
    /// Reads the limits; absent ones default to no box, no overlap and any score, as in the standard.
    fn of(inputs: &Inputs) -> Result<Self> {
        let boxes = match inputs.ints(2, "max_output_boxes_per_class")?.as_deref() {
            None => 0,
            Some(&[boxes]) => boxes,
            Some(other) => {
                return Err(Error::new("max_output_boxes_per_class must be one number")
                    .got(format!("{} numbers", other.len()))
                    .with_kind(ErrorKind::InvalidModel));
            }
        };
        let overlap = inputs.float(3, "iou_threshold")?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&overlap) {
            return Err(Error::new("an impossible iou_threshold")
                .expected("0 to 1")
                .got(overlap.to_string())
                .with_kind(ErrorKind::InvalidModel));
        }
        let score = inputs.float(4, "score_threshold")?;
        Ok(Self { boxes, overlap: overlap as f32, score: score.map(|s| s as f32) })
    }
}

impl Operator for NonMaxSuppression {
    fn shape_inputs(&self) -> &'static [usize] {
        &[0, 1, 2, 3, 4]
    }

    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        Ok(vec![constant_result(inputs, self.select(inputs)?)])
    }

    fn lower(&self, _: &mut Lowering) -> Result<()> {
        // The fact contains the value, so no kernel computes it.
        Ok(())
    }

    fn propagate(&self, _: &mut Propagation) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(centers: bool, boxes: &[f32], scores: &[f32], limits: (i64, f32, Option<f32>)) -> Vec<i64> {
        let n = boxes.len() / 4;
        let facts = [
            Some(Fact::constant(Tensor::float(&[1, n, 4], boxes.to_vec()))),
            Some(Fact::constant(Tensor::float(&[1, scores.len() / n, n], scores.to_vec()))),
            Some(Fact::constant(Tensor::int(&[], vec![limits.0]))),
            Some(Fact::constant(Tensor::float(&[1], vec![limits.1]))),
            limits.2.map(|s| Fact::constant(Tensor::float(&[1], vec![s]))),
        ];
        let inputs = Inputs { facts: facts.iter().map(Option::as_ref).collect() };
        let out = NonMaxSuppression { centers }.select(&inputs).unwrap();
        assert_eq!(out.shape, [out.len() / 3, 3]);
        out.ints().unwrap().chunks(3).map(|c| c[2]).collect()
    }

    #[test]
    fn the_best_and_the_first_of_equal_boxes_is_selected() {
        let boxes = [0.0, 0.0, 2.0, 2.0, 2.0, 2.0, 0.0, 0.0, 5.0, 5.0, 6.0, 6.0, 0.0, 0.0, 2.0, 1.0];
        assert_eq!(
            run(false, &boxes, &[0.5, 0.5, 0.1, 0.4], (9, 0.5, None)),
            [0, 3, 2],
            "an IoU of 0.5 is not above it"
        );
        assert_eq!(
            run(false, &boxes, &[0.5, 0.9, 0.1, 0.4], (9, 0.4, Some(0.1))),
            [1],
            "0.1 is not above 0.1"
        );
        assert_eq!(run(false, &boxes, &[0.5, 0.9, 0.1, 0.4], (1, 1.0, None)), [1]);
        assert_eq!(run(false, &boxes, &[0.5, 0.9, 0.1, 0.4], (0, 1.0, None)), [0i64; 0]);
        assert_eq!(run(false, &boxes, &[f32::NAN, 0.9, 0.1, 0.4], (9, 1.0, None)), [1, 3, 2]);
    }

    #[test]
    fn boxes_are_given_by_centre_and_size() {
        let boxes = [1.0, 1.0, 2.0, 2.0, 1.0, 1.2, 2.0, 2.0, 4.0, 1.0, 2.0, 2.0];
        assert_eq!(run(true, &boxes, &[0.5, 0.6, 0.7], (9, 0.5, None)), [2, 1]);
    }
}
