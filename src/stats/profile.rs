//! The Profile and its file: safetensors of `f64` columns with a JSON header.
//!
//! Columns are named `NODE/weight/mean`, `NODE/pre/mean`, `NODE/post/mean` and so on, one number a channel; the
//! header stands in the metadata entry `secateur`.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::Moments;
use crate::data::Preprocessing;
use crate::error::{Error, Result};
use crate::file::write_whole;

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
    /// Where they came from, as the user said it.
    pub data: String,
    /// What was done to them.
    pub preprocessing: Option<Preprocessing>,
    /// The device that computed.
    pub device: String,
    /// The layers, in graph order: name and operator.
    pub layers: Vec<(String, String)>,
}

/// The version that this program writes.
pub const VERSION: u32 = 1;

/// Statistics of a layer's filters, one number a filter.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct WeightStats {
    /// Mean of the weights.
    pub mean: Vec<f64>,
    /// Population variance of the weights.
    pub variance: Vec<f64>,
    /// Sum of magnitudes.
    pub l1: Vec<f64>,
    /// Root of the sum of squares.
    pub l2: Vec<f64>,
}

/// The statistics of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerProfile {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Of its filters.
    pub weight: WeightStats,
    /// Of its outputs before the activation; empty where no data were seen.
    pub pre: Vec<Moments>,
    /// After it.
    pub post: Vec<Moments>,
}

/// The statistics of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// What it is of.
    pub header: Header,
    /// In graph order.
    pub layers: Vec<LayerProfile>,
}

type Getter = fn(&Moments) -> f64;
const COLUMNS: [(&str, Getter); 7] = [
    ("count", |m| m.count),
    ("mean", |m| m.mean),
    ("m2", |m| m.m2),
    ("sum_abs", |m| m.sum_abs),
    ("positive", |m| m.positive),
    ("min", |m| m.min),
    ("max", |m| m.max),
];
const DERIVED: [(&str, Getter); 3] =
    [("variance", Moments::variance), ("mean_abs", Moments::mean_abs), ("frequency", Moments::frequency)];

impl Profile {
    /// Every column: (name, one number a channel).
    pub fn columns(&self) -> Vec<(String, Vec<f64>)> {
        let mut all = Vec::new();
        for layer in &self.layers {
            let w = &layer.weight;
            for (name, column) in [("mean", &w.mean), ("variance", &w.variance), ("l1", &w.l1), ("l2", &w.l2)]
            {
                all.push((format!("{}/weight/{name}", layer.node), column.clone()));
            }
            for (side, moments) in [("pre", &layer.pre), ("post", &layer.post)] {
                for (name, get) in COLUMNS.iter().chain(&DERIVED) {
                    all.push((format!("{}/{side}/{name}", layer.node), moments.iter().map(get).collect()));
                }
            }
        }
        all
    }

    /// Takes in the profile of the images that follow: a later shard of the same data.
    ///
    /// # Errors
    /// A profile of another model, of other preprocessing, or without activations.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
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
            return differ(
                "preprocessing",
                format!("{:?}", a.preprocessing),
                format!("{:?}", b.preprocessing),
            );
        }
        let names = |p: &Self| p.layers.iter().map(|l| (l.node.clone(), l.post.len())).collect::<Vec<_>>();
        if names(self) != names(other) {
            return differ("their layers", format!("{:?}", names(self)), format!("{:?}", names(other)));
        }
        for (ours, theirs) in self.layers.iter_mut().zip(&other.layers) {
            for (ours, theirs) in [(&mut ours.pre, &theirs.pre), (&mut ours.post, &theirs.post)] {
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| ours.merge(theirs));
            }
        }
        self.header.images += other.header.images;
        for (ours, theirs) in
            [(&mut self.header.device, &other.header.device), (&mut self.header.data, &other.header.data)]
        {
            if !ours.split(" + ").any(|one| one == theirs) {
                *ours = format!("{ours} + {theirs}");
            }
        }
        Ok(())
    }

    /// Writes the file: a temporary one, renamed.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = serde_json::to_string(&self.header)
            .map_err(|e| Error::new("cannot write the header of the profile").got(e.to_string()))?;
        let columns: Vec<(String, Vec<u8>)> = self
            .columns()
            .into_iter()
            .map(|(name, values)| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let views = columns
            .iter()
            .map(|(name, bytes)| Ok((name, TensorView::new(Dtype::F64, vec![bytes.len() / 8], bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let bytes = views.and_then(|views| {
            safetensors::serialize(views, Some(HashMap::from([("secateur".to_owned(), header)])))
        });
        let bytes =
            bytes.map_err(|e| Error::new("cannot write the profile").file(path).got(e.to_string()))?;
        write_whole(path, "write the profile", &bytes)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// A file that cannot be read, is no profile, or lacks a column.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read the profile", path, &e))?;
        let bad = |why: String| {
            Error::new("not a profile of this program")
                .file(path)
                .expected("a file that `secateur profile` wrote")
                .got(why)
                .remedy("run `secateur profile` again")
        };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(e.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get("secateur"));
        let header = header.ok_or_else(|| bad("a file without a header".to_owned()))?;
        let header: Header = serde_json::from_str(header).map_err(|e| bad(e.to_string()))?;
        if header.version != VERSION {
            return Err(bad(format!("version {}", header.version)));
        }
        let column = |name: String| -> Result<Vec<f64>> {
            let view = tensors.tensor(&name).map_err(|e| bad(format!("{name}: {e}")))?;
            if view.dtype() != Dtype::F64 {
                return Err(bad(format!("{name} is not f64")));
            }
            let number = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap_or([0xff; 8]));
            Ok(view.data().chunks_exact(8).map(number).collect())
        };
        let mut layers = Vec::new();
        for (node, op) in &header.layers {
            let weight = |name: &str| column(format!("{node}/weight/{name}"));
            let moments = |side: &str| -> Result<Vec<Moments>> {
                let mut columns = Vec::new();
                for (name, _) in COLUMNS {
                    columns.push(column(format!("{node}/{side}/{name}"))?);
                }
                let n = columns[0].len();
                if columns.iter().any(|c| c.len() != n) {
                    return Err(bad(format!("{node}: columns of different lengths")));
                }
                Ok((0..n)
                    .map(|c| Moments {
                        count: columns[0][c],
                        mean: columns[1][c],
                        m2: columns[2][c],
                        sum_abs: columns[3][c],
                        positive: columns[4][c],
                        min: columns[5][c],
                        max: columns[6][c],
                    })
                    .collect())
            };
            layers.push(LayerProfile {
                node: node.clone(),
                op: op.clone(),
                weight: WeightStats {
                    mean: weight("mean")?,
                    variance: weight("variance")?,
                    l1: weight("l1")?,
                    l2: weight("l2")?,
                },
                pre: moments("pre")?,
                post: moments("post")?,
            });
        }
        Ok(Self { header, layers })
    }
}
