//! Tests of the metric for boxes: forms of outputs, and the values that tell them apart.

use std::sync::Arc;

use super::boxes::{Boxes, MIN_SCORE};
use super::{JudgedImage, Measured, Metric, NamedTensor};
use crate::data::{ImagePlace, InputSpec, SampleSpec};
use crate::error::Result;
use crate::pipeline::{DataOptions, Dataset};
use crate::tensor::{DType, Data, Tensor};

fn tensor(name: &str, shape: &[usize], values: &[f32]) -> NamedTensor {
    let data = Data::Float(Arc::new(values.to_vec()));
    (name.to_owned(), Tensor { dtype: DType::F32, shape: shape.to_vec(), data })
}

fn integers(name: &str, shape: &[usize], values: &[i64]) -> NamedTensor {
    let data = Data::Int(Arc::new(values.to_vec()));
    (name.to_owned(), Tensor { dtype: DType::I64, shape: shape.to_vec(), data })
}

type Outputs = Vec<NamedTensor>;

fn measured(images: &[(Outputs, Outputs)], columns: Option<&str>) -> Result<Measured> {
    let columns = columns.map(|text| text.parse().unwrap());
    let metric = Boxes { columns, min_score: MIN_SCORE, is_asked: true };
    let input = InputSpec { axes: vec![Some(1); 3], ..InputSpec::default() };
    let data =
        Dataset::open("random:1", &DataOptions::default(), SampleSpec { inputs: vec![input] }).unwrap();
    let mut meter = metric.meter().unwrap();
    for (reference, outputs) in images {
        let place = ImagePlace::default();
        let recipe = data.preprocessing();
        meter.add(&JudgedImage {
            place: &place,
            label: None,
            recipe,
            outputs,
            reference: Some(reference),
        })?;
    }
    meter.finish()
}

fn f1(reference: Outputs, got: Outputs, columns: Option<&str>) -> f64 {
    measured(&[(reference, got)], columns).unwrap().value
}

/// Two boxes of edges, score and class, and one of low score.
const ROWS: [[f32; 6]; 3] =
    [[10.0, 10.0, 30.0, 40.5, 0.9, 2.0], [50.5, 10.0, 70.0, 40.0, 0.8, 1.0], [0.5, 1.5, 5.0, 7.0, 0.1, 1.0]];

/// The boxes in another order of columns.
fn rows(order: &[usize]) -> Vec<f32> {
    ROWS.iter().flat_map(|row| order.iter().map(|&column| row[column])).collect()
}

/// The boxes as centers, sizes, objectness and scores of three classes.
fn dense(by_class: bool) -> Vec<f32> {
    let row = |&[left, top, right, bottom, score, class]: &[f32; 6]| {
        let mut row = vec![(left + right) / 2.0, (top + bottom) / 2.0, right - left, bottom - top];
        row.extend((!by_class).then_some(0.95));
        row.extend((0..3).map(|c| if c == class as usize { score } else { 0.05 }));
        row
    };
    ROWS.iter().flat_map(row).collect()
}

#[test]
fn forms_of_rows_are_told_apart_by_their_values() {
    for order in [&[0, 1, 2, 3, 4, 5][..], &[5, 4, 0, 1, 2, 3], &[0, 1, 2, 3, 5, 4]] {
        let all = || vec![tensor("out", &[1, 3, 6], &rows(order))];
        assert_eq!(f1(all(), all(), None), 100.0, "{order:?}");
        let first = vec![tensor("out", &[1, 1, 6], &rows(order)[..6])];
        assert!((f1(all(), first, None) - 200.0 / 3.0).abs() < 1e-9, "{order:?}");
        let other: Vec<f32> = rows(order).iter().map(|&v| if v == 2.0 { 0.0 } else { v }).collect();
        assert_eq!(f1(all(), vec![tensor("out", &[1, 3, 6], &other)], None), 50.0, "another class");
    }
    // Rows with the number of their image, as outputs that depend on the data have them.
    let with_image: Vec<f32> =
        rows(&[0, 1, 2, 3, 5, 4]).chunks(6).flat_map(|row| [&[0.0][..], row].concat()).collect();
    let all = || vec![tensor("out", &[3, 7], &with_image)];
    assert_eq!(f1(all(), all(), None), 100.0);
    assert_eq!(f1(all(), vec![tensor("out", &[0, 7], &[])], None), 0.0);
}

#[test]
fn boxes_before_suppression_have_scores_of_all_classes() {
    // 3 boxes of 8 numbers; another scale of all numbers keeps them.
    let all = || vec![tensor("out", &[1, 3, 8], &dense(false))];
    let columns = Some("cxcywh,objectness,scores");
    assert_eq!(f1(all(), all(), columns), 100.0);
    let repeated = [dense(false), dense(false), dense(false)].concat();
    let many = vec![tensor("out", &[1, 9, 8], &repeated)];
    assert_eq!(f1(many.clone(), all(), None), 100.0, "boxes in one place are one detection");
    // Boxes along the last axis have no objectness.
    let by_class = [dense(true), dense(true), dense(true)].concat();
    let transposed: Vec<f32> = (0..7).flat_map(|c| by_class.iter().skip(c).step_by(7).copied()).collect();
    let turned = vec![tensor("out", &[1, 7, 9], &transposed)];
    assert_eq!(f1(turned.clone(), turned, None), 100.0);
    let moved: Vec<f32> =
        dense(false).chunks(8).flat_map(|r| [&[r[0] + 40.0][..], &r[1..]].concat()).collect();
    assert_eq!(f1(many, vec![tensor("out", &[1, 3, 8], &moved)], None), 0.0);
}

#[test]
fn separate_outputs_are_found_by_names_and_shapes() {
    let edges = rows(&[0, 1, 2, 3]);
    let detector = |classes: &[i64]| {
        vec![
            integers("num_dets", &[1, 1], &[3]),
            tensor("boxes", &[3, 4], &edges),
            integers("labels", &[3], classes),
            tensor("scores", &[3], &rows(&[4])),
        ]
    };
    assert_eq!(f1(detector(&[2, 1, 1]), detector(&[2, 1, 0]), None), 100.0, "the third is not sure");
    assert_eq!(f1(detector(&[2, 1, 1]), detector(&[2, 0, 1]), None), 50.0);
    // 102 anchors whose softmax says background for all but two.
    let mut scores = [0.98f32, 0.01, 0.01].repeat(102);
    scores[3 * 7..3 * 8].copy_from_slice(&[0.1, 0.9, 0.0]);
    scores[3 * 90..3 * 91].copy_from_slice(&[0.2, 0.0, 0.8]);
    let anchors: Vec<f32> = (0..102u8).flat_map(|i| [f32::from(i), 0.0, f32::from(i) + 5.0, 9.0]).collect();
    let ssd = |scores: &[f32]| vec![tensor("a", &[1, 102, 3], scores), tensor("b", &[1, 102, 4], &anchors)];
    assert_eq!(f1(ssd(&scores), ssd(&scores), None), 100.0);
    let mut fewer = scores.clone();
    fewer[3 * 90..3 * 91].copy_from_slice(&[0.9, 0.0, 0.1]);
    assert!((f1(ssd(&scores), ssd(&fewer), None) - 200.0 / 3.0).abs() < 1e-9, "2 boxes and 1");
    // Scores class by class.
    let turned: Vec<f32> = (0..3).flat_map(|c| scores.iter().skip(c).step_by(3).copied()).collect();
    let turned = vec![tensor("scores", &[1, 3, 102], &turned), tensor("boxes", &[1, 102, 1, 4], &anchors)];
    assert_eq!(f1(turned.clone(), turned, None), 100.0);
}

#[test]
fn outputs_that_hold_no_boxes_are_refused() {
    let refused = |outputs: Outputs, columns: Option<&str>, words: &str| {
        let error = measured(&[(outputs.clone(), outputs)], columns).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    };
    refused(vec![tensor("y", &[1, 10], &[0.0; 10])], None, "no output holds boxes");
    refused(
        vec![tensor("y", &[1, 3, 6], &rows(&[0, 1, 2, 3, 4, 5]))],
        Some("xyxy,score"),
        "no output holds boxes",
    );
    // Offsets to anchors are below 0 as often as above.
    let offsets: Vec<f32> = (0..64).map(|i| ((i * 7 % 11) as f32 - 5.0) / 5.0).collect();
    let raw = vec![tensor("boxes", &[1, 16, 4], &offsets), tensor("scores", &[1, 16, 1], &[0.9; 16])];
    refused(raw, None, "columns of the boxes are not known");
    let logits: Vec<f32> = rows(&[0, 1, 2, 3, 4, 5]).iter().map(|v| v + 2.5).collect();
    refused(vec![tensor("y", &[1, 3, 6], &logits)], None, "columns of the boxes are not known");
    let sure = vec![tensor("y", &[1, 1, 6], &rows(&[0, 1, 2, 3, 4, 5])[12..])];
    refused(sure, None, "no box with a score of 0.25");
}

#[test]
fn images_have_a_standard_error() {
    let all = || vec![tensor("out", &[1, 3, 6], &rows(&[0, 1, 2, 3, 4, 5]))];
    let none = || vec![tensor("out", &[1, 0, 6], &[])];
    let found = measured(&[(all(), all()), (all(), none()), (all(), all())], None).unwrap();
    assert!((found.value - 80.0).abs() < 1e-9 && found.error().unwrap() > 5.0, "{found:?}");
}
