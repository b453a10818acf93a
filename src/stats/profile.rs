//! Profiles: the statistics of a network's weights and outputs, with a header of their origin.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::activity::Activity;
use super::gates::{GateSums, GradientHeader};
use super::gram::GramMatrix;
use super::layers::{LayerTaps, layers};
use super::trajectory::Trajectory;
use super::value_histogram::ValueHistogram;
use super::weights::{Distances, WeightStats, weight_stats};
use crate::data::Preprocessing;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};

/// The header of a profile: format, model, data and progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the file format.
    pub version: u32,
    /// SHA-256 of the model file.
    pub model_sha256: String,
    /// Name of the model file.
    pub model: String,
    /// Number of images in the statistics.
    pub images: u64,
    /// Number of images visited, unreadable ones included: the place where a resumed pass continues.
    pub position: usize,
    /// True if the pass reached the end of the data set, or stopped early with enough confidence.
    pub complete: bool,
    /// Data set as the user named it.
    pub data: String,
    /// Shard of the data set, `K/N`; several after a merge.
    pub shard: Option<String>,
    /// Seed of the order in which images were visited; `null` for their own order.
    pub order: Option<u64>,
    /// Preprocessing of the images.
    pub preprocessing: Option<Preprocessing>,
    /// Fixed values of inputs: their names, and the values as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<(String, String)>,
    /// Device that computed the statistics.
    pub device: String,
    /// Name and operator of each layer, in graph order.
    pub layers: Vec<(String, String)>,
    /// Headers of the Gram matrices.
    pub grams: Vec<GramHeader>,
    /// Names of the tensors whose values were counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// File name and SHA-256 of each checkpoint before this model, oldest first.
    pub checkpoints: Vec<(String, String)>,
    /// Measured losses of the network's output without some channels, as far as probing went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
    /// The images and the loss of gradients; `None` if none were gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradients: Option<GradientHeader>,
}

/// The measured loss of the output without some channels, all other layers unchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Layer and channel that identify the dependency group: the first of its first coupled channels.
    pub first: (String, usize),
    /// Number of coupled channels removed from the group, the least important first.
    pub removed: usize,
    /// Mean change of an image's outputs.
    ///
    /// For class scores the KL divergence at a temperature of their spread, else Σ (change)².
    pub damage: f64,
}

impl Header {
    /// Returns the fixed values of inputs as text: `scale=0.5`.
    pub(crate) fn input_values(&self) -> String {
        if self.inputs.is_empty() {
            return "none".to_owned();
        }
        self.inputs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    /// Returns whether the pass over the images is complete, and that of the gradients if it began.
    pub fn is_complete(&self) -> bool {
        self.complete && self.gradients.as_ref().is_none_or(|gradients| gradients.complete)
    }

    /// Returns the part of the data set in words.
    pub(crate) fn part(&self) -> String {
        self.shard.clone().unwrap_or_else(|| "the whole set".to_owned())
    }

    /// Returns the shards of the profile as pairs of K and N.
    fn shards(&self) -> Option<Vec<(&str, &str)>> {
        self.shard.as_ref()?.split(" + ").map(|one| one.split_once('/')).collect()
    }

    /// Refuses images that would count twice: two profiles of one data set must be of different shards.
    fn is_apart(&self, other: &Self) -> Result<()> {
        let apart = match (self.shards(), other.shards()) {
            (Some(ours), Some(theirs)) => {
                ours.iter().all(|(k, n)| theirs.iter().all(|(other, of)| n == of && k != other))
            }
            _ => false,
        };
        // Images of an unknown data set are assumed to be different.
        let unknown = self.data.is_empty() || self.images == 0 || other.images == 0;
        if apart || unknown || self.data != other.data {
            return Ok(());
        }
        Err(Error::new("profiles of the same images cannot be merged: they would count twice")
            .expected(format!("other shards of {} than {}", self.data, self.part()))
            .got(other.part())
            .remedy("merge profiles of different shards, each once (`shard`)"))
    }
}

impl Default for Header {
    fn default() -> Self {
        Self {
            version: VERSION,
            model_sha256: String::new(),
            model: String::new(),
            images: 0,
            position: 0,
            complete: false,
            data: String::new(),
            shard: None,
            order: None,
            preprocessing: None,
            inputs: vec![],
            device: String::new(),
            layers: vec![],
            grams: vec![],
            values: vec![],
            checkpoints: vec![],
            sensitivity: vec![],
            gradients: None,
        }
    }
}

/// The tensor and layout of a Gram matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GramHeader {
    /// Name of the tensor.
    pub value: String,
    /// Layers that consume the tensor (`readers` in files of older versions).
    #[serde(alias = "readers")]
    pub consumers: Vec<String>,
    /// Taps of a patch; 1 for single positions.
    pub taps: usize,
    /// Channel groups, with one matrix each.
    pub groups: usize,
    /// Channels of a group times taps; the matrix has one row more.
    pub rows: usize,
}

/// The version of the file format that this program writes.
pub const VERSION: u32 = 2;

/// The statistics of one layer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct LayerProfile {
    /// Name of the layer's node.
    pub node: String,
    /// Operator of the layer's node.
    pub op: String,
    /// Statistics of the filters.
    pub weight: WeightStats,
    /// Statistics of each channel before the activation; empty without data.
    pub pre: Vec<Activity>,
    /// Statistics of each channel after the activation; empty without data.
    pub post: Vec<Activity>,
    /// Sums of the images' spatial means after the activation, `[classes, channels]`; empty without labels.
    pub class_sums: Vec<f64>,
    /// Sums of the gradients of the channels' gates; empty without gradients.
    pub gates: GateSums,
    /// Statistics of the filters across checkpoints; empty without checkpoints.
    pub trajectory: Trajectory,
}

/// The statistics of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Origin and progress of the statistics.
    pub header: Header,
    /// Statistics of each layer, in graph order.
    pub layers: Vec<LayerProfile>,
    /// Number of images of each class; empty without labels.
    pub classes: Vec<u64>,
    /// Second moments of the tensors that layers consume.
    pub grams: Vec<GramMatrix>,
    /// Histograms of the values of the tensors in [`Header::values`], in their order.
    pub values: Vec<ValueHistogram>,
}

impl LayerProfile {
    /// Resizes the sums by class to `classes` classes.
    pub(super) fn make_room(&mut self, classes: usize) {
        self.class_sums.resize(classes * self.post.len(), 0.0);
    }
}

impl Profile {
    /// Creates a profile of layers without images.
    pub fn new(mut header: Header, layers: Vec<LayerProfile>) -> Self {
        header.layers = layers.iter().map(|l| (l.node.clone(), l.op.clone())).collect();
        Self { header, layers, classes: vec![], grams: vec![], values: vec![] }
    }

    /// Computes the profile of a network's weights, without data.
    ///
    /// # Errors
    /// Weights that are not floats, and a graph whose shapes cannot be inferred.
    pub fn of_weights(graph: &Graph, header: Header, distances: Distances) -> Result<Self> {
        Self::of_weights_with(graph, &Facts::at_own_size(graph)?, header, distances)
    }

    /// Computes the profile of a network's weights from inferred facts, without data.
    ///
    /// # Errors
    /// Weights that are not floats.
    pub fn of_weights_with(
        graph: &Graph,
        facts: &Facts,
        header: Header,
        distances: Distances,
    ) -> Result<Self> {
        let taps = layers(graph, facts);
        let mut profiles: Vec<LayerProfile> = Vec::with_capacity(taps.len());
        // The first layer of each weight, for those that share it.
        let mut first: HashMap<ValueId, usize> = HashMap::new();
        for (at, own) in taps.iter().enumerate() {
            let node = &graph.nodes[own.node];
            let alike = |other: &LayerTaps| {
                (&other.layer, &other.scale, &other.gamma) == (&own.layer, &own.scale, &own.gamma)
            };
            let weight = match *first.entry(own.weight).or_insert(at) {
                known if known < at && alike(&taps[known]) => profiles[known].weight.clone(),
                _ => weight_stats(facts, own, distances).map_err(|e| e.node(&node.name))?,
            };
            let (node, op) = (node.name.clone(), node.op_type.clone());
            profiles.push(LayerProfile { node, op, weight, ..LayerProfile::default() });
        }
        Ok(Self::new(header, profiles))
    }

    /// Merges the profile of the images that follow: a later shard of the data set.
    ///
    /// # Errors
    /// A profile of another model, preprocessing or set of statistics, or one that shares images with this one.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.fits(other)?;
        self.header.is_apart(&other.header)?;
        let classes = self.classes.len().max(other.classes.len());
        for (ours, theirs) in self.layers.iter_mut().zip(&other.layers) {
            for (ours, theirs) in [(&mut ours.pre, &theirs.pre), (&mut ours.post, &theirs.post)] {
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| ours.merge(theirs));
            }
            ours.make_room(classes);
            ours.class_sums.iter_mut().zip(&theirs.class_sums).for_each(|(a, b)| *a += b);
        }
        self.classes.resize(classes, 0);
        self.classes.iter_mut().zip(&other.classes).for_each(|(a, b)| *a += b);
        for (ours, theirs) in self.grams.iter_mut().zip(&other.grams) {
            ours.merge(theirs);
        }
        self.values.iter_mut().zip(&other.values).for_each(|(ours, theirs)| ours.merge(theirs));
        if let (Some(ours), Some(theirs)) = (&mut self.header.gradients, &other.header.gradients) {
            ours.merge(theirs);
            self.layers.iter_mut().zip(&other.layers).for_each(|(a, b)| a.gates.merge(&b.gates));
        }
        let (ours, theirs) = (&mut self.header, &other.header);
        ours.images += theirs.images;
        ours.position += theirs.position;
        ours.complete &= theirs.complete;
        ours.shard = ours.shard.take().zip(theirs.shard.clone()).map(|(a, b)| format!("{a} + {b}"));
        for (ours, theirs) in [(&mut ours.device, &theirs.device), (&mut ours.data, &theirs.data)] {
            if !ours.split(" + ").any(|one| one == theirs) {
                *ours = format!("{ours} + {theirs}");
            }
        }
        Ok(())
    }

    /// Refuses a profile of another model, preprocessing or set of statistics.
    fn fits(&self, other: &Self) -> Result<()> {
        let differ = |what: &str, ours: String, theirs: String| {
            Err(Error::new(format!("profiles that differ in {what} cannot be merged"))
                .expected(ours)
                .got(theirs)
                .remedy("profile all shards alike: the same model, preprocessing and version"))
        };
        let (a, b) = (&self.header, &other.header);
        if a.model_sha256 != b.model_sha256 {
            let name = |h: &Header| format!("{} (SHA-256 {})", h.model, h.model_sha256);
            return differ("their model", name(a), name(b));
        }
        if a.preprocessing != b.preprocessing {
            let text = |p: &Header| serde_json::to_string(&p.preprocessing).unwrap_or_default();
            return differ("preprocessing", text(a), text(b));
        }
        if a.inputs != b.inputs {
            return differ("input values", a.input_values(), b.input_values());
        }
        let names = |p: &Self| p.layers.iter().map(|l| (l.node.clone(), l.post.len())).collect::<Vec<_>>();
        if names(self) != names(other) {
            return differ("their layers", format!("{:?}", names(self)), format!("{:?}", names(other)));
        }
        if self.classes.is_empty() != other.classes.is_empty() {
            let known = |p: &Self| if p.classes.is_empty() { "no labels" } else { "labels" }.to_owned();
            return differ("whether labels were known", known(self), known(other));
        }
        let loss = |p: &Self| p.header.gradients.as_ref().map(|gradients| gradients.loss);
        if loss(self) != loss(other) {
            let text = |p: &Self| loss(p).map_or_else(|| "no gradients".to_owned(), |loss| loss.to_string());
            return differ("the loss of their gradients", text(self), text(other));
        }
        let fit = self.grams.iter().zip(&other.grams).all(|(a, b)| a.fits(b));
        if self.grams.len() != other.grams.len() || !fit {
            let count = |p: &Self| format!("{} matrices", p.grams.len());
            return differ("their Gram matrices", count(self), count(other));
        }
        if a.values != b.values {
            let text = |h: &Header| format!("histograms of {} tensors", h.values.len());
            return differ("their histograms", text(a), text(b));
        }
        Ok(())
    }
}
