//! Criteria: how much each knot is worth. Low scores go first.

use std::path::PathBuf;
use std::str::FromStr;

use super::channels::Channels;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::stats::{LayerProfile, Moments};

/// How channels are scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// One of [`CRITERIA`].
    Statistic(&'static Row),
    /// Seeded noise.
    Random,
    /// A CSV file of the user's: `node,channel,score`.
    File(PathBuf),
}

/// A criterion that reads the profile.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// The formula.
    pub formula: &'static str,
    /// Who proposed it.
    pub source: &'static str,
    /// Whether it needs activations.
    pub needs_data: bool,
    score: fn(&LayerProfile, usize) -> Option<f64>,
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Row {}

fn post(layer: &LayerProfile, channel: usize, get: fn(&Moments) -> f64) -> Option<f64> {
    layer.post.get(channel).map(get)
}

/// The criteria that read the profile.
pub static CRITERIA: &[Row] = &[
    Row {
        name: "l1",
        formula: "Σ|w| of the filter, BatchNormalization's scale folded in",
        source: "Li et al. 2016, Pruning Filters for Efficient ConvNets",
        needs_data: false,
        score: |l, c| l.weight.l1.get(c).copied(),
    },
    Row {
        name: "l2",
        formula: "√Σw² of the filter",
        source: "the usual variant of Li et al. 2016",
        needs_data: false,
        score: |l, c| l.weight.l2.get(c).copied(),
    },
    Row {
        name: "mean",
        formula: "|mean of the filter's weights|",
        source: "Yang, Lan, Chen 2018, statistical analysis of kernels",
        needs_data: false,
        score: |l, c| l.weight.mean.get(c).map(|m| m.abs()),
    },
    Row {
        name: "variance",
        formula: "variance of the filter's weights",
        source: "Yang, Lan, Chen 2018",
        needs_data: false,
        score: |l, c| l.weight.variance.get(c).copied(),
    },
    Row {
        name: "std",
        formula: "standard deviation of the filter's weights",
        source: "Yang, Lan, Chen 2018",
        needs_data: false,
        score: |l, c| l.weight.variance.get(c).map(|v| v.sqrt()),
    },
    Row {
        name: "apoz",
        formula: "1 − APoZ: the share of outputs above zero after the activation",
        source: "Hu et al. 2016, Network Trimming",
        needs_data: true,
        score: |l, c| post(l, c, Moments::frequency),
    },
    Row {
        name: "act-mean",
        formula: "|mean output after the activation|",
        source: "Molchanov et al. 2016, section 2.2",
        needs_data: true,
        score: |l, c| post(l, c, |m| m.mean.abs()),
    },
    Row {
        name: "act-variance",
        formula: "variance of the output after the activation",
        source: "Polyak & Wolf 2015, Channel-level acceleration",
        needs_data: true,
        score: |l, c| post(l, c, Moments::variance),
    },
    Row {
        name: "act-l1",
        formula: "mean magnitude of the output after the activation",
        source: "the L1 norm of activations, as in Polyak & Wolf 2015",
        needs_data: true,
        score: |l, c| post(l, c, Moments::mean_abs),
    },
];

impl FromStr for Criterion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "random" {
            return Ok(Self::Random);
        }
        if let Some(path) = text.strip_prefix("file:") {
            return Ok(Self::File(path.into()));
        }
        CRITERIA.iter().find(|row| row.name == text).map(Self::Statistic).ok_or_else(|| {
            let names: Vec<&str> =
                CRITERIA.iter().map(|r| r.name).chain(["random", "file:SCORES.csv"]).collect();
            let near = names.iter().min_by_key(|n| distance(n, text)).filter(|n| distance(n, text) <= 2);
            let error = Error::new("an unknown criterion").expected(names.join(", ")).got(text);
            match near {
                Some(near) => error.remedy(format!("did you mean {near}?")),
                None => error.remedy("see `secateur plan --help-criteria`"),
            }
        })
    }
}

impl std::fmt::Display for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Statistic(row) => f.write_str(row.name),
            Self::Random => f.write_str("random"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl Criterion {
    /// Whether it needs activations.
    pub fn needs_data(&self) -> bool {
        matches!(self, Self::Statistic(row) if row.needs_data)
    }
}

/// Edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let change = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// How scores of different layers are made comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// As they are.
    None,
    /// Divided by the layer's mean score.
    #[default]
    Layer,
}

/// The score of every knot: the mean over its channels.
///
/// # Errors
/// A profile that lacks a layer or its activations, a score that is not a number, a bad CSV file.
pub fn scores(
    graph: &Graph,
    channels: &Channels,
    layers: &[LayerProfile],
    criterion: &Criterion,
    normalize: Normalize,
    seed: u64,
) -> Result<Vec<f64>> {
    let given = match criterion {
        Criterion::File(path) => Some(read_scores(path)?),
        _ => None,
    };
    let mut by_node: Vec<Option<Vec<f64>>> = vec![None; graph.nodes.len()];
    for producer in &channels.dyer.producers {
        let name = &graph.nodes[producer.node].name;
        let n = producer.labels.len();
        let raw: Option<Vec<f64>> = match criterion {
            Criterion::Random => Some((0..n).map(|c| noise(seed, name, c)).collect()),
            Criterion::File(_) => {
                let table = given.as_ref();
                (0..n).map(|c| table.and_then(|t| t.get(&(name.clone(), c))).copied()).collect()
            }
            Criterion::Statistic(row) => {
                let layer = layers.iter().find(|l| l.node == *name);
                layer.and_then(|l| (0..n).map(|c| (row.score)(l, c)).collect())
            }
        };
        let raw = raw.ok_or_else(|| {
            Error::new(format!("no {criterion} score for every channel of a layer"))
                .node(name.clone())
                .expected(format!("{n} scores"))
                .remedy("give --data or a --profile of this very model")
        })?;
        if let Some(c) = raw.iter().position(|s| !s.is_finite()) {
            return Err(Error::new(format!("the {criterion} score of a channel is not a number"))
                .node(name.clone())
                .got(format!("{} for channel {c}", raw[c])));
        }
        let mean = raw.iter().map(|s| s.abs()).sum::<f64>() / n.max(1) as f64;
        let scale = if normalize == Normalize::Layer && mean > 0.0 { 1.0 / mean } else { 1.0 };
        by_node[producer.node] = Some(raw.iter().map(|s| s * scale).collect());
    }
    Ok(channels
        .knots
        .iter()
        .map(|knot| {
            let members = knot.members.iter();
            let sum: f64 = members.filter_map(|&(n, c)| by_node[n].as_ref().map(|s| s[c])).sum();
            sum / knot.members.len().max(1) as f64
        })
        .collect())
}

/// Uniform in 0..1, from the seed, the layer's name and the channel (FNV-1a, then splitmix64's finish).
fn noise(seed: u64, name: &str, channel: usize) -> f64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes()).chain((channel as u64).to_le_bytes());
    let mut z =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

type Scores = std::collections::HashMap<(String, usize), f64>;

fn read_scores(path: &std::path::Path) -> Result<Scores> {
    #[derive(serde::Deserialize)]
    struct Line {
        node: String,
        channel: usize,
        score: f64,
    }
    let bad = |e: csv::Error| {
        Error::new("a bad file of scores")
            .file(path)
            .expected("CSV with the columns node,channel,score")
            .got(e.to_string())
    };
    let mut reader = csv::Reader::from_path(path).map_err(bad)?;
    reader.deserialize::<Line>().map(|l| l.map(|l| ((l.node, l.channel), l.score)).map_err(bad)).collect()
}
