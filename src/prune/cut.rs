//! The cut: which channels are removed, as a file that a person can read and edit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::channels::Channels;
use super::criteria::Score;
use super::cut_constants::kept_weights;
use super::kept_indices::kept_values;
use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::ops::KeptValues;

/// A pruning decision for every set of coupled channels, stored as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The SHA-256 of the model's file.
    pub model_sha256: String,
    /// The criterion, as it was written.
    pub criterion: String,
    /// The budget, in words.
    pub budget: String,
    /// The nodes at which removed channels mix with channels that stay; absent unless `inexact` was set.
    ///
    /// Empty if the cut is exact nevertheless. If absent, channels that mix are coupled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inexact: Option<Vec<String>>,
    /// All sets of coupled channels.
    #[serde(alias = "knots")]
    pub coupled: Vec<CutCoupled>,
    /// For each initializer that becomes smaller, the indices that stay on each axis; `null` for all.
    ///
    /// For users who cut the network in another framework; [`Cut::removed`] uses `coupled` only.
    #[serde(default)]
    pub weights: BTreeMap<String, Vec<Option<Vec<usize>>>>,
    /// The file that it was read from, for messages.
    #[serde(skip)]
    pub path: Option<PathBuf>,
}

/// Coupled channels as an entry of a cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutCoupled {
    /// The index in [`Channels::coupled`].
    pub id: usize,
    /// The score; low scores are removed first.
    pub score: Option<f64>,
    /// The score's standard error over images, if it is known.
    #[serde(default)]
    pub error: Option<f64>,
    /// For removed channels, the probability that the true score is among the lowest.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// True if the channels stay.
    pub keep: bool,
    /// The reason, in words.
    pub why: String,
    /// The channels, as the node's name and the channel's index.
    pub members: Vec<(String, usize)>,
}

/// The score of coupled channels, with the confidence of their removal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// The score and its standard error.
    pub score: Score,
    /// The confidence, for removed channels.
    pub confidence: Option<f64>,
}

impl Cut {
    /// Creates the cut that removes the coupled channels `removed`.
    ///
    /// `judged` may be empty; the last argument has the criterion and the budget in words.
    ///
    /// # Errors
    /// A cut that leaves a tensor that is not rectangular: a fault of this program.
    pub fn new(
        (graph, sha256): (&Graph, &str),
        channels: &Channels,
        judged: &[Judged],
        removed: &BTreeSet<usize>,
        (criterion, budget): (String, String),
    ) -> Result<Self> {
        let coupled = channels
            .coupled
            .iter()
            .map(|set| CutCoupled {
                id: set.id,
                score: judged.get(set.id).map(|j| j.score.value),
                error: judged.get(set.id).and_then(|j| j.score.error),
                confidence: judged.get(set.id).and_then(|j| j.confidence),
                keep: !removed.contains(&set.id),
                why: match (&set.block, removed.contains(&set.id)) {
                    (Some(block), _) => format!("blocked by {}: {}", block.node, block.reason),
                    (None, true) => "among the lowest scores".to_owned(),
                    (None, false) => "not needed for the budget".to_owned(),
                },
                members: set.members.iter().map(|&(n, c)| (graph.nodes[n].name.clone(), c)).collect(),
            })
            .collect();
        let weights = kept_weights(graph, channels, removed)?;
        let inexact = channels.coupling.inexact.then(|| channels.inexact(graph, removed));
        Ok(Self { model_sha256: sha256.to_owned(), criterion, budget, inexact, coupled, weights, path: None })
    }

    /// Returns the removed coupled channels of a cut that was loaded from a file, after checks against the model.
    ///
    /// # Errors
    /// A cut of another model, a cut that removes blocked channels, or one that removes all channels of a layer.
    pub fn removed(&self, graph: &Graph, sha256: &str, channels: &Channels) -> Result<BTreeSet<usize>> {
        self.found(graph, sha256, channels).map_err(|e| e.file(self.path.as_ref().unwrap_or(&graph.path)))
    }

    fn found(&self, graph: &Graph, sha256: &str, channels: &Channels) -> Result<BTreeSet<usize>> {
        if self.model_sha256 != sha256 {
            return Err(Error::new("the cut belongs to another model")
                .expected(self.model_sha256.clone())
                .got(sha256.to_owned())
                .remedy("run `plan()` on this model"));
        }
        let mut removed = BTreeSet::new();
        let mut listed = BTreeSet::new();
        for cut in &self.coupled {
            let fits = channels.coupled.get(cut.id).filter(|set| {
                let members = set.members.iter().map(|&(n, c)| (graph.nodes[n].name.clone(), c));
                members.eq(cut.members.iter().cloned())
            });
            let Some(set) = fits else {
                return Err(Error::new(format!(
                    "the model has no coupled channels {} as in the cut",
                    cut.id
                ))
                .remedy("run `plan()` again"));
            };
            if !listed.insert(cut.id) {
                return Err(Error::new(format!("the cut lists coupled channels {} twice", cut.id))
                    .remedy("remove one of the entries"));
            }
            if cut.keep {
                continue;
            }
            if let Some(block) = &set.block {
                return Err(Error::new(format!("coupled channels {} cannot be removed", cut.id))
                    .node(block.node.clone())
                    .got(block.reason.clone())
                    .remedy("set \"keep\" to true for them"));
            }
            removed.insert(cut.id);
        }
        let lengths = channels.lengths_without(&removed);
        let emptied = |set: usize| channels.shortens[set].iter().any(|&(axis, _)| lengths[axis] == 0);
        if let Some(&set) = removed.iter().find(|&&set| emptied(set)) {
            let members = &channels.coupled[set].members;
            let layer = members.first().map(|&(node, _)| graph.nodes[node].name.clone());
            return Err(Error::new("the cut removes all channels of a layer")
                .node(layer.unwrap_or_default())
                .expected("at least one channel left in every layer")
                .remedy(format!(
                    "set \"keep\" to true for some of its coupled channels, for example {set}"
                )));
        }
        Ok(removed)
    }

    /// Returns the indices of a model's values that the cut keeps, by the names of the values; others keep all.
    ///
    /// # Errors
    /// As [`Self::removed`].
    pub fn kept_values(&self, model: &Model) -> Result<KeptValues> {
        let graph = Graph::from_model(model)?;
        let channels = Channels::analyze(&graph, self.inexact.is_some())?;
        let removed = self.removed(&graph, &model.sha256, &channels)?;
        kept_values(&graph, &channels, &removed)
    }

    /// Returns the SHA-256 of the decision, in hexadecimal: the model's hash, then the removed channels.
    ///
    /// Its input is a line with the model's hash, then a line for each removed channel, node and index separated by a
    /// tab, in the order of the file. Scores and reasons do not count, so an edit of them changes nothing.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new_with_prefix(format!("{}\n", self.model_sha256));
        for (node, channel) in self.coupled.iter().filter(|set| !set.keep).flat_map(|set| &set.members) {
            hash.update(format!("{node}\t{channel}\n"));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes the cut as a JSON file.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new("cannot write the cut").file(path).got(e.to_string()).internal())?;
        write_whole(path, "write the cut", &text)
    }

    /// Reads a cut from a JSON file.
    ///
    /// # Errors
    /// A file that cannot be read or does not contain a cut.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read the cut", path, e))?;
        let cut: Self = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new("not a cut file of this program")
                .file(path)
                .expected("a file that `plan()` wrote")
                .got(e.to_string())
                .remedy("run `plan()` again")
        })?;
        Ok(Self { path: Some(path.to_path_buf()), ..cut })
    }
}
