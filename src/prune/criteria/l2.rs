//! L2 norm of the filter.

use super::{CriterionRow, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "l2",
    formula: "√Σw² of the filter",
    source: "the usual variant of Li et al. 2016",
    needs: Needs::WEIGHTS,
    score: |layer| exact(&layer.layer()?.weight.l2, |w| w),
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, WeightStats};

    #[test]
    fn by_hand() {
        let weight = WeightStats { l2: vec![5.0, 2.0], ..WeightStats::default() };
        let layer = LayerProfile { weight, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [5.0, 2.0]);
    }
}
