//! The masked reference: the original with zero weights for the removed channels, which a pruned network must equal.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::channels::Channels;
use super::constant_channels::folds;
use super::cut_constants::{bystanders, constant_message};
use super::editor::Editor;
use super::folded_constants::FoldedConstants;
use super::kept_indices::kept_values;
use super::zeroed_slices::ZeroedSlices;
use crate::error::{Error, Result};
use crate::graph::flatten::flatten;
use crate::graph::{Graph, ValueId};
use crate::onnx::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::zero;
use crate::ops::KeptValues;
use crate::tensor::Tensor;

/// The edits that mask an original model, and the values in which a pruned model must agree with it.
///
/// Contains no weights of the file: the graph with its decoded weights can be dropped before the masked model is made.
#[derive(Clone, Debug, Default)]
pub struct MaskedReference {
    /// The nodes at which removed channels mix with kept ones: values behind them may differ.
    pub inexact: Vec<String>,
    /// The removed channels that were constant.
    pub(super) folded: FoldedConstants,
    /// The indices that stay, for each value that shrinks.
    pub(super) kept: KeptValues,
    /// The slices of constants that become zero: constant, axis, mask of indices.
    zeros: Vec<(String, usize, Vec<bool>)>,
    /// Constants that the file computes from others, with their values before masking.
    computed: BTreeMap<String, TensorProto>,
    /// Inputs of nodes that become new constants: the node's position, the input, the tensor.
    inputs: Vec<(usize, usize, Tensor)>,
}

impl MaskedReference {
    /// Returns the indices that stay, for each value that shrinks, by name.
    pub fn kept_values(&self) -> &KeptValues {
        &self.kept
    }

    /// Creates the reference of the cut that removes these coupled channels.
    ///
    /// # Errors
    /// A cut that leaves a tensor that is not rectangular: a fault of this program.
    pub fn new(model: &Model, graph: &Graph, channels: &Channels, removed: &BTreeSet<usize>) -> Result<Self> {
        let mut reference = Self { inexact: channels.inexact(graph, removed), ..Self::default() };
        if removed.is_empty() {
            return Ok(reference);
        }
        let flat = flatten(model)?;
        let roots = channels.roots(removed);
        let gone = |label| channels.is_removed(label, &roots);
        reference.kept = kept_values(graph, channels, removed)?;
        let folds = folds(graph, channels, &gone);
        reference.folded = FoldedConstants::of(graph, channels, &folds, removed);
        for fold in folds.biases {
            reference.inputs.push((graph.nodes[fold.node].position, fold.input, fold.bias));
        }
        let mut changed: Vec<ValueId> = Vec::new();
        for ZeroedSlices { value, axis, zeros } in channels.zeroed_slices(&roots) {
            reference.zeros.push((graph.name(value).to_owned(), axis, zeros));
            changed.push(value);
        }
        changed.dedup();
        let computed = changed.iter().copied().filter(|&v| graph.values[v].constant.is_none());
        for value in bystanders(graph, channels, changed.iter(), &HashSet::new()).into_iter().chain(computed)
        {
            reference
                .computed
                .insert(graph.name(value).to_owned(), constant_message(&flat, graph, channels, value)?);
        }
        Ok(reference)
    }

    /// Creates the reference from the model alone, and drops the graph with its decoded weights.
    ///
    /// # Errors
    /// Those of [`MaskedReference::new`], and a model that is not a valid graph.
    pub fn of(model: &Model, inexact: bool, removed: &BTreeSet<usize>) -> Result<Self> {
        let graph = Graph::from_model(model)?;
        Self::new(model, &graph, &Channels::analyze(&graph, inexact)?, removed)
    }

    /// Returns the original model with zero weights for the removed channels.
    ///
    /// # Errors
    /// A model other than the one of the cut.
    pub fn masked(&self, original: &Model) -> Result<Model> {
        if self.zeros.is_empty() && self.inputs.is_empty() {
            return Ok(original.clone());
        }
        let mut masked = flatten(original)?.into_owned();
        let mut changed = self.computed.clone();
        for (name, axis, zeros) in &self.zeros {
            let own = masked.graph().initializer.iter().find(|t| t.name() == name);
            let before = changed.get(name).or(own);
            let lacks = || {
                Error::new(format!("the constant \"{name}\" is not in the model"))
                    .file(&original.path)
                    .remedy("use the model that the cut belongs to")
            };
            let after = zero(before.ok_or_else(lacks)?, *axis, zeros)?;
            changed.insert(name.clone(), after);
        }
        let mut editor = Editor::new(&mut masked.proto);
        for (name, tensor) in changed {
            editor.constant(&name, tensor);
        }
        for (position, input, tensor) in &self.inputs {
            editor.input(*position, *input, tensor);
        }
        editor.finish();
        Ok(masked)
    }
}
