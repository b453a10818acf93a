//! Selects the tensors whose second moments are gathered, and the kernels that sum them.

use std::collections::BTreeMap;

use super::gram::{GramKind, GramMatrix};
use super::layer_input::{InputView, LayerInput, input_view};
use super::layers::{LayerTaps, gram_input};
use super::profile::GramHeader;
use super::samples::Samples;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::kernels::moments::GramKernel as Kernel;

/// The most rows of a matrix, which has their square of elements, on the device and in the profile.
const MOST_ROWS: usize = 8192;

/// Inputs of layers whose second moments form one matrix.
///
/// Layers that share their weights have one matrix for all of their inputs.
#[derive(Clone, Debug)]
pub(super) struct GramTarget {
    /// Layers that consume the tensors with this layout.
    pub(super) consumers: Vec<String>,
    /// Tensors of the matrix, grouped by layout.
    pub(super) parts: Vec<GramPart>,
}

/// Tensors of one layout that are part of a matrix.
#[derive(Clone, Debug)]
pub(super) struct GramPart {
    /// Tensors whose moments are gathered.
    pub(super) values: Vec<ValueId>,
    /// Layout of the first tensor, for the sizes of the facts at hand.
    view: InputView,
}

/// The tensor, axis and windows of a layer's input.
type InputKey = (ValueId, usize, String);

/// Returns the inputs of a network whose second moments are gathered, which do not depend on the batch size.
pub(super) fn gram_targets(
    graph: &Graph,
    facts: &Facts,
    taps: &[LayerTaps],
    kind: GramKind,
) -> Vec<GramTarget> {
    let points = |layer: &LayerTaps| {
        gram_input(graph, facts, layer).map(|(value, axis)| InputView {
            value,
            axis,
            kind: LayerInput::Positions,
        })
    };
    // The inputs of each weight. Views of several sizes or kinds are different layers.
    let mut of_weights: BTreeMap<(ValueId, bool, usize), BTreeMap<InputKey, (InputView, Vec<String>)>> =
        BTreeMap::new();
    for layer in taps {
        let views = match kind {
            GramKind::None => [None, None],
            GramKind::Channel => [points(layer), None],
            GramKind::Patch => [None, input_view(graph, facts, layer)],
            GramKind::Both => [points(layer), input_view(graph, facts, layer)],
        };
        for (patches, view) in [false, true].into_iter().zip(views) {
            let Some(view) = view else { continue };
            let geometry = match view.kind {
                LayerInput::Patches(windows, 1) if windows.are_points() => String::new(),
                LayerInput::Patches(..) => format!("{:?}", view.kind),
                LayerInput::Rows | LayerInput::Positions => String::new(),
            };
            let channels = facts.shape(view.value)[view.axis];
            let of_weight = of_weights.entry((layer.weight, patches, channels)).or_default();
            let key = (view.value, view.axis, geometry);
            let (_, consumers) = of_weight.entry(key).or_insert_with(|| (view, vec![]));
            consumers.push(graph.nodes[layer.node].name.clone());
        }
    }
    // For one tensor, the matrix of single positions sorts before those of patches.
    let mut targets: BTreeMap<Vec<InputKey>, GramTarget> = BTreeMap::new();
    for inputs in of_weights.into_values() {
        let key: Vec<InputKey> = inputs.keys().cloned().collect();
        let parts = || GramTarget { consumers: vec![], parts: parts(facts, inputs.values().map(|i| i.0)) };
        let consumers = inputs.values().flat_map(|i| i.1.iter().cloned());
        let known = &mut targets.entry(key).or_insert_with(parts).consumers;
        let new: Vec<String> = consumers.filter(|name| !known.contains(name)).collect();
        known.extend(new);
    }
    targets.into_values().collect()
}

/// Joins inputs of equal layouts, if copies of them are smaller than their matrix.
fn parts(facts: &Facts, views: impl Iterator<Item = InputView>) -> Vec<GramPart> {
    let mut parts: Vec<GramPart> = Vec::new();
    for view in views {
        let (shape, side) = (facts.shape(view.value), |view: &InputView, shape: &[usize]| {
            view.taps() * shape[view.axis] / view.groups()
        });
        let fits = |part: &&mut GramPart| {
            let copies = (part.values.len() + 1) * shape[1..].iter().product::<usize>();
            InputView { value: part.view.value, ..view } == part.view
                && facts.shape(part.view.value) == shape
                && copies <= view.groups() * side(&view, shape).pow(2)
        };
        match parts.iter_mut().find(fits) {
            Some(part) => part.values.push(view.value),
            None => parts.push(GramPart { values: vec![view.value], view }),
        }
    }
    parts
}

impl GramTarget {
    /// Returns all tensors of the matrix.
    pub(super) fn values(&self) -> impl Iterator<Item = ValueId> {
        self.parts.iter().flat_map(|part| part.values.iter().copied())
    }

    /// Creates the target's matrix of zeros.
    ///
    /// # Errors
    /// A matrix of more than 8192 rows.
    pub(super) fn empty(&self, graph: &Graph, facts: &Facts, samples: Samples) -> Result<GramMatrix> {
        let (kernel, view) = (self.parts[0].kernel(facts, samples), self.parts[0].view);
        let rows = kernel.side() - 1;
        if rows > MOST_ROWS {
            return Err(Error::new("a Gram matrix is too large")
                .file(&graph.path)
                .node(graph.name(view.value))
                .expected(format!("at most {MOST_ROWS} rows"))
                .got(rows.to_string())
                .remedy(if view.taps() > 1 { "set `gram` to channel" } else { "set `gram` to none" }));
        }
        let taps = kernel.windows.taps();
        Ok(GramMatrix::new(
            graph.name(view.value).to_owned(),
            self.consumers.clone(),
            taps,
            [kernel.groups, rows],
        ))
    }
}

impl GramPart {
    /// Returns the kernel that sums the second moments of the tensors, joined along axis 1.
    ///
    /// A sample's rows of all tensors are consecutive then.
    pub(super) fn kernel(&self, facts: &Facts, samples: Samples) -> Kernel {
        let (one, tensors) = (self.view.kernel(facts.shape(self.view.value), samples), self.values.len());
        Kernel { batch: tensors * one.batch, slices: tensors * one.slices, ..one }
    }
}

/// Returns the entry of a matrix in a profile's header.
pub(super) fn header(gram: &GramMatrix) -> GramHeader {
    let (value, consumers) = (gram.value.clone(), gram.consumers.clone());
    GramHeader { value, consumers, taps: gram.taps, groups: gram.groups, rows: gram.rows }
}
