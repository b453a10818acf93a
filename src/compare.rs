//! THE comparator of numbers: tests, `check`, the proof and the referee of `bench` all judge with it.
//!
//! A pair passes when `|got − expected| ≤ absolute + relative·|expected|`, spelled so that NaN fails.
//! A wrong length fails; a NaN in either fails; an infinity passes only against itself.

use std::fmt;

/// How far two numbers may be apart, under a name that carries the reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// What the tolerance is for; shown in every verdict.
    pub name: &'static str,
    /// Absolute part.
    pub absolute: f64,
    /// Part relative to the largest magnitude among the expected values (an element that
    /// cancels to nearly zero carries the rounding of its summands).
    pub relative: f64,
}

impl Tolerance {
    /// Equal to the last bit.
    pub const EXACT: Self = Self { name: "exact", absolute: 0.0, relative: 0.0 };
    /// One rounding or a few: elementwise kernels and moves through `f32`.
    pub const ELEMENTWISE: Self = Self { name: "elementwise", absolute: 1e-6, relative: 2e-6 };
    /// Sums of up to some thousand `f32` products in any order.
    pub const SUMS: Self = Self { name: "sums", absolute: 1e-6, relative: 2e-5 };
    /// Sums by Winograd's F(4×4, 3×3): its transforms add numbers of up to a hundred times an output's size that cancel.
    pub const WINOGRAD: Self = Self { name: "winograd", absolute: 1e-6, relative: 1e-4 };
    /// What passed through halves: eleven digits of every summand, also of weights.
    pub const HALVES: Self = Self { name: "halves", absolute: 1e-6, relative: 4e-3 };
    /// A whole network in `f32`, its layers' rounding added up: the proof's tolerance.
    pub const NETWORK: Self = Self { name: "network", absolute: 1e-6, relative: 1e-4 };
}

impl Tolerance {
    /// The same where inputs, weights and results are kept as halves.
    #[must_use]
    pub fn in_halves(self) -> Self {
        if self.relative < Self::HALVES.relative { Self::HALVES } else { self }
    }
}

/// What the comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The tolerance that judged.
    pub tolerance: Tolerance,
    /// How many elements were compared.
    pub len: usize,
    /// How many were too far apart.
    pub outliers: usize,
    /// The worst pair: index, got, expected. `None` when there was nothing to compare.
    pub worst: Option<(usize, f64, f64)>,
    /// The largest absolute error; infinite when a NaN is involved.
    pub max_abs_err: f64,
    /// The largest absolute error over the largest expected magnitude.
    pub max_rel_err: f64,
    /// A length that does not fit: (got, expected).
    pub lengths: Option<(usize, usize)>,
}

impl Verdict {
    /// Whether every pair was near enough, and the lengths were right.
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
