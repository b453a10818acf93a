//! The data of a page.

use serde::Serialize;

use super::cuts::Cuts;
use super::drawing::Drawing;
use super::parts::{
    ColumnText, Cost, FeatureMaps, FilterSheet, GroupRow, LayerSection, Quality, Repeat, SearchCurve, Sheet,
    Speed,
};
use super::predictions::PredictionChanges;
use super::quantization::QuantizationSection;
use super::training::TrainingSection;
use crate::prune::{Proof, Stamp};

/// All data of a report.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Page {
    /// Name of the model file.
    pub model: String,
    /// Results of the summary cards.
    pub summary: Summary,
    /// Accuracy against cost, if several networks were tried.
    pub curve: Option<SearchCurve>,
    /// Trainings of the pruned network in order: one for each round.
    pub trainings: Vec<TrainingSection>,
    /// Quantization of the network, of the original or after the cut.
    pub quantization: Option<QuantizationSection>,
    /// Several cuts side by side, in place of one.
    pub cuts: Option<Cuts>,
    /// Predictions of a classifier that changed.
    pub predictions: Option<PredictionChanges>,
    /// Drawing of the network.
    pub drawing: Option<Drawing>,
    /// Preprocessing of the images in words, if there are images.
    pub preprocessing: Option<String>,
    /// Columns of channel statistics, in the order of the menus.
    pub columns: Vec<ColumnText>,
    /// Layers in the order of the graph.
    pub layers: Vec<LayerSection>,
    /// Coupled channels by the layers that produce them.
    pub dependency_groups: Vec<GroupRow>,
    /// Filters of the first layer whose filters are pictures.
    pub filters: Option<FilterSheet>,
    /// Feature maps of some layers for a few images.
    pub maps: Vec<FeatureMaps>,
    /// Images of the feature maps.
    pub images: Option<Sheet>,
    /// Images as the network receives them, if there are images.
    pub inputs: Option<InputSheet>,
    /// Data to reproduce the result.
    pub repeat: Vec<Repeat>,
}

/// Images as the network receives them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InputSheet {
    /// Picture with one tile per image.
    pub sheet: Sheet,
    /// Values that are black and white: the least and the largest of these images.
    pub range: [f32; 2],
    /// Channels, height and width of the network's input.
    pub size: [usize; 3],
}

/// The results before and after the cut.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Cost of the original network.
    pub before: Cost,
    /// Cost of the pruned network.
    pub after: Cost,
    /// Times of both networks; `None` if they were not measured.
    pub speed: Option<Speed>,
    /// Milliseconds per image of all nodes, timed separately: before, after.
    pub layers_ms: [Option<f64>; 2],
    /// Reason for missing times.
    pub untimed: Option<String>,
    /// Quality of the pruned network's outputs; `None` without images.
    pub quality: Option<Quality>,
    /// Proof that the pruned network equals the masked original.
    pub proof: Option<Proof>,
    /// Reason for a missing proof.
    pub unproved: Option<String>,
    /// Stamp of the pruned network, if it has one.
    pub stamp: Option<Stamp>,
    /// Criterion that scored the channels.
    pub criterion: String,
    /// Budget of the cut, in words.
    pub budget: String,
    /// Repair of the network, if known.
    pub repair: Option<String>,
    /// Number of channels: all, removed.
    pub channels: [usize; 2],
    /// Number of sets of coupled channels: all, removed.
    pub coupled: [usize; 2],
    /// Confidence of the cut, the expected share that is truly among the lowest scores; `None` if unknown.
    pub confidence: Option<f64>,
    /// Nodes that mix removed channels with others.
    pub inexact: Vec<String>,
    /// Number of calibration images, possibly 0.
    pub calibration: u64,
}
