//! Variance of the output.

use super::{CriterionRow, Needs, estimate};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "act-variance",
    formula: "variance of the output after the activation",
    source: "Polyak & Wolf 2015, Channel-level acceleration",
    needs: Needs::DATA,
    score: |layer| estimate(layer, |a| a.moments.variance(), |a| a.spread.variance_error()),
};

#[cfg(test)]
mod tests {
    use super::super::tests::{layer_of_images, scores};

    #[test]
    fn by_hand() {
        let layer = layer_of_images(&[[-3.0, 1.0], [4.0, 2.0]]);
        assert_eq!(scores(&super::ROW, &layer), [12.25, 0.25]);
    }
}
