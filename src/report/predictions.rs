//! The predictions of a classifier that changed, as data of a page.

use serde::Serialize;

use super::parts::Sheet;

/// The predictions of both networks by class, and the images whose prediction changed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PredictionChanges {
    /// Classes of the labels, in order; empty without labels.
    pub classes: Vec<ClassRow>,
    /// Wrong predictions that became more frequent, the largest increase first.
    pub pairs: Vec<ConfusedPair>,
    /// Number of images by the change of their prediction.
    pub counts: ChangeCounts,
    /// Some of the images whose prediction changed: first those that are wrong now.
    pub changed: Vec<ChangedImage>,
    /// Pictures of these images.
    pub images: Option<Sheet>,
    /// Names of the classes by index, if known.
    pub names: Vec<Option<String>>,
}

/// Right predictions for the images of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClassRow {
    /// Index of the class.
    pub class: usize,
    /// Number of images of the class.
    pub images: usize,
    /// Number of right predictions of the original.
    pub before: usize,
    /// Number of right predictions of the pruned network.
    pub after: usize,
}

/// A wrong prediction for images of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConfusedPair {
    /// Class of the labels.
    pub label: usize,
    /// Class that the network predicts.
    pub prediction: usize,
    /// Number of such predictions of the original, among the images whose prediction changed.
    pub before: usize,
    /// Number of such predictions of the pruned network, among the images whose prediction changed.
    pub after: usize,
}

/// The number of images by the change of their prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChangeCounts {
    /// Images whose prediction changed.
    pub all: usize,
    /// Images that were right and are wrong now.
    pub lost: usize,
    /// Images that were wrong and are right now.
    pub won: usize,
}

/// An image whose prediction changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChangedImage {
    /// File of the image, or its number in the set.
    pub name: String,
    /// Class of its label, if it has one.
    pub label: Option<usize>,
    /// Class that the original predicts; `None` for NaN.
    pub before: Option<usize>,
    /// Class that the pruned network predicts; `None` for NaN.
    pub after: Option<usize>,
    /// Place of its picture in [`PredictionChanges::images`].
    pub tile: Option<usize>,
}
