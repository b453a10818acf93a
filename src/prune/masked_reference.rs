//! What judges a cut: the masked original, whose consumers of the removed channels are zero.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::channels::Channels;
use super::constant_channels::bias_corrections;
use super::cut_constants::{bystanders, constant_message, corrected_bias};
use super::editor::Editor;
use super::kept_indices::kept_indices;
use super::zeroed_slices::ZeroedSlices;
use crate::error::{Error, Result};
use crate::graph::flatten::flatten;
use crate::graph::{Graph, ValueId};
use crate::onnx::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::zero;
use crate::ops::Kept;
use crate::tensor::Tensor;

/// How a cut is judged: what makes the masked original out of the original, and in what the smaller model must
/// agree with it. It holds no weights of the file, so that the graph with its decoded weights can be let go before
/// the masked model is made.
#[derive(Clone, Debug, Default)]
pub struct MaskedReference {
    /// The nodes at which removed channels mix with others: what comes after them is another answer.
    pub inexact: Vec<String>,
    /// The values that shrink, and their indices that stay.
    pub(super) kept: HashMap<String, Kept>,
    /// Slices of constants that become zero: the constant, its axis, which indices.
    zeros: Vec<(String, usize, Vec<bool>)>,
    /// Constants that the file holds as computed from others, as they are before the zeros.
    computed: BTreeMap<String, TensorProto>,
    /// Inputs of nodes that become constants of their own: the node's position, the input.
    inputs: Vec<(usize, usize, Tensor)>,
}

impl MaskedReference {
    /// The judge of the cut that removes these coupled.
    ///
    /// # Errors
    /// A cut that leaves a tensor that is no box: a fault of this program.
    pub fn new(model: &Model, graph: &Graph, channels: &Channels, removed: &BTreeSet<usize>) -> Result<Self> {
        let mut reference = Self { inexact: channels.inexact(graph, removed), ..Self::default() };
        if removed.is_empty() {
            return Ok(reference);
        }
        let flat = flatten(model)?;
        let roots = channels.roots(removed);
        let gone = |label| channels.is_removed(label, &roots);
        for (value, kept) in kept_indices(graph, channels, &roots)?.into_iter().enumerate() {
            if kept.iter().any(Option::is_some) {
                reference.kept.insert(graph.name(value).to_owned(), kept);
            }
        }
        for (&node, correction) in &bias_corrections(graph, channels, &gone) {
            reference.inputs.push((
                graph.nodes[node].position,
                2,
                corrected_bias(graph, channels, node, correction),
            ));
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

    /// The judge of a cut, from the model alone: the graph with its decoded weights is let go before anything runs.
    ///
    /// # Errors
    /// As [`MaskedReference::new`], and a model that is no graph.
    pub fn of(model: &Model, inexact: bool, removed: &BTreeSet<usize>) -> Result<Self> {
        let graph = Graph::from_model(model)?;
        Self::new(model, &graph, &Channels::analyze(&graph, inexact)?, removed)
    }

    /// The original whose consumers of the removed channels are zero.
    ///
    /// # Errors
    /// Another model than the one that was cut.
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
