//! The confidence of a cut, given the standard errors of its scores.
//!
//! A score that is estimated from images has a standard error. The threshold is halfway between the highest removed
//! score and the lowest kept score above it. Coupled channels are on the correct side of the threshold with probability
//! Φ(|score − threshold| / error).

use std::collections::{BTreeSet, HashMap};

use super::allocate::Scope;
use super::channels::Channels;
use super::criteria::Score;
use crate::graph::NodeId;

/// Returns for each removed set the probability that its true score is below the threshold.
///
/// `None` for sets that stay, and for scores without a standard error.
pub fn confidence(
    channels: &Channels,
    scores: &[Score],
    removed: &BTreeSet<usize>,
    scope: Scope,
    protected: &BTreeSet<usize>,
) -> Vec<Option<f64>> {
    let mut groups: HashMap<Vec<NodeId>, Vec<usize>> = HashMap::new();
    for set in channels.coupled.iter().filter(|k| k.block.is_none() && !protected.contains(&k.id)) {
        let layers = match scope {
            Scope::Global => vec![],
            Scope::Layer => set.members.iter().map(|m| m.0).collect(),
        };
        groups.entry(layers).or_default().push(set.id);
    }
    let mut all = vec![None; channels.coupled.len()];
    for group in groups.into_values() {
        let value = |&k: &usize| scores[k].value;
        let gone = || group.iter().filter(|k| removed.contains(k));
        let Some(highest) = gone().map(value).max_by(f64::total_cmp) else { continue };
        let stay = group.iter().filter(|k| !removed.contains(k)).map(value).filter(|&s| s >= highest);
        // If all sets are removed, there is no threshold to miss.
        let threshold =
            stay.min_by(f64::total_cmp).map_or(f64::INFINITY, |lowest| f64::midpoint(highest, lowest));
        for &set in gone() {
            let score = scores[set];
            all[set] = score
                .error
                .map(|error| if error > 0.0 { normal((threshold - score.value) / error) } else { 1.0 });
        }
    }
    all
}

/// Returns the mean confidence of the removed sets: the expected share that is removed correctly.
///
/// `None` if the confidence of a set is unknown; 1 if nothing is removed.
pub fn cut_confidence(confidence: &[Option<f64>], removed: &BTreeSet<usize>) -> Option<f64> {
    let sum: Option<f64> = removed.iter().map(|&k| confidence[k]).sum();
    sum.map(|sum| if removed.is_empty() { 1.0 } else { sum / removed.len() as f64 })
}

/// Returns the standard normal distribution function at `z`.
pub fn normal(z: f64) -> f64 {
    if z.is_infinite() {
        return if z > 0.0 { 1.0 } else { 0.0 };
    }
    // Abramowitz and Stegun, 26.2.17: error below 7.5e-8.
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let upper = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly;
    if z > 0.0 { 1.0 - upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::ids::Id;
    use crate::prune::CoupledChannels;

    /// Six independent channels of one layer, with these scores and errors.
    fn six(scores: &[(f64, Option<f64>); 6]) -> (Channels, Vec<Score>) {
        let graph = Graph::new(17, std::path::PathBuf::new());
        let mut channels = Channels::of(&graph).expect("no channels");
        let node = NodeId::new(0);
        let set = |id| CoupledChannels { id, root: id as u32, members: vec![(node, id)], block: None };
        channels.coupled = (0..6).map(set).collect();
        (channels, scores.iter().map(|&(value, error)| Score { value, error }).collect())
    }

    #[test]
    fn confidence_is_the_probability_to_be_below_the_threshold() {
        let known = |value, error| (value, Some(error));
        let (channels, scores) = six(&[
            known(1.0, 0.5),
            known(1.5, 0.0),
            known(2.0, 0.5),
            known(3.0, 9.0),
            known(9.0, 0.1),
            known(0.1, 0.1),
        ]);
        // The last is kept by a limit of its layer although its score is low: the threshold does not move.
        let removed = BTreeSet::from([0, 1, 2]);
        let found = confidence(&channels, &scores, &removed, Scope::Global, &BTreeSet::new());
        // The threshold is 2.5.
        let expected = [normal(3.0), 1.0, normal(1.0)];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.expect("known") - expected).abs() < 1e-9, "{found:?} {expected}");
        }
        assert!(found[3..].iter().all(Option::is_none), "sets that stay have none");
        let mean = expected.iter().sum::<f64>() / 3.0;
        assert!((cut_confidence(&found, &removed).expect("known") - mean).abs() < 1e-9);
        assert_eq!(cut_confidence(&found, &BTreeSet::new()), Some(1.0), "nothing can be wrong");
        let (channels, scores) = six(&[
            (1.0, None),
            known(1.0, 0.1),
            known(2.0, 0.1),
            known(3.0, 0.1),
            known(3.0, 0.1),
            known(3.0, 0.1),
        ]);
        let found = confidence(&channels, &scores, &removed, Scope::Layer, &BTreeSet::new());
        assert_eq!(
            (found[0], cut_confidence(&found, &removed)),
            (None, None),
            "an unknown error gives no confidence"
        );
    }

    #[test]
    fn the_normal_distribution_is_that_of_tables() {
        for (z, p) in
            [(0.0, 0.5), (1.0, 0.841_344_7), (1.959_964, 0.975), (-1.644_854, 0.05), (4.0, 0.999_968_3)]
        {
            assert!((normal(z) - p).abs() < 2e-7, "{z}: {}", normal(z));
        }
    }
}
