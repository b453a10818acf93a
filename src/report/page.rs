//! What a page knows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::number::Num;
use crate::bench::Quantiles;
use crate::exec::devices::DeviceIdentity;
use crate::prune::Proof;

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Page {
    /// The name of the model's file.
    pub model: String,
    /// What a person wants to know first.
    pub summary: Summary,
    /// Accuracy against cost, where several networks were tried.
    pub curve: Option<Curve>,
    /// What can be said of a channel, in the order of the menus.
    pub columns: Vec<ColumnText>,
    /// In the order of the graph.
    pub layers: Vec<LayerSection>,
    /// Knots of the same layers.
    pub dependency_groups: Vec<GroupRow>,
    /// The filters of the first layer that has pictures for filters.
    pub filters: Option<Drawn>,
    /// What layers answer to some images.
    pub maps: Vec<Feature>,
    /// These images.
    pub images: Option<Sheet>,
    /// What is needed to do it again.
    pub repeat: Vec<Repeat>,
}

/// Before and after.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// The original.
    pub before: Cost,
    /// The smaller network.
    pub after: Cost,
    /// Their times; `None` where they were not taken.
    pub speed: Option<Speed>,
    /// Milliseconds an image of all nodes, each timed by itself: before, after.
    pub layers_ms: [Option<f64>; 2],
    /// Why they were not.
    pub untimed: Option<String>,
    /// What it cost; `None` without images.
    pub quality: Option<Quality>,
    /// That the smaller network is the original without the channels.
    pub proof: Option<Proof>,
    /// Why there is no proof.
    pub unproved: Option<String>,
    /// How channels were scored.
    pub criterion: String,
    /// What had to be reached.
    pub budget: String,
    /// How the network was repaired, where that is known.
    pub repair: Option<String>,
    /// Channels, all and those that went.
    pub channels: [usize; 2],
    /// Knots, all and those that went.
    pub coupled: [usize; 2],
    /// The share of the cut that the data support; `None` where nobody knows.
    pub support: Option<f64>,
    /// Where removed channels mix with others.
    pub inexact: Vec<String>,
    /// Images that decided, 0 where none did.
    pub calibration: u64,
}

/// What a network costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Parameters.
    pub params: u64,
    /// Multiplications of an image.
    pub macs: u64,
    /// Of its file.
    pub bytes: u64,
}

/// Times of both networks, taken in turn.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// Images at once.
    pub batch: usize,
    /// Milliseconds of a batch of the original.
    pub before_ms: Quantiles,
    /// Of the smaller one.
    pub after_ms: Quantiles,
    /// How many times faster it is, by pairs of runs.
    pub speedup: Quantiles,
    /// Pairs of runs.
    pub rounds: usize,
    /// Where.
    pub device: DeviceIdentity,
}

/// How good the smaller network's answers are.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Quality {
    /// Which images judged, in words.
    pub on: String,
    /// How many of them.
    pub images: usize,
    /// Top-1 before and after; `None` without labels.
    pub top1: Option<[f64; 2]>,
    /// Top-5 before and after.
    pub top5: Option<[f64; 2]>,
    /// The share of images with the original's class.
    pub agreement: Option<f64>,
    /// The mean divergence of the answers from the original's, in nats.
    pub kl: Option<f64>,
    /// Signal to noise against the original; `None` where they are equal, or no numbers.
    pub snr_db: Option<f64>,
    /// The largest difference; `None` where there is what is no number.
    pub max_abs_err: Option<f64>,
}

/// Networks that were tried.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Curve {
    /// What the shares are of.
    pub counted: String,
    /// What is measured.
    pub measured: String,
    /// From the smallest network to the original.
    pub points: Vec<Point>,
    /// The least that was allowed.
    pub floor: Option<f64>,
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The share that it was to keep.
    pub keep: f64,
    /// What was measured, 0 to 1.
    pub value: Option<f64>,
    /// Whether it is the one.
    pub chosen: bool,
}

/// What a number of a channel is called.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ColumnText {
    /// By which name layers hold it.
    pub key: &'static str,
    /// For people.
    pub label: &'static str,
}

/// A layer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LayerSection {
    /// The node's name.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// Its window.
    pub kernel: Vec<usize>,
    /// Groups of a convolution.
    pub groups: usize,
    /// Channels that it makes: before, after.
    pub width: [usize; 2],
    /// Multiplications of an image: before, after (`None` where the smaller network has no such layer).
    pub macs: [Option<u64>; 2],
    /// Milliseconds an image, by itself: before, after; `None` where that was not timed.
    pub ms: [Option<Num>; 2],
    /// Weights and biases: before, after.
    pub params: [Option<u64>; 2],
    /// A letter a channel: k for kept, c for cut, b for blocked.
    pub state: String,
    /// Numbers of its channels by [`ColumnText::key`].
    pub values: BTreeMap<&'static str, Vec<Num>>,
    /// Their standard errors, where these are known.
    pub errors: BTreeMap<&'static str, Vec<Num>>,
}

/// Knots that tie channels of the same layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupRow {
    /// The layers, by their places in [`Page::layers`] where they are there.
    pub layers: Vec<usize>,
    /// How many coupled.
    pub coupled: usize,
    /// Channels of each.
    pub each: usize,
    /// Knots that go.
    pub cut: usize,
    /// The node that forbids it, and why.
    pub blocked: Option<[String; 2]>,
}

/// Pictures in one: tiles of one size, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sheet {
    /// A PNG as base64.
    pub png: String,
    /// Width and height of a tile.
    pub tile: [usize; 2],
    /// Tiles in a row.
    pub columns: usize,
    /// Tiles.
    pub count: usize,
}

/// The filters of a layer as pictures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Drawn {
    /// Its place in [`Page::layers`].
    pub layer: usize,
    /// One tile a filter.
    pub sheet: Sheet,
}

/// What a layer answers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Feature {
    /// Its place in [`Page::layers`].
    pub layer: usize,
    /// The channels that are shown.
    pub channels: Vec<usize>,
    /// For each image, one tile a channel.
    pub sheets: Vec<Sheet>,
}

/// A line of what is needed to do it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repeat {
    /// What.
    pub what: String,
    /// The value.
    pub value: String,
}
