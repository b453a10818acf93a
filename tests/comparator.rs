//! The comparison must reject what exceeds its tolerance: lengths, NaN, infinities and single elements.

#![allow(clippy::unwrap_used)] // a panic is a failed test

use secateur::compare::{Tolerance, compare};

const T: Tolerance = Tolerance { name: "test", absolute: 1e-6, relative: 1e-5 };

fn expected() -> Vec<f32> {
    (0..100).map(|i| i as f32 * 0.1 - 4.0).collect()
}

#[test]
fn equal_and_nearly_equal_pass() {
    assert!(compare(&expected(), &expected(), Tolerance::EXACT).passed());
    let near: Vec<f32> = expected().iter().map(|v| v + 1e-6).collect();
    assert!(compare(&near, &expected(), T).passed());
    assert!(compare(&[f32::INFINITY], &[f32::INFINITY], T).passed());
}

#[test]
fn nan_fails_on_either_side_and_on_both() {
    let mut broken = expected();
    broken[7] = f32::NAN;
    for (got, wanted) in [(&broken, &expected()), (&expected(), &broken), (&broken, &broken)] {
        let verdict = compare(got, wanted, T);
        assert!(!verdict.passed());
        assert_eq!(verdict.outliers, 1);
        assert_eq!(verdict.max_abs_err, f64::INFINITY);
    }
}

#[test]
fn a_wrong_length_fails() {
    assert!(!compare(&expected()[..99], &expected(), T).passed());
    assert!(!compare(&[] as &[f32], &expected(), T).passed());
}

#[test]
fn one_perturbed_element_fails_and_is_named() {
    let mut wrong = expected();
    wrong[42] += 0.01;
    let verdict = compare(&wrong, &expected(), T);
    assert!(!verdict.passed());
    assert_eq!(verdict.worst.map(|w| w.0), Some(42));
    assert_eq!(verdict.outliers, 1);
}

#[test]
fn swapped_elements_fail() {
    let mut wrong = expected();
    wrong.swap(3, 4);
    assert_eq!(compare(&wrong, &expected(), T).outliers, 2);
}

#[test]
fn infinity_against_a_number_fails() {
    assert!(!compare(&[f32::INFINITY, 1.0], &[1.0f32, 1.0], T).passed());
    assert!(!compare(&[1.0f32, 1.0], &[f32::INFINITY, 1.0], T).passed());
    assert!(!compare(&[f32::NEG_INFINITY], &[f32::INFINITY], T).passed());
}
