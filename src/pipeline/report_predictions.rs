//! The predictions that changed, as a report page shows them: with pictures of some of the images.

use std::collections::BTreeMap;
use std::path::Path;

use super::prediction_changes::{ChangedPrediction, Predictions};
use crate::data::{Batch, Dataset};
use crate::error::Result;
use crate::report::{ChangeCounts, ChangedImage, ClassRow, ConfusedPair, PredictionChanges, pictures};

/// The most images that are shown.
const IMAGES: usize = 24;
/// The most pairs of classes that are shown.
const PAIRS: usize = 12;

/// Describes the predictions that changed on a data set. `names` has the class names of the data, before the label offset.
pub(super) fn changes(
    predictions: &Predictions,
    data: &Dataset,
    names: &[String],
) -> Result<PredictionChanges> {
    let count =
        |is: fn(&ChangedPrediction) -> bool| predictions.changed.iter().filter(|change| is(change)).count();
    let rows = predictions.classes.iter().map(|(&class, of)| ClassRow {
        class: class as usize,
        images: of.images,
        before: of.before,
        after: of.after,
    });
    let mut order: Vec<&ChangedPrediction> = predictions.changed.iter().collect();
    order.sort_by_key(|change| (!change.is_lost(), change.is_won()));
    order.truncate(IMAGES);
    let images = order.iter().map(|change| image(data, change.place)).collect::<Result<Vec<_>>>()?;
    let (picture, tiles) = pictures::thumbnails(&images, data.preprocessing())?;
    let shown = order.iter().zip(tiles).map(|(change, tile)| ChangedImage {
        name: name(data, change.place),
        label: change.label.map(|label| label as usize),
        before: change.before,
        after: change.after,
        tile,
    });
    Ok(PredictionChanges {
        classes: rows.collect(),
        pairs: pairs(&predictions.changed),
        counts: ChangeCounts {
            all: predictions.changed.len(),
            lost: count(ChangedPrediction::is_lost),
            won: count(ChangedPrediction::is_won),
        },
        changed: shown.collect(),
        images: picture,
        names: shifted(names, data.label_offset()),
    })
}

/// Returns the wrong predictions that became more frequent.
fn pairs(changed: &[ChangedPrediction]) -> Vec<ConfusedPair> {
    let mut counts: BTreeMap<(usize, usize), [usize; 2]> = BTreeMap::new();
    for change in changed {
        let Some(label) = change.label.map(|label| label as usize) else { continue };
        for (which, prediction) in [change.before, change.after].into_iter().enumerate() {
            if let Some(prediction) = prediction.filter(|&prediction| prediction != label) {
                counts.entry((label, prediction)).or_default()[which] += 1;
            }
        }
    }
    let pair = |((label, prediction), [before, after]): ((usize, usize), [usize; 2])| ConfusedPair {
        label,
        prediction,
        before,
        after,
    };
    let mut pairs: Vec<ConfusedPair> = counts.into_iter().map(pair).filter(|p| p.after > p.before).collect();
    pairs.sort_by_key(|p| std::cmp::Reverse(p.after - p.before));
    pairs.truncate(PAIRS);
    pairs
}

/// Reads an image again; `None` if it is unreadable.
fn image(data: &Dataset, place: usize) -> Result<Option<Batch>> {
    let batch = data.batches_from(place, 1).next().transpose()?;
    Ok(batch.filter(|batch| batch.places.first() == Some(&place)))
}

/// Returns the name of an image's file, or its number.
fn name(data: &Dataset, place: usize) -> String {
    let place = data.place(place);
    let file = place.file.as_deref().and_then(Path::file_name);
    file.map_or_else(|| format!("image {}", place.index), |name| name.to_string_lossy().into_owned())
}

/// Returns class names by the index of the network's class.
fn shifted(names: &[String], offset: i64) -> Vec<Option<String>> {
    let at = |class: i64| usize::try_from(class - offset).ok().and_then(|i| names.get(i).cloned());
    if names.is_empty() { vec![] } else { (0..names.len() as i64 + offset.max(0)).map(at).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(label: u32, before: usize, after: usize) -> ChangedPrediction {
        ChangedPrediction { place: 0, label: Some(label), before: Some(before), after: Some(after) }
    }

    #[test]
    fn pairs_are_those_that_became_more_frequent() {
        let changed = [
            change(1, 1, 2),
            change(1, 1, 2),
            change(1, 2, 1),
            change(4, 4, 0),
            change(4, 0, 4),
            change(7, 3, 7),
        ];
        let pair = ConfusedPair { label: 1, prediction: 2, before: 1, after: 2 };
        assert_eq!(pairs(&changed), [pair], "4 as 0 is as frequent as before, 7 as 3 less");
    }

    #[test]
    fn names_follow_the_offset_of_labels() {
        let names = ["cat", "dog"].map(str::to_owned);
        assert_eq!(shifted(&names, 1), [None, Some("cat".to_owned()), Some("dog".to_owned())]);
        assert_eq!(shifted(&names, -1), [Some("dog".to_owned()), None]);
        assert_eq!(shifted(&[], 1), []);
    }
}
