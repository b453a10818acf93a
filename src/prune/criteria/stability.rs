//! Changes of the filter from checkpoint to checkpoint.

use super::{CriterionRow, NO_TRAINING, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "stability",
    formula: "standard deviation over the checkpoints of the filter's Σ|w|: the most stable go first",
    source: "after Yang, Lan, Chen 2018, who watch the kernels' statistics as training goes on",
    needs: Needs { training: true, ..Needs::WEIGHTS },
    score: |layer| {
        let wander = &layer.layer()?.trajectory.wander;
        if wander.is_empty() { Err(NO_TRAINING) } else { exact(wander, |w| w) }
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, Trajectory};

    #[test]
    fn by_hand() {
        let trajectory = Trajectory { wander: vec![0.25, 1.0], ..Trajectory::default() };
        let layer = LayerProfile { trajectory, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [0.25, 1.0]);
    }
}
