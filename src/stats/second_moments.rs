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

/// A tensor whose second moments are gathered, with its layout.
#[derive(Clone, Debug)]
pub(super) struct GramTarget {
    /// Tensor whose moments are gathered.
    pub(super) value: ValueId,
    /// Layers that consume the tensor with this layout.
    pub(super) consumers: Vec<String>,
    /// Layout, for the sizes of the facts at hand.
    view: InputView,
}

/// Returns the tensors of a network whose second moments are gathered, which do not depend on the batch size.
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
    // For one tensor, the matrix of single positions sorts before those of patches.
    let mut gram_targets: BTreeMap<(ValueId, usize, String), GramTarget> = BTreeMap::new();
    for layer in taps {
        let views = match kind {
            GramKind::None => [None, None],
            GramKind::Channel => [points(layer), None],
            GramKind::Patch => [None, input_view(graph, facts, layer)],
            GramKind::Both => [points(layer), input_view(graph, facts, layer)],
        };
        for view in views.into_iter().flatten() {
            let geometry = match view.kind {
                LayerInput::Patches(windows, 1) if windows.are_points() => String::new(),
                LayerInput::Patches(..) => format!("{:?}", view.kind),
                LayerInput::Rows | LayerInput::Positions => String::new(),
            };
            let fresh = || GramTarget { value: view.value, consumers: vec![], view };
            let target = gram_targets.entry((view.value, view.axis, geometry)).or_insert_with(fresh);
            let name = &graph.nodes[layer.node].name;
            if target.consumers.last() != Some(name) {
                target.consumers.push(name.clone());
            }
        }
    }
    gram_targets.into_values().collect()
}

impl GramTarget {
    /// Returns the kernel that sums the target's second moments.
    pub(super) fn kernel(&self, facts: &Facts, samples: Samples) -> Kernel {
        self.view.kernel(facts.shape(self.value), samples)
    }

    /// Creates the target's matrix of zeros.
    ///
    /// # Errors
    /// A matrix of more than 8192 rows.
    pub(super) fn empty(&self, graph: &Graph, kernel: &Kernel) -> Result<GramMatrix> {
        let rows = kernel.side() - 1;
        if rows > MOST_ROWS {
            return Err(Error::new("a Gram matrix is too large")
                .file(&graph.path)
                .node(graph.name(self.value))
                .expected(format!("at most {MOST_ROWS} rows"))
                .got(rows.to_string())
                .remedy(if self.view.taps() > 1 { "set `gram` to channel" } else { "set `gram` to none" }));
        }
        let taps = kernel.windows.taps();
        Ok(GramMatrix::new(
            graph.name(self.value).to_owned(),
            self.consumers.clone(),
            taps,
            [kernel.groups, rows],
        ))
    }
}

/// Returns the entry of a matrix in a profile's header.
pub(super) fn header(gram: &GramMatrix) -> GramHeader {
    let (value, consumers) = (gram.value.clone(), gram.consumers.clone());
    GramHeader { value, consumers, taps: gram.taps, groups: gram.groups, rows: gram.rows }
}
