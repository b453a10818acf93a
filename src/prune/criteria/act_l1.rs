//! Mean magnitude of the output.

use super::{CriterionRow, Needs, estimate};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "act-l1",
    formula: "mean magnitude of the output after the activation",
    source: "the L1 norm of activations, as in Polyak & Wolf 2015",
    needs: Needs::DATA,
    score: |layer| estimate(layer, |a| a.moments.mean_abs(), |a| a.spread.mean_abs_error()),
};

#[cfg(test)]
mod tests {
    use super::super::tests::{layer_of_images, scores};

    #[test]
    fn by_hand() {
        let layer = layer_of_images(&[[-3.0, 1.0], [4.0, 2.0]]);
        assert_eq!(scores(&super::ROW, &layer), [3.5, 1.5]);
    }
}
