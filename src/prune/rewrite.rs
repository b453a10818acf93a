//! Removal of coupled channels: edits the original message to the pruned model.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::channels::Channels;
use super::constant_channels::{FoldedBias, folds};
use super::cut_constants::{constant_message, cut_constants};
use super::editor::Editor;
use super::kept_indices::kept_indices;
use super::masked_reference::MaskedReference;
use super::sizes::{fits_other_sizes, following};
use crate::error::{Error, ErrorKind, OUR_FAULT, Result};
use crate::fact::Fact;
use crate::graph::facts::Facts;
use crate::graph::flatten::flatten;
use crate::graph::{Graph, IdVec, NodeId, ValueId};
use crate::onnx::Model;
use crate::onnx::tensor::keep;
use crate::ops::{Kept, Rewrite};
use crate::stats::place;
use crate::tensor::Tensor;

/// A pruned model with the masked original that proves it.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The pruned model, decoded from the bytes that its file will have.
    pub model: Model,
    /// The original, in which weights that multiply removed channels are zero.
    pub masked: Model,
    /// The values that the proof compares.
    pub reference: MaskedReference,
}

/// Removes coupled channels from a model.
///
/// # Errors
/// Those of [`smaller`].
pub fn rewrite(
    model: &Model,
    graph: &Graph,
    channels: &Channels,
    removed: &BTreeSet<usize>,
) -> Result<Rewritten> {
    let reference = MaskedReference::new(model, graph, channels, removed)?;
    let masked = reference.masked(model)?;
    let small = smaller(model, graph, channels, removed)?;
    Ok(Rewritten { model: reread(small, &model.path)?, masked, reference })
}

/// Returns the pruned model, decoded from the bytes that its file at `path` will have.
///
/// Takes the model by value and drops every other copy of the weights before the bytes are encoded.
///
/// # Errors
/// Those of [`smaller`], and a model that is not a valid graph.
pub fn written(model: Model, inexact: bool, removed: &BTreeSet<usize>, path: &Path) -> Result<Model> {
    let graph = Graph::from_model(&model)?;
    let channels = Channels::analyze(&graph, inexact)?;
    let small = smaller(&model, &graph, &channels, removed)?;
    drop((model, graph, channels));
    reread(small, path)
}

/// Encodes a model for a file at `path` and decodes the bytes, which alone are proved and saved.
///
/// # Errors
/// A model that is not valid.
pub fn reread(model: Model, path: &Path) -> Result<Model> {
    let bytes = model.to_bytes();
    let Model { external, bindings, .. } = model;
    Ok(Model { external, bindings, ..Model::from_bytes(bytes, path)? })
}

/// Returns the model without some coupled channels, as an edited message that was never encoded.
///
/// [`rewrite`] and [`written`] return a model that can be proved.
///
/// # Errors
/// A cut that leaves a tensor that is not rectangular, or a node that cannot be rewritten: faults of this program.
pub fn smaller(
    model: &Model,
    graph: &Graph,
    channels: &Channels,
    removed: &BTreeSet<usize>,
) -> Result<Model> {
    if removed.is_empty() {
        return Ok(model.clone());
    }
    // Positions in the graph are those of the flat model.
    let flat = flatten(model)?;
    let model = &*flat;
    let roots = channels.roots(removed);
    let kept = kept_indices(graph, channels, &roots)?;
    let folds = folds(graph, channels, &|label| channels.is_removed(label, &roots));
    let following = following(graph, channels);
    let mut explicit: HashSet<String> = HashSet::new();
    loop {
        let cut = cut(model, graph, channels, (&kept, &folds.biases), (&explicit, &following))?;
        let wrong = misfits(&cut, graph, channels, &kept)?;
        let Some((node, error)) = wrong.first().cloned() else {
            fits_other_sizes(&cut, graph)?;
            return Ok(cut);
        };
        // A node that is wrong with explicit shapes too is a fault of this program.
        let before = explicit.len();
        explicit.extend(wrong.into_iter().map(|(node, _)| node));
        if explicit.len() == before {
            let remedy = format!("`protect` the layers before this node; {OUR_FAULT}");
            let error = error.with_kind(ErrorKind::Internal);
            return Err(error.node(node).file(&model.path).remedy(remedy));
        }
    }
}

/// Applies all edits once; nodes in `explicit` get constant shapes instead of computed ones.
fn cut(
    model: &Model,
    graph: &Graph,
    channels: &Channels,
    (kept, biases): (&IdVec<ValueId, Kept>, &[FoldedBias]),
    (explicit, following): (&HashSet<String>, &IdVec<ValueId, Vec<bool>>),
) -> Result<Model> {
    let mut cut = model.clone();
    let mut editor = Editor::new(&mut cut.proto);
    let (constants, recomputed) = cut_constants(graph, channels, kept);
    for (&value, kept) in &constants {
        let tensor = keep(&constant_message(model, graph, channels, value)?, kept)?;
        editor.constant(graph.name(value), tensor);
    }
    for (id, node) in graph.nodes.iter_enumerated() {
        if node.outputs.iter().flatten().all(|&v| channels.facts.is_constant(v)) {
            continue;
        }
        if channels.facts.is_data_dependent_node(graph, id) {
            // No input of the host subgraph was cut. Channel counts that it computes elsewhere become the old constants.
            for (i, shape) in shapes(graph, &channels.facts, id).filter(|_| explicit.contains(&node.name)) {
                editor.input(node.position, i, &shape);
            }
            continue;
        }
        // Factors that are computed from channel counts (√C) keep their values.
        let stays = |i: usize| node.inputs[i].is_some_and(|v| kept[v].iter().all(Option::is_none));
        let numbers = shapes(graph, &channels.facts, id).filter(|(i, t)| t.dtype.is_float() && stays(*i));
        for (i, number) in numbers.filter(|_| explicit.contains(&node.name)) {
            editor.input(node.position, i, &number);
        }
        let values = |list: &[Option<ValueId>]| -> Vec<Kept> {
            list.iter().map(|v| v.map_or_else(Vec::new, |v| kept[v].clone())).collect()
        };
        let follows = |list: &[Option<ValueId>]| {
            list.iter().map(|v| v.map_or_else(Vec::new, |v| following[v].clone())).collect()
        };
        let (kept_in, kept_out) = (values(&node.inputs), values(&node.outputs));
        let outputs = channels.facts.outputs(graph, id);
        let mut view = Rewrite {
            inputs: channels.facts.inputs(graph, id),
            outputs: &outputs,
            kept_in,
            kept_out,
            follows_in: follows(&node.inputs),
            follows_out: follows(&node.outputs),
            explicit: explicit.contains(&node.name),
            edits: vec![],
        };
        node.op.rewrite(&mut view).map_err(|e| e.node(&node.name).file(&graph.path))?;
        for edit in view.edits {
            editor.edit(node.position, edit);
        }
    }
    for FoldedBias { layer, node, input, bias, .. } in biases {
        let output = graph.nodes[*layer].outputs.first().copied().flatten();
        let along = graph.nodes[*layer].op.layer().map_or(1, |l| l.channels);
        let stays = output.and_then(|o| kept[o].get(place(along, kept[o].len())).cloned().flatten());
        let left = bias.to_f64().into_iter().enumerate();
        let left: Vec<f64> =
            left.filter(|&(i, _)| stays.as_ref().is_none_or(|s| s[i])).map(|(_, v)| v).collect();
        let smaller = Tensor::from_f64(bias.dtype, &[left.len()], &left);
        editor.input(graph.nodes[*node].position, *input, &smaller);
    }
    let constants = constants.iter().chain(&recomputed).map(|(&value, kept)| (value, kept));
    for (value, kept) in kept.iter_enumerated().chain(constants) {
        editor.shape(graph.name(value), kept);
    }
    editor.finish();
    Ok(cut)
}

/// Returns a node's constant inputs that the graph computes from shapes, with their positions.
fn shapes(graph: &Graph, facts: &Facts, node: NodeId) -> impl Iterator<Item = (usize, Tensor)> {
    let constant = |v: ValueId| facts.get(v).filter(|f| f.from_shape).and_then(|f| f.value.clone());
    let inputs: Vec<_> = graph.nodes[node].inputs.iter().map(|v| v.and_then(constant)).collect();
    inputs.into_iter().enumerate().filter_map(|(i, tensor)| Some((i, tensor?)))
}

/// Returns the nodes of the cut model whose outputs have an unexpected shape, with the errors to report.
///
/// Each node is inferred as if all nodes before it had the expected outputs.
fn misfits(
    cut: &Model,
    graph: &Graph,
    channels: &Channels,
    kept: &IdVec<ValueId, Kept>,
) -> Result<Vec<(String, Error)>> {
    let after = Graph::shapes_only(cut)?;
    let mut wrong: Vec<(String, Error)> = Vec::new();
    let mut correct = |id: NodeId, inferred: Result<Vec<Fact>>| -> Result<Vec<Fact>> {
        let node = &after.nodes[id];
        let expected: Vec<Option<Fact>> =
            node.outputs.iter().map(|v| expected(graph, channels, kept, after.name((*v)?))).collect();
        match inferred {
            Ok(mut facts) => {
                for (fact, expected) in facts.iter_mut().zip(&expected) {
                    let Some(expected) = expected.as_ref().filter(|e| e.shape != fact.shape) else {
                        continue;
                    };
                    let error = Error::new("after the cut a value has the wrong shape")
                        .expected(crate::tensor::show(&expected.shape))
                        .got(crate::tensor::show(&fact.shape));
                    wrong.push((node.name.clone(), error));
                    *fact = expected.clone();
                }
                Ok(facts)
            }
            // A constant target shape of the node that no longer fits: the node gets an explicit one.
            Err(error) => match expected.iter().cloned().collect::<Option<Vec<Fact>>>() {
                Some(facts) => {
                    wrong.push((node.name.clone(), error));
                    Ok(facts)
                }
                None => Err(error),
            },
        }
    };
    let facts = match Facts::infer_with(&after, &channels.facts.input_shapes, &mut correct) {
        Ok(facts) => facts,
        Err(error) if wrong.is_empty() => {
            return Ok(vec![(error.node_name().unwrap_or_default().to_owned(), error)]);
        }
        Err(_) => return Ok(wrong),
    };
    for (id, node) in after.nodes.iter_enumerated() {
        let data_dependent = facts.is_data_dependent_node(&after, id);
        if !data_dependent && node.outputs.iter().flatten().all(|&v| facts.is_constant(v)) {
            continue;
        }
        let differs = |(i, now): (usize, Tensor)| {
            let old = graph.nodes.position(|n| n.name == node.name);
            let before = old.and_then(|old| graph.nodes[old].inputs.get(i).copied().flatten());
            let before = before
                .filter(|&v| data_dependent || now.dtype.is_float() && kept[v].iter().all(Option::is_none));
            let before = before.and_then(|v| channels.facts.get(v)).and_then(|f| f.value.as_ref());
            before.is_some_and(|before| *before != now)
        };
        if shapes(&after, &facts, id).any(differs) {
            let error = match data_dependent {
                true => Error::new("after the cut a node that runs on the host takes another shape"),
                false => Error::new("after the cut a node takes another number computed from a shape"),
            };
            wrong.push((node.name.clone(), error));
        }
    }
    Ok(wrong)
}

/// Returns the expected shape and type of a computed value after the cut.
fn expected(graph: &Graph, channels: &Channels, kept: &IdVec<ValueId, Kept>, name: &str) -> Option<Fact> {
    let value = graph.value(name).filter(|&v| !channels.facts.is_constant(v))?;
    let before = channels.facts.get(value)?;
    let left =
        |(&n, k): (&usize, &Option<Vec<bool>>)| k.as_ref().map_or(n, |k| k.iter().filter(|&&k| k).count());
    let shape: Vec<usize> = before.shape.iter().zip(&kept[value]).map(left).collect();
    Some(before.with_shape(&shape))
}
