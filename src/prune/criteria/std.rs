//! Standard deviation of the weights.

use super::{CriterionRow, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "std",
    formula: "standard deviation of the filter's weights",
    source: "Yang, Lan, Chen 2018; Li Hao 2019",
    needs: Needs::WEIGHTS,
    score: |layer| exact(&layer.layer()?.weight.variance, f64::sqrt),
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, WeightStats};

    #[test]
    fn by_hand() {
        let weight = WeightStats { variance: vec![4.0, 0.25], ..WeightStats::default() };
        let layer = LayerProfile { weight, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [2.0, 0.5]);
    }
}
