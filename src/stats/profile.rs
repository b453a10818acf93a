//! The Profile: what is known of a network's kernels and of what they do.

use serde::{Deserialize, Serialize};

use super::{Activity, Distances, Gram, Trajectory, WeightStats, weights_only};
use crate::data::Preprocessing;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::facts::Facts;

/// What a profile says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub version: u32,
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// The model's file name.
    pub model: String,
    /// Images seen.
    pub images: u64,
    /// Images of the data set that were gone through, unreadable ones included: where `--resume` goes on.
    pub position: usize,
    /// Whether the data set was gone through to its end, or as far as was needed.
    pub complete: bool,
    /// Where they came from, as the user said it.
    pub data: String,
    /// The part of it.
    pub shard: Option<String>,
    /// The seed of the order in which they were visited; `null` for their own order.
    pub order: Option<u64>,
    /// What was done to them.
    pub preprocessing: Option<Preprocessing>,
    /// The device that computed.
    pub device: String,
    /// The layers, in graph order: name and operator.
    pub layers: Vec<(String, String)>,
    /// The Gram matrices.
    pub grams: Vec<GramHeader>,
    /// The checkpoints before this model, oldest first: file name and SHA-256.
    pub checkpoints: Vec<(String, String)>,
    /// What the network's output lost when some channels went, as far as that was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitivity: Vec<Sensitivity>,
}

/// What the output lost without some channels, all other layers as they were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The layer and channel that the first of the coupled begins with: coupled made by the same layers belong together.
    pub first: (String, usize),
    /// How many of these coupled went, the least important first.
    pub removed: usize,
    /// What changed of an image's outputs, on average: of scores of classes the KL divergence at a temperature of their
    /// spread, else Σ (change)².
    pub damage: f64,
}

impl Header {
    /// The part of the data set, in words.
    pub(crate) fn part(&self) -> String {
        self.shard.clone().unwrap_or_else(|| "the whole set".to_owned())
    }

    /// The shards that it is of, as K and N.
    fn shards(&self) -> Option<Vec<(&str, &str)>> {
        self.shard.as_ref()?.split(" + ").map(|one| one.split_once('/')).collect()
    }

    /// Refuses images that would count twice, as far as the headers tell: those of one data set have to be different
    /// shards of it.
    fn is_apart(&self, other: &Self) -> Result<()> {
        let apart = match (self.shards(), other.shards()) {
            (Some(ours), Some(theirs)) => {
                ours.iter().all(|(k, n)| theirs.iter().all(|(other, of)| n == of && k != other))
            }
            _ => false,
        };
        // Where nobody said where they come from, they are taken to be others.
        let unknown = self.data.is_empty() || self.images == 0 || other.images == 0;
        if apart || unknown || self.data != other.data {
            return Ok(());
        }
        Err(Error::new("profiles of the same images cannot be merged: they would count twice")
            .expected(format!("other shards of {} than {}", self.data, self.part()))
            .got(other.part())
            .remedy("merge profiles that were made with --shard K/N, each once"))
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
            device: String::new(),
            layers: vec![],
            grams: vec![],
            checkpoints: vec![],
            sensitivity: vec![],
        }
    }
}

/// Which tensor a Gram matrix is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GramHeader {
    /// The value.
    pub value: String,
    /// The layers that read it.
    pub readers: Vec<String>,
    /// Taps of a patch.
    pub taps: usize,
    /// Groups.
    pub groups: usize,
    /// Channels of a group times taps.
    pub rows: usize,
}

/// The version that this program writes.
pub const VERSION: u32 = 2;

/// The statistics of one layer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct LayerProfile {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Of its filters.
    pub weight: WeightStats,
    /// Of its outputs before the activation, one a channel; empty where no data were seen.
    pub pre: Vec<Activity>,
    /// After it.
    pub post: Vec<Activity>,
    /// Σ of the images' spatial means after the activation, `[classes, channels]`; empty where no labels were known.
    pub class_sums: Vec<f64>,
    /// Of its filters through the checkpoints of a training; empty where one model was given.
    pub trajectory: Trajectory,
}

/// The statistics of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// What it is of.
    pub header: Header,
    /// In graph order.
    pub layers: Vec<LayerProfile>,
    /// Images of each class; empty where no labels were known.
    pub classes: Vec<u64>,
    /// Of the tensors that layers read.
    pub grams: Vec<Gram>,
}

impl LayerProfile {
    /// Room for so many classes.
    pub(super) fn make_room(&mut self, classes: usize) {
        self.class_sums.resize(classes * self.post.len(), 0.0);
    }
}

impl Profile {
    /// Of weights alone, before any image.
    pub fn new(mut header: Header, layers: Vec<LayerProfile>) -> Self {
        header.layers = layers.iter().map(|l| (l.node.clone(), l.op.clone())).collect();
        Self { header, layers, classes: vec![], grams: vec![] }
    }

    /// Of a network's weights.
    ///
    /// # Errors
    /// Weights that are not floats.
    pub fn of_weights(graph: &Graph, header: Header, distances: Distances) -> Result<Self> {
        Self::of_weights_with(graph, &Facts::at_own_size(graph)?, header, distances)
    }

    /// The same where the facts are known.
    ///
    /// # Errors
    /// As [`Profile::of_weights`].
    pub fn of_weights_with(
        graph: &Graph,
        facts: &Facts,
        header: Header,
        distances: Distances,
    ) -> Result<Self> {
        Ok(Self::new(header, weights_only(graph, facts, distances)?))
    }

    /// Takes in the profile of the images that follow: a later shard of the same data.
    ///
    /// # Errors
    /// A profile of another model, of other preprocessing, or of other statistics.
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

    /// Whether another profile is of the same model, gathered alike.
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
        let names = |p: &Self| p.layers.iter().map(|l| (l.node.clone(), l.post.len())).collect::<Vec<_>>();
        if names(self) != names(other) {
            return differ("their layers", format!("{:?}", names(self)), format!("{:?}", names(other)));
        }
        if self.classes.is_empty() != other.classes.is_empty() {
            let known = |p: &Self| if p.classes.is_empty() { "no labels" } else { "labels" }.to_owned();
            return differ("whether labels were known", known(self), known(other));
        }
        let fit = self.grams.iter().zip(&other.grams).all(|(a, b)| a.fits(b));
        if self.grams.len() != other.grams.len() || !fit {
            let count = |p: &Self| format!("{} matrices", p.grams.len());
            return differ("their Gram matrices", count(self), count(other));
        }
        Ok(())
    }
}
