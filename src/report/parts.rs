//! The parts of a page: costs, quality, layers, pictures.

use std::collections::BTreeMap;

use serde::Serialize;

use super::number::Num;
use crate::bench::Quantiles;
use crate::exec::devices::DeviceIdentity;

/// The cost of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Number of all parameters.
    pub params: u64,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// The times of both networks, measured in turn.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    /// Number of images per batch.
    pub batch: usize,
    /// Milliseconds per batch of the original network.
    pub before_ms: Quantiles,
    /// Milliseconds per batch of the pruned network.
    pub after_ms: Quantiles,
    /// Speedup of the pruned network, from pairs of runs.
    pub speedup: Quantiles,
    /// Number of pairs of runs.
    pub rounds: usize,
    /// Device of the measurement.
    pub device: DeviceIdentity,
}

/// The quality of the pruned network's outputs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Quality {
    /// Images of the evaluation, in words.
    pub on: String,
    /// Number of these images.
    pub images: usize,
    /// Top-1 accuracy before and after; `None` without labels.
    pub top1: Option<[f64; 2]>,
    /// Top-5 accuracy before and after; `None` without labels.
    pub top5: Option<[f64; 2]>,
    /// Share of images with the original's class.
    pub agreement: Option<f64>,
    /// Mean KL divergence of the outputs from the original's, in nats.
    pub kl: Option<f64>,
    /// Signal-to-noise ratio against the original; `None` for equal outputs and for NaN.
    pub snr_db: Option<f64>,
    /// Largest absolute difference; `None` for NaN.
    pub max_abs_err: Option<f64>,
    /// Metric that judges; `None` without labels, label images and reference.
    pub metric: Option<MetricRow>,
    /// All metrics that apply, with their errors; the one that judges is the first.
    pub metrics: Vec<MetricRow>,
    /// Reason for which no output counts as a classification.
    pub unclassified: Option<String>,
}

/// The value of a metric for both networks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MetricRow {
    /// Name of the metric.
    pub name: String,
    /// Unit of its values: `%`, `dB`, or nothing.
    pub unit: String,
    /// Value of the original network; `None` if it is infinite.
    pub before: Option<f64>,
    /// Value of the pruned network; `None` if it is infinite or NaN.
    pub after: Option<f64>,
    /// Standard error of the difference.
    pub error: Option<f64>,
    /// True if a higher value is better.
    pub higher_is_better: bool,
    /// True if the difference is less than two standard errors, which is all that the images can resolve.
    pub unresolved: bool,
}

/// The networks that a search tried, or those of several budgets.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SearchCurve {
    /// Cost that the shares refer to.
    pub counted: String,
    /// Name of the measured quality.
    pub measured: String,
    /// Unit of the measured quality: `%`, `dB`, or nothing.
    pub unit: String,
    /// Networks from the smallest to the original.
    pub points: Vec<SearchPoint>,
    /// Least quality that is allowed.
    pub floor: Option<f64>,
    /// True for the budgets of a sweep, false for the attempts of a search.
    pub sweep: bool,
}

/// A network of a search.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SearchPoint {
    /// Share of the cost to keep.
    pub keep: f64,
    /// Measured quality in its unit; 0 to 1 for percentages.
    pub value: Option<f64>,
    /// Standard error of the difference to the original, in the unit of the value.
    pub error: Option<f64>,
    /// Name of the network, such as its budget in a sweep.
    pub name: String,
    /// True if no other network is at least as good in cost and quality, and better in one.
    pub best: bool,
    /// True for the chosen network.
    pub chosen: bool,
}

/// The name of a column of channel statistics.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ColumnText {
    /// Key of the column in [`LayerSection::values`].
    pub key: &'static str,
    /// Label in the menus.
    pub label: &'static str,
}

/// A layer before and after the cut.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LayerSection {
    /// Name of the layer's node.
    pub name: String,
    /// Operator of the layer's node.
    pub op: String,
    /// Window of a convolution.
    pub kernel: Vec<usize>,
    /// Groups of a convolution.
    pub groups: usize,
    /// Number of output channels: before, after.
    pub width: [usize; 2],
    /// Multiply-accumulates per image: before, after (`None` if the pruned network lacks the layer).
    pub macs: [Option<u64>; 2],
    /// Milliseconds per image: before, after; `None` if not measured.
    pub ms: [Option<Num>; 2],
    /// Number of weights and biases: before, after.
    pub params: [Option<u64>; 2],
    /// State of each channel: k for kept, c for cut, b for blocked.
    pub state: String,
    /// Statistics of each channel by [`ColumnText::key`].
    pub values: BTreeMap<&'static str, Vec<Num>>,
    /// Standard errors of the statistics, if known.
    pub errors: BTreeMap<&'static str, Vec<Num>>,
}

/// Sets of coupled channels of the same layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupRow {
    /// Places of the layers in [`super::Page::layers`].
    pub layers: Vec<usize>,
    /// Number of sets of coupled channels.
    pub coupled: usize,
    /// Number of channels in each set.
    pub each: usize,
    /// Number of removed sets.
    pub cut: usize,
    /// Node that blocks the removal, and its reason.
    pub blocked: Option<[String; 2]>,
}

/// Tiles of one size in one picture, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sheet {
    /// PNG picture in base64.
    pub png: String,
    /// Width and height of a tile, in pixels.
    pub tile: [usize; 2],
    /// Number of tiles in a row.
    pub columns: usize,
    /// Number of all tiles.
    pub count: usize,
}

/// The filters of a layer as pictures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FilterSheet {
    /// Place of the layer in [`super::Page::layers`].
    pub layer: usize,
    /// Picture with one tile per filter.
    pub sheet: Sheet,
}

/// The feature maps of a layer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FeatureMaps {
    /// Place of the layer in [`super::Page::layers`].
    pub layer: usize,
    /// Channels that are shown.
    pub channels: Vec<usize>,
    /// Picture of each image, with one tile per channel.
    pub sheets: Vec<Sheet>,
    /// Picture of each image in the pruned network, with one tile per kept channel; empty if it was not drawn.
    pub after: Vec<Sheet>,
}

/// A named value needed to reproduce the result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repeat {
    /// Name of the value.
    pub what: String,
    /// Value in text form.
    pub value: String,
}
