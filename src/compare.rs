//! Comparison of numbers under named tolerances, for tests, device checks, proofs and benchmarks.
//!
//! A pair passes if `|got − expected| ≤ absolute + relative·scale`, where `scale` is the largest finite magnitude among
//! the expected values. A wrong length fails, a NaN on either side fails, and an infinity passes only against itself.

use std::fmt;

/// The largest accepted difference of two numbers, under a name that states the reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The name, which every verdict shows.
    pub name: &'static str,
    /// The absolute part of the bound.
    pub absolute: f64,
    /// The part relative to the largest magnitude among the expected values.
    ///
    /// An element that cancels to nearly zero carries the rounding of its summands.
    pub relative: f64,
}

impl Tolerance {
    /// Equality to the last bit.
    pub const EXACT: Self = Self { name: "exact", absolute: 0.0, relative: 0.0 };
    /// One rounding or a few: elementwise kernels and copies through `f32`.
    pub const ELEMENTWISE: Self = Self { name: "elementwise", absolute: 1e-6, relative: 2e-6 };
    /// Sums of up to several thousand `f32` products in any order.
    pub const SUMS: Self = Self { name: "sums", absolute: 1e-6, relative: 2e-5 };
    /// Winograd's F(4×4, 3×3), whose transforms add cancelling numbers of up to 100 times an output's size.
    pub const WINOGRAD: Self = Self { name: "winograd", absolute: 1e-6, relative: 1e-4 };
    /// Values stored as f16: eleven binary digits of every summand, also of weights.
    pub const F16_STORAGE: Self = Self { name: "halves", absolute: 1e-6, relative: 4e-3 };
    /// Derivatives in `f64` against central differences, with their rounding and their third-order error.
    pub const DIFFERENCES: Self = Self { name: "differences", absolute: 1e-7, relative: 1e-6 };
    /// A whole network in `f32`, with the accumulated rounding of its layers; used by the proof.
    pub const NETWORK: Self = Self { name: "network", absolute: 1e-6, relative: 1e-4 };
}

impl Tolerance {
    /// Returns the tolerance for inputs, weights and results that are stored as f16.
    #[must_use]
    pub fn for_f16_storage(self) -> Self {
        if self.relative < Self::F16_STORAGE.relative { Self::F16_STORAGE } else { self }
    }
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The tolerance of the comparison.
    pub tolerance: Tolerance,
    /// The number of elements compared.
    pub len: usize,
    /// The number of elements outside the tolerance.
    pub outliers: usize,
    /// The worst pair: index, got, expected. `None` if there are no elements.
    pub worst: Option<(usize, f64, f64)>,
    /// The largest absolute error; infinite if a NaN is involved.
    pub max_abs_err: f64,
    /// The largest absolute error divided by the largest expected magnitude.
    pub max_rel_err: f64,
    /// The lengths (got, expected), if they differ.
    pub lengths: Option<(usize, usize)>,
}

impl Verdict {
    /// Returns whether the lengths are equal and every pair is within the tolerance.
    pub fn passed(&self) -> bool {
        self.lengths.is_none() && self.outliers == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((got, expected)) = self.lengths {
            return write!(f, "{got} elements where {expected} were expected");
        }
        let Some((index, got, expected)) = self.worst else {
            return write!(f, "nothing to compare");
        };
        write!(
            f,
            "{} of {} elements differ by more than \"{}\" allows; worst at {index}: got {got:e}, expected {expected:e}, error {:e}",
            self.outliers, self.len, self.tolerance.name, self.max_abs_err
        )
    }
}

/// Compares `got` with `expected` under `tolerance`.
pub fn compare<A, B>(got: &[A], expected: &[B], tolerance: Tolerance) -> Verdict
where
    A: Copy + Into<f64>,
    B: Copy + Into<f64>,
{
    let mut verdict = Verdict {
        tolerance,
        len: got.len(),
        outliers: 0,
        worst: None,
        max_abs_err: 0.0,
        max_rel_err: 0.0,
        lengths: None,
    };
    if got.len() != expected.len() {
        verdict.lengths = Some((got.len(), expected.len()));
        verdict.max_abs_err = f64::INFINITY;
        verdict.max_rel_err = f64::INFINITY;
        return verdict;
    }
    let scale =
        expected.iter().map(|&e| Into::<f64>::into(e).abs()).filter(|e| e.is_finite()).fold(0.0, f64::max);
    let tol = tolerance.absolute + tolerance.relative * scale;
    for (index, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let (g, e): (f64, f64) = (g.into(), e.into());
        let error = if g == e {
            0.0
        } else {
            let d = (g - e).abs();
            if d.is_nan() { f64::INFINITY } else { d }
        };
        if !(error <= tol) {
            verdict.outliers += 1;
        }
        if verdict.worst.is_none() || error > verdict.max_abs_err {
            verdict.max_abs_err = verdict.max_abs_err.max(error);
            verdict.worst = Some((index, g, e));
        }
    }
    verdict.max_rel_err =
        if verdict.max_abs_err == 0.0 { 0.0 } else { verdict.max_abs_err / scale.max(f64::MIN_POSITIVE) };
    verdict
}
