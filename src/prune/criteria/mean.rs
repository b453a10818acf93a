//! Magnitude of the mean weight.

use super::{CriterionRow, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "mean",
    formula: "|mean of the filter's weights|",
    source: "Yang, Lan, Chen 2018, statistical analysis of kernels",
    needs: Needs::WEIGHTS,
    score: |layer| exact(&layer.layer()?.weight.mean, f64::abs),
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, WeightStats};

    #[test]
    fn by_hand() {
        let weight = WeightStats { mean: vec![-0.5, 0.25], ..WeightStats::default() };
        let layer = LayerProfile { weight, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [0.5, 0.25]);
    }
}
