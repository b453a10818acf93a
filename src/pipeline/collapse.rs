//! The check of a pruned network against collapse: outputs that no longer follow the original's.

use super::evaluation::Evaluation;
use super::label_fit::LabelFit;
use crate::data::metrics::Agreement;

/// The least share of the agreement beyond chance that a network keeps which has not collapsed.
const LEAST_KAPPA: f64 = 0.2;

/// A pruned network whose outputs no longer depend on its inputs as the original's do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Collapse {
    /// Classes that agree with the original's hardly better than chance; both in percent.
    Classes {
        /// The agreement with the original.
        agreement: f64,
        /// The agreement of classes of the same frequencies that are independent of the original's.
        chance: f64,
    },
    /// Outputs without classes whose error is as large as they are.
    Outputs {
        /// The signal-to-noise ratio in dB, at most 0.
        snr_db: f64,
    },
}

impl Collapse {
    /// Returns the collapse that an evaluation against the original shows, if there is one.
    ///
    /// The classes of an original that is not above chance, or that gives few classes without labels, say nothing: it was
    /// probably never trained.
    pub fn of(found: &Evaluation) -> Option<Self> {
        let agreement = found.agreement.as_ref()?;
        match (&found.class_fit, agreement.agreement()) {
            (Some(fit), _) => is_trained(found, fit)
                .then_some(fit)
                .filter(|fit| fit.is_chance() || fit.kappa().is_some_and(|kappa| kappa < LEAST_KAPPA))
                .map(|fit| Self::Classes { agreement: 100.0 * fit.top1(), chance: 100.0 * fit.chance() }),
            // Class indices have a ratio without a meaning.
            (None, Some(_)) => None,
            (None, None) => Self::of_outputs(agreement),
        }
    }

    fn of_outputs(agreement: &Agreement) -> Option<Self> {
        let snr_db = agreement.snr_db();
        (!(snr_db > 0.0)).then_some(Self::Outputs { snr_db })
    }
}

/// Returns whether the original's classes show that it was trained.
fn is_trained(found: &Evaluation, classes: &LabelFit) -> bool {
    const MOST_CLASSES: f64 = 5.0;
    match &found.label_fit {
        Some(labels) => !labels.is_chance(),
        None => classes.label_classes() >= MOST_CLASSES.min(0.5 * classes.classes() as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_collapse_if_their_error_is_as_large_as_they_are() {
        let of = |got: [f32; 2]| {
            let mut agreement = Agreement::default();
            agreement.add(&[3.0, 4.0], &got, None);
            Collapse::of_outputs(&agreement)
        };
        assert_eq!(of([3.0, 4.5]), None);
        assert_eq!(of([0.0, 0.0]), Some(Collapse::Outputs { snr_db: 0.0 }));
        assert!(of([f32::NAN, 4.0]).is_some());
    }
}
