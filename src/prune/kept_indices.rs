//! The indices of values and constants that a cut keeps.

use std::collections::BTreeSet;

use super::channels::Channels;
use crate::coupling::Label;
use crate::error::{Error, Result};
use crate::graph::{Graph, IdVec, ValueId};
use crate::ops::{Kept, KeptValues};

/// Returns for each value and axis the indices that stay when the classes `removed` are removed.
///
/// # Errors
/// A cut that leaves a tensor that is not rectangular: a fault of this program.
pub(crate) fn kept_indices(
    graph: &Graph,
    channels: &Channels,
    removed: &BTreeSet<Label>,
) -> Result<IdVec<ValueId, Kept>> {
    let gone = |label: Label| channels.is_removed(label, removed);
    let mut all: IdVec<ValueId, Kept> =
        graph.values.ids().map(|v| vec![None; channels.facts.shape(v).len()]).collect();
    for (value, labelled) in channels.labels.iter_enumerated() {
        let Some(labelled) = labelled else { continue };
        let mut left = 1;
        for axis in labelled.varying() {
            let mask: Vec<bool> = labelled.slices(axis).iter().map(|s| !s.iter().all(|&l| gone(l))).collect();
            left *= mask.iter().filter(|&&k| k).count();
            if mask.contains(&false) {
                all[value][axis] = Some(mask);
            }
        }
        if labelled.labels().iter().filter(|&&l| !gone(l)).count() != left {
            return Err(Error::new(format!(
                "after the cut the value \"{}\" would not be rectangular",
                graph.name(value)
            ))
            .file(&graph.path)
            .internal());
        }
    }
    for (&(value, axis), cut) in &channels.coupling.labelled_axes {
        let mask: Vec<bool> = cut.labels.iter().map(|&l| !gone(l)).collect();
        if mask.contains(&false) {
            all[value][axis] = Some(mask);
        }
    }
    Ok(all)
}

/// Returns the indices that stay for each value that becomes smaller without some coupled channels, by name.
///
/// # Errors
/// As [`kept_indices`].
pub(crate) fn kept_values(
    graph: &Graph,
    channels: &Channels,
    removed: &BTreeSet<usize>,
) -> Result<KeptValues> {
    let kept = kept_indices(graph, channels, &channels.roots(removed))?;
    let smaller = kept.iter_enumerated().filter(|(_, kept)| kept.iter().any(Option::is_some));
    Ok(smaller.map(|(value, kept)| (graph.name(value).to_owned(), kept.clone())).collect())
}
