//! Entropy of the images' spatial means of the channel.

use super::{CriterionRow, Needs, estimate};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "entropy",
    formula: "−Σ p ln p over a histogram of the images' spatial means after the activation",
    source: "Luo & Wu 2017, An Entropy-based Pruning Method for CNN Compression (there 100 bins, here 64 to 128)",
    needs: Needs::DATA,
    score: |layer| estimate(layer, |a| a.means.entropy().0, |a| a.means.entropy().1),
};

#[cfg(test)]
mod tests {
    use super::super::tests::{layer_of_images, scores};

    #[test]
    fn by_hand() {
        // Two images: the first channel has equal means, the second has not.
        let layer = layer_of_images(&[[1.0, 1.0], [1.0, 2.0]]);
        assert_eq!(scores(&super::ROW, &layer), [0.0, 2f64.ln()]);
    }
}
