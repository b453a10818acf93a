//! Folders that look like classes, but are splits of a data set, or hold images beside their labels.

use std::path::Path;

use crate::error::{Error, Result};

/// Names of splits, those that are the best test of a network first.
const SPLITS: [&str; 13] = [
    "val",
    "valid",
    "validation",
    "test",
    "testing",
    "dev",
    "eval",
    "evaluation",
    "holdout",
    "train",
    "training",
    "trainval",
    "unlabeled",
];

/// Names of folders of images.
const IMAGES: [&str; 5] = ["images", "image", "imgs", "img", "jpegimages"];

/// Names of folders of labels beside those of images.
const TARGETS: [&str; 13] = [
    "labels",
    "label",
    "masks",
    "mask",
    "annotations",
    "annotation",
    "targets",
    "target",
    "gt",
    "groundtruth",
    "imagesets",
    "segmentationclass",
    "segmentationobject",
];

/// Returns the place of a folder's name in a list, without regard to case, and to a year as in `val2017`.
fn place(names: &[&str], folder: &str) -> Option<usize> {
    let name = folder.to_lowercase();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
    names.iter().position(|known| *known == name)
}

/// Refuses subfolders that are no classes.
///
/// # Errors
/// Subfolders that are all splits, or images and their labels.
pub(super) fn check(folder: &Path, subfolders: &[String]) -> Result<()> {
    let listed = || subfolders.iter().map(|name| format!("{name}/")).collect::<Vec<_>>().join(", ");
    let refused = |what: &str, give: &str, more: &str| {
        Error::new(what).file(folder).expected("one subfolder per class").got(listed()).remedy(format!(
            "give \"{}\"{more}; if these are classes, set `classes` to a file that names them",
            folder.join(give).display()
        ))
    };
    let best = subfolders.iter().filter_map(|name| Some((place(&SPLITS, name)?, name)));
    let splits = best.clone().count();
    if let Some((_, best)) = best.min().filter(|_| splits == subfolders.len()) {
        return Err(refused("the subfolders are splits of the data, not classes", best, ""));
    }
    let images = subfolders.iter().find(|name| place(&IMAGES, name).is_some());
    let others = subfolders.iter().filter(|name| Some(*name) != images);
    if let Some(images) = images.filter(|_| others.clone().all(|name| place(&TARGETS, name).is_some())) {
        let more = if others.count() > 0 { ", and masks or target pictures as `labels`" } else { "" };
        return Err(refused("the subfolders are images and their labels, not classes", images, more));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_labels_are_no_classes() {
        let refused = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            check(Path::new("d"), &names).err().and_then(|error| error.remedy_text().map(str::to_owned))
        };
        for (names, given) in [
            (&["train", "val"][..], "d/val"),
            (&["test", "train"], "d/test"),
            (&["Train"], "d/Train"),
            (&["train2017", "val2017"], "d/val2017"),
            (&["training", "validation", "dev"], "d/validation"),
            (&["images", "masks"], "d/images"),
            (&["labels", "Images"], "d/Images"),
            (&["images"], "d/images"),
        ] {
            let remedy = refused(names).unwrap().replace('\\', "/");
            assert!(remedy.contains(&format!("\"{given}\"")), "{names:?}: {remedy}");
        }
        for names in [&["train", "bus", "car"][..], &["cat", "dog"], &["masks", "none"], &[]] {
            assert_eq!(refused(names), None, "{names:?}");
        }
    }
}
