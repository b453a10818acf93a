//! Average percentage of zeros; the channels with most zeros are removed first.

use super::{CriterionRow, Needs, estimate};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "apoz",
    formula: "1 − APoZ: the share of outputs above zero after the activation",
    source: "Hu et al. 2016, Network Trimming",
    needs: Needs::DATA,
    score: |layer| estimate(layer, |a| a.moments.frequency(), |a| a.spread.frequency_error()),
};

#[cfg(test)]
mod tests {
    use super::super::tests::{layer_of_images, scores};

    #[test]
    fn by_hand() {
        let layer = layer_of_images(&[[0.0, 0.0], [4.0, 0.0]]);
        assert_eq!(scores(&super::ROW, &layer), [0.5, 0.0]);
    }
}
