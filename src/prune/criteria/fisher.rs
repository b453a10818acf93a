//! Fisher information of a channel's gate.

use super::{CriterionRow, Needs, Score, gates};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "fisher",
    formula: "mean over images of ½ G², G = Σ over positions of a·∂L/∂a after the activation: half the diagonal of the Fisher \
              information of a factor of the channel",
    source: "Theis, Korshunova, Tejani, Huszár 2018, Faster gaze prediction with dense networks and Fisher pruning",
    needs: Needs { gradients: true, ..Needs::DATA },
    score: |layer| {
        let (sums, header) = gates(layer)?;
        let scores = sums.fisher(header.images).into_iter();
        Ok(scores.map(|(value, error)| Score { value, error: Some(error) }).collect())
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores_of_gates;

    #[test]
    fn by_hand() {
        // ½·{1, 9} and ½·{4, 0}.
        assert_eq!(scores_of_gates(&super::ROW, &[[1.0, 2.0], [-3.0, 0.0]]), [2.5, 1.0]);
    }
}
