//! The scale that BatchNormalization learned.

use super::{CriterionRow, Missing, Needs, exact};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "bn-scale",
    formula: "|γ| of the BatchNormalization that follows",
    source: "Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming",
    needs: Needs::WEIGHTS,
    score: |layer| {
        let scale = &layer.layer()?.weight.bn_scale;
        if scale.is_empty() {
            return Err(Missing(
                "no BatchNormalization follows it",
                "export the network without folding BatchNormalization, `protect` the layer, or use l1",
            ));
        }
        exact(scale, |s| s)
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::scores;
    use crate::stats::{LayerProfile, WeightStats};

    #[test]
    fn by_hand() {
        let weight = WeightStats { bn_scale: vec![0.5, 0.125], ..WeightStats::default() };
        let layer = LayerProfile { weight, ..LayerProfile::default() };
        assert_eq!(scores(&super::ROW, &layer), [0.5, 0.125]);
    }
}
