//! Fisher's discriminant ratio: how well the channel separates classes.

use super::{CriterionRow, Missing, Needs, Score};

/// The row of this criterion in [`super::CRITERIA`].
pub(super) static ROW: CriterionRow = CriterionRow {
    name: "discriminant",
    formula: "variance between classes over variance within them, of the images' spatial means after the activation",
    source: "Fisher 1936, the linear discriminant; cf. Tian, Arbel, Clark 2017, Deep LDA-Rewritten Nets",
    needs: Needs { labels: true, ..Needs::DATA },
    score: |layer| {
        let (layer, classes) = (layer.layer()?, &layer.context.profile.classes);
        if layer.class_sums.is_empty() {
            return Err(Missing("the images had no labels", "give `profile()` labelled images"));
        }
        let channels = layer.post.len();
        Ok((0..channels)
            .map(|c| {
                let spread = &layer.post[c].spread;
                let sums = layer.class_sums.chunks_exact(channels).map(|row| row[c]);
                let value = ratio(sums, classes, spread.mean[0], spread.comoments[0]);
                Score { value, error: None }
            })
            .collect())
    },
};

/// Returns between over within variance, from the sums of each class and the total sum of squared deviations.
fn ratio(sums: impl Iterator<Item = f64>, counts: &[u64], mean: f64, total: f64) -> f64 {
    let classes = sums.zip(counts).filter(|&(_, &n)| n > 0);
    let between: f64 = classes.map(|(sum, &n)| n as f64 * (sum / n as f64 - mean).powi(2)).sum();
    let within = total - between;
    // A channel that never varies scores 0; one whose classes are single points separates them perfectly.
    match (between > 0.0, within > 1e-12 * total) {
        (false, _) => 0.0,
        (true, true) => between / within,
        (true, false) => 1e12,
    }
}

#[cfg(test)]
mod tests {
    use super::ratio;

    #[test]
    fn by_hand() {
        // Classes {0, 2} and {5, 7, 9}: means 1 and 7, total mean 4.6.
        let values = [0.0f64, 2.0, 5.0, 7.0, 9.0];
        let mean = values.iter().sum::<f64>() / 5.0;
        let total = values.iter().map(|v| (v - mean).powi(2)).sum();
        let between = 2.0 * 3.6f64.powi(2) + 3.0 * 2.4f64.powi(2);
        let got = ratio([2.0, 21.0].into_iter(), &[2, 3], mean, total);
        assert!((got - between / 10.0).abs() < 1e-12, "{got}");
        assert_eq!(ratio([4.0, 6.0].into_iter(), &[2, 3], 2.0, 5.0), 0.0, "classes with equal means");
    }
}
