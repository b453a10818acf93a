//! The masked original: its readers of the removed channels are zero.

use std::collections::{BTreeMap, HashSet};

use super::channels::Channels;
use super::editor::Editor;
use super::rewrite::{bystanders, message};
use crate::dye::Label;
use crate::dye::flow::Role;
use crate::error::Result;
use crate::graph::flatten::flatten;
use crate::graph::{Graph, ValueId};
use crate::onnx::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::zero;
use crate::tensor::Tensor;

/// What makes the masked original out of the original. It holds no weights of the file, so that a proof can be
/// prepared, and the graph and its decoded weights let go, before the masked model is made.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask {
    /// Slices of constants that become zero: the constant, its axis, which indices.
    zeros: Vec<(String, usize, Vec<bool>)>,
    /// Constants that the file holds as computed from others, as they are before the zeros.
    computed: BTreeMap<String, TensorProto>,
    /// Inputs of nodes that become constants of their own: the node's position, the input.
    inputs: Vec<(usize, usize, Tensor)>,
}

impl Mask {
    /// The mask of a cut: `gone` says which labels go, `biases` which biases take something over.
    pub(super) fn new(
        model: &Model,
        graph: &Graph,
        channels: &Channels,
        gone: &dyn Fn(Label) -> bool,
        biases: Vec<(usize, usize, Tensor)>,
    ) -> Result<Self> {
        let mut mask = Self { inputs: biases, ..Self::default() };
        let mut changed: Vec<ValueId> = Vec::new();
        for (&(value, axis), cut) in &channels.dyer.cuts {
            let zeros: Vec<bool> = cut.labels.iter().map(|&l| gone(l)).collect();
            if cut.role == Role::Reader && zeros.contains(&true) {
                mask.zeros.push((graph.name(value).to_owned(), axis, zeros));
                changed.push(value);
            }
        }
        changed.dedup();
        let computed = changed.iter().copied().filter(|&v| graph.values[v].constant.is_none());
        for value in bystanders(graph, channels, changed.iter(), &HashSet::new()).into_iter().chain(computed) {
            mask.computed.insert(graph.name(value).to_owned(), message(model, graph, channels, value)?);
        }
        Ok(mask)
    }

    /// The masked original.
    pub(super) fn apply(&self, original: &Model) -> Result<Model> {
        if self.zeros.is_empty() && self.inputs.is_empty() {
            return Ok(original.clone());
        }
        let mut masked = flatten(original)?.into_owned();
        let mut changed = self.computed.clone();
        for (name, axis, zeros) in &self.zeros {
            let own = masked.graph().initializer.iter().find(|t| t.name() == name);
            let before = changed.get(name).or(own);
            let before = before.ok_or_else(|| {
                crate::error::Error::new(format!("the constant \"{name}\" is not in the model"))
            })?;
            let after = zero(before, *axis, zeros)?;
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
