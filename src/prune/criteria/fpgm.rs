//! Distance to the geometric median: a filter with many similar ones is redundant.

use super::{CriterionRow, Missing, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "fpgm",
    formula: "Σᵢ ‖Fⱼ − Fᵢ‖₂ over the layer's filters",
    source: "He et al. 2019, Filter Pruning via Geometric Median",
    needs: Needs { distances: true, ..Needs::WEIGHTS },
    score: |layer| {
        let distance = &layer.layer()?.weight.distance;
        if distance.is_empty() {
            return Err(Missing(
                "the distances between its filters were not computed",
                "run `profile()` again",
            ));
        }
        exact(distance, |d| d)
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, WeightStats};

    #[test]
    fn by_hand() {
        let weight = WeightStats { distance: vec![6.0, 9.0], ..WeightStats::default() };
        let layer = LayerProfile { weight, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [6.0, 9.0]);
    }
}
