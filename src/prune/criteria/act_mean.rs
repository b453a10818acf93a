//! Magnitude of the mean output.

use super::{CriterionRow, Needs, estimate};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "act-mean",
    formula: "|mean output after the activation|",
    source: "Molchanov et al. 2016, section 2.2",
    needs: Needs::DATA,
    score: |layer| estimate(layer, |a| a.moments.mean.abs(), |a| a.spread.mean_error()),
};

#[cfg(test)]
mod tests {
    use super::super::tests::{layer_of_images, scores};

    #[test]
    fn by_hand() {
        let layer = layer_of_images(&[[-3.0, 1.0], [4.0, 2.0]]);
        assert_eq!(scores(&super::ROW, &layer), [0.5, 1.5]);
    }
}
