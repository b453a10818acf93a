//! Which second moments are gathered, and where: the kernels that add them up on the device.

use std::collections::BTreeMap;

use super::gram::{Gram, GramKind};
use super::layers::{LayerTaps, gram_input, positions};
use super::profile::GramHeader;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::kernels::gram::Gram as Kernel;
use crate::kernels::window::Windows;

/// The most rows of a matrix: it has their square of elements, on the device and in the profile.
const MOST_ROWS: usize = 8192;

/// A tensor of which second moments are gathered, and how.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The value.
    pub(super) value: ValueId,
    /// The layers that read it so.
    pub(super) readers: Vec<String>,
    /// The axis of channels.
    axis: usize,
    /// The windows of one of its readers, where patches are wanted, for the sizes of the facts at hand; and the
    /// groups.
    patch: Option<(Windows, usize)>,
}

/// The sites of a network; the same for any batch size.
pub(super) fn sites(graph: &Graph, facts: &Facts, taps: &[LayerTaps], kind: GramKind) -> Vec<Site> {
    if kind == GramKind::None {
        return vec![];
    }
    let mut sites: BTreeMap<(ValueId, usize, Option<String>), Site> = BTreeMap::new();
    for layer in taps {
        let Some((value, axis)) = gram_input(graph, facts, layer) else { continue };
        let node = &graph.nodes[layer.node];
        let patch = match kind {
            GramKind::Patch => node.op.windows(&facts.inputs(graph, layer.node)),
            GramKind::None | GramKind::Channel => None,
        };
        let geometry = patch.map(|p| format!("{p:?}"));
        let fresh = || Site { value, readers: vec![], axis, patch };
        sites.entry((value, axis, geometry)).or_insert_with(fresh).readers.push(node.name.clone());
    }
    sites.into_values().collect()
}

impl Site {
    /// The call that adds its second moments up.
    pub(super) fn kernel(&self, facts: &Facts, batch: usize) -> Kernel {
        let [outer, channels, inner] = positions(facts.shape(self.value), self.axis, batch);
        let (windows, groups) = self.patch.unwrap_or((Windows::points([1, outer * inner]), 1));
        Kernel { batch, groups, channels, channels_last: inner == 1 && outer > 1, windows }
    }

    /// Its matrix before any image.
    ///
    /// # Errors
    /// One that is too large.
    pub(super) fn empty(&self, graph: &Graph, kernel: &Kernel) -> Result<Gram> {
        let rows = kernel.side() - 1;
        if rows > MOST_ROWS {
            return Err(Error::new("a Gram matrix is too large")
                .file(&graph.path)
                .node(graph.name(self.value))
                .expected(format!("at most {MOST_ROWS} rows"))
                .got(rows.to_string())
                .remedy(if self.patch.is_some() { "use --gram channel" } else { "use --gram none" }));
        }
        let taps = kernel.windows.taps();
        Ok(Gram::new(graph.name(self.value).to_owned(), self.readers.clone(), taps, [kernel.groups, rows]))
    }
}

/// What a profile's header says of a matrix.
pub(super) fn header(gram: &Gram) -> GramHeader {
    let (value, readers) = (gram.value.clone(), gram.readers.clone());
    GramHeader { value, readers, taps: gram.taps, groups: gram.groups, rows: gram.rows }
}
