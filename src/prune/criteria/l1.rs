//! L1 norm of the filter.

use super::{CriterionRow, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "l1",
    formula: "Σ|w| of the filter, BatchNormalization's scale folded in",
    source: "Li et al. 2016, Pruning Filters for Efficient ConvNets",
    needs: Needs::WEIGHTS,
    score: |layer| exact(&layer.layer()?.weight.l1, |w| w),
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, WeightStats};

    #[test]
    fn by_hand() {
        let weight = WeightStats { l1: vec![3.0, 1.5], ..WeightStats::default() };
        let layer = LayerProfile { weight, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [3.0, 1.5]);
    }
}
