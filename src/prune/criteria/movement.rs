//! Movement of the filter's weights away from zero during training.

use super::{CriterionRow, Missing, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "movement",
    formula: "Σ −w·∂L/∂w over the filter's weights and all steps of the training: what training drives to zero goes first",
    source: "Sanh, Wolf, Rush 2020, Movement Pruning, for whole filters",
    needs: Needs { training: true, ..Needs::WEIGHTS },
    score: |layer| {
        let movement = &layer.layer()?.trajectory.gradients.movement;
        if movement.is_empty() {
            return Err(Missing(
                "the profile has no gradients of a training",
                "give the profile that `finetune()` wrote",
            ));
        }
        exact(movement, |m| m)
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{GradientTrajectory, LayerProfile, Trajectory};

    #[test]
    fn by_hand() {
        let mut gradients = GradientTrajectory::default();
        // Two epochs; the fourth sum is that of −w·g.
        gradients.add_epoch(&[[0.0, 0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, -1.0, 0.0]], 3, 4);
        gradients.add_epoch(&[[0.0, 0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, -0.5, 0.0]], 3, 4);
        let trajectory = Trajectory { gradients, ..Trajectory::default() };
        let layer = LayerProfile { trajectory, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [2.5, -1.5]);
    }
}
