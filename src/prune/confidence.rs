//! How sure the data are of a cut.
//!
//! A score that is estimated from images has a standard error. The line between what goes and what stays runs
//! halfway between the highest score that goes and the lowest above it that stays; a set truly belongs on its side of
//! the line with probability Φ(|score − line| / error).

use std::collections::{BTreeSet, HashMap};

use super::allocate::Scope;
use super::channels::Channels;
use super::criteria::Score;

/// For each set that goes, the confidence that it is truly among the lowest; `None` for the others, and where
/// the error of its score is not known.
pub fn confidence(
    channels: &Channels,
    scores: &[Score],
    removed: &BTreeSet<usize>,
    scope: Scope,
    protected: &BTreeSet<usize>,
) -> Vec<Option<f64>> {
    let mut groups: HashMap<Vec<usize>, Vec<usize>> = HashMap::new();
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
        // Where all go, no line can be on the wrong side.
        let line = stay.min_by(f64::total_cmp).map_or(f64::INFINITY, |lowest| f64::midpoint(highest, lowest));
        for &set in gone() {
            let score = scores[set];
            all[set] =
                score.error.map(|error| if error > 0.0 { normal((line - score.value) / error) } else { 1.0 });
        }
    }
    all
}

/// The mean confidence of the coupled that go: the share of them that is expected to belong there. `None` where one of
/// them is not known; 1 where none goes.
pub fn cut_confidence(confidence: &[Option<f64>], removed: &BTreeSet<usize>) -> Option<f64> {
    let sum: Option<f64> = removed.iter().map(|&k| confidence[k]).sum();
    sum.map(|sum| if removed.is_empty() { 1.0 } else { sum / removed.len() as f64 })
}

/// The normal distribution function.
pub fn normal(z: f64) -> f64 {
    if z.is_infinite() {
        return if z > 0.0 { 1.0 } else { 0.0 };
    }
    // Abramowitz and Stegun, 26.2.17: within 7.5e-8.
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let host_subgraph = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() * poly;
    if z > 0.0 { 1.0 - host_subgraph } else { host_subgraph }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::prune::CoupledChannels;

    /// Six coupled of one layer, with these scores and errors.
    fn six(scores: &[(f64, Option<f64>); 6]) -> (Channels, Vec<Score>) {
        let (nodes, values, inputs, outputs) = (vec![], vec![], vec![], vec![]);
        let graph = Graph { nodes, values, inputs, outputs, opset: 17, path: std::path::PathBuf::new() };
        let mut channels = Channels::of(&graph).expect("no channels");
        let set = |id| CoupledChannels { id, root: id as u32, members: vec![(0, id)], block: None };
        channels.coupled = (0..6).map(set).collect();
        (channels, scores.iter().map(|&(value, error)| Score { value, error }).collect())
    }

    #[test]
    fn confidence_is_the_chance_to_be_below_the_line() {
        let known = |value, error| (value, Some(error));
        let (channels, scores) = six(&[
            known(1.0, 0.5),
            known(1.5, 0.0),
            known(2.0, 0.5),
            known(3.0, 9.0),
            known(9.0, 0.1),
            known(0.1, 0.1),
        ]);
        // The last is kept, though it is low: a limit of its layer, which moves no line.
        let removed = BTreeSet::from([0, 1, 2]);
        let found = confidence(&channels, &scores, &removed, Scope::Global, &BTreeSet::new());
        // The line is at 2.5.
        let expected = [normal(3.0), 1.0, normal(1.0)];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.expect("known") - expected).abs() < 1e-9, "{found:?} {expected}");
        }
        assert!(found[3..].iter().all(Option::is_none), "what stays has none");
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
        assert_eq!((found[0], cut_confidence(&found, &removed)), (None, None), "not known, not made up");
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
