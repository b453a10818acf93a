//! Squared gradient of a channel's gate: the first-order Taylor estimate of the loss without the channel.

use super::{CriterionRow, Needs, Score, gates};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "taylor",
    formula: "mean over batches of 32 images of (mean over the batch of G)², G = Σ over positions of a·∂L/∂a after the \
              activation: the squared change of the loss without the channel, to first order",
    source: "Molchanov, Mallya, Tyree, Frosio, Kautz 2019, Importance Estimation for Neural Network Pruning",
    needs: Needs { gradients: true, ..Needs::DATA },
    score: |layer| {
        let (sums, header) = gates(layer)?;
        let scores = sums.taylor(header.batches).into_iter();
        Ok(scores.map(|(value, error)| Score { value, error: Some(error) }).collect())
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores_of_gates;

    #[test]
    fn by_hand() {
        // A batch of two images with the means −1 and 1.5.
        assert_eq!(scores_of_gates(&super::ROW, &[[1.0, 3.0], [-3.0, 0.0]]), [1.0, 2.25]);
    }
}
