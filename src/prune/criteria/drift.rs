//! Distance by which training moved the filter.

use super::{CriterionRow, NO_TRAINING, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "drift",
    formula: "‖F_last − F_first‖₂ over the checkpoints of the training: what stayed where it began learned least",
    source: "after Yang, Lan, Chen 2018, who watch the kernels' statistics as training goes on",
    needs: Needs { training: true, ..Needs::WEIGHTS },
    score: |layer| {
        let drift = &layer.layer()?.trajectory.drift;
        if drift.is_empty() { Err(NO_TRAINING) } else { exact(drift, |d| d) }
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, Trajectory};

    #[test]
    fn by_hand() {
        let trajectory = Trajectory { drift: vec![2.0, 0.5], ..Trajectory::default() };
        let layer = LayerProfile { trajectory, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [2.0, 0.5]);
    }
}
