//! Variance of the weights.

use super::{CriterionRow, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "variance",
    formula: "variance of the filter's weights",
    source: "Yang, Lan, Chen 2018",
    needs: Needs::WEIGHTS,
    score: |layer| exact(&layer.layer()?.weight.variance, |w| w),
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, WeightStats};

    #[test]
    fn by_hand() {
        let weight = WeightStats { variance: vec![0.5, 0.25], ..WeightStats::default() };
        let layer = LayerProfile { weight, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [0.5, 0.25]);
    }
}
