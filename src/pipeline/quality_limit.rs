//! Limits of quality for a search: the largest loss, or the worst value of a metric.

use crate::error::{Error, Result};

/// The limit that a searched network keeps, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QualityLimit {
    /// The largest loss that is allowed.
    Drop(f64),
    /// The worst value that is allowed.
    Quality(f64),
}

impl QualityLimit {
    /// Checks the range of the limit.
    ///
    /// # Errors
    /// A loss outside of [0, 100), a value that is not finite.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Drop(value) if (0.0..100.0).contains(&value) => Ok(()),
            Self::Quality(value) if value.is_finite() => Ok(()),
            Self::Drop(value) => Err(Error::new("`max_drop` does not fit")
                .expected("a loss in the metric's unit, from 0 to below 100")
                .got(value.to_string())
                .remedy("for example 1.5")),
            Self::Quality(value) => Err(Error::new("`min_quality` does not fit")
                .expected("a value of the metric")
                .got(value.to_string())
                .remedy("for example 30")),
        }
    }

    /// Returns the name of the option.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Drop(_) => "max_drop",
            Self::Quality(_) => "min_quality",
        }
    }

    /// Returns whether a network with this loss and value is within the limit.
    pub(super) fn allows(self, (drop, value): (f64, f64), higher_is_better: bool) -> bool {
        match self {
            Self::Drop(most) => drop <= most,
            Self::Quality(least) if higher_is_better => value >= least,
            Self::Quality(most) => value <= most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_quality_looks_at_the_value() {
        let of = (f64::INFINITY, 30.0);
        assert!(
            QualityLimit::Quality(30.0).allows(of, true) && !QualityLimit::Quality(31.0).allows(of, true)
        );
        assert!(
            QualityLimit::Quality(31.0).allows(of, false) && !QualityLimit::Quality(29.0).allows(of, false)
        );
        assert!(!QualityLimit::Drop(50.0).allows(of, true));
    }
}
