//! Optimal Brain Damage for single channels.

use super::{CriterionRow, Needs, consumer_losses, losses};
use crate::stats::GramMatrix;

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "obd",
    formula: "Σ over the consumers ½ E[z²] Σw²: half the diagonal of the Hessian of the consumers' squared error times their \
              weights' squares",
    source: "LeCun, Denker, Solla 1990, Optimal Brain Damage, on the output of the layers that read the channel",
    needs: Needs { gram: true, ..Needs::DATA },
    score: |layer| {
        losses(layer, &layer.context.obd, &|context| consumer_losses::losses(context, of_consumer))
    },
};

/// Returns the loss of each channel of a consumer's input, given Σw² of the weights per channel.
fn of_consumer(gram: &GramMatrix, squares: &[f64]) -> Option<Vec<f64>> {
    let count = gram.count();
    Some(squares.iter().enumerate().map(|(c, w)| 0.5 * gram.at(c, c) / count * w).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::gram;

    #[test]
    fn by_hand() {
        // Two positions: z = (1, 2) and (3, 0); E[z²] = 5 and 2.
        let gram = gram(&[[1.0, 2.0], [3.0, 0.0]]);
        assert_eq!(super::of_consumer(&gram, &[1.0, 4.0]), Some(vec![2.5, 4.0]));
    }
}
