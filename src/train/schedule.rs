//! Schedules of the learning rate.

use std::f64::consts::PI;

/// A schedule of the learning rate over all steps of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// A linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017).
    #[default]
    Cosine,
    /// A linear rise over 30 % of the steps, then half a cosine down to 0 (Smith & Topin 2018).
    OneCycle,
    /// The highest rate at every step.
    Constant,
}

/// The name of the option's value.
impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::OneCycle => "one-cycle",
            Self::Constant => "constant",
        })
    }
}

impl Schedule {
    /// Returns the factor of the learning rate at `step` (from 0) of `steps`, between 0 and 1.
    pub fn factor(self, step: usize, steps: usize) -> f64 {
        let (at, all) = (step as f64, steps.max(1) as f64);
        let warm = match self {
            Self::Constant => return 1.0,
            Self::Cosine => (0.02 * all).clamp(1.0, 500.0),
            Self::OneCycle => (0.3 * all).max(1.0),
        };
        if at < warm {
            return (at + 1.0) / (warm + 1.0);
        }
        let progress = (at - warm) / (all - warm).max(1.0);
        0.5 * (1.0 + (PI * progress.min(1.0)).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_rise_to_one_and_fall_to_zero() {
        for schedule in [Schedule::Cosine, Schedule::OneCycle] {
            let factors: Vec<f64> = (0..1000).map(|step| schedule.factor(step, 1000)).collect();
            let (top, best) =
                factors.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("a thousand factors");
            assert!(*best > 0.99 && *best <= 1.0, "{schedule}: {best}");
            assert!(factors[..top].is_sorted() && factors[top..].is_sorted_by(|a, b| a >= b), "{schedule}");
            assert!(factors[0] > 0.0 && factors[999] < 1e-3, "{schedule}: {} … {}", factors[0], factors[999]);
        }
        assert_eq!(Schedule::Constant.factor(7, 10), 1.0);
    }
}
