//! Which second moments are gathered, and where: the kernels that add them up on the device.

use std::collections::BTreeMap;

use super::gram::{Gram, GramKind};
use super::layers::{LayerTaps, gram_input};
use super::profile::GramHeader;
use super::reads::{Read, Seen, read};
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::kernels::moments::GramKernel as Kernel;

/// The most rows of a matrix: it has their square of elements, on the device and in the profile.
const MOST_ROWS: usize = 8192;

/// A tensor of which second moments are gathered, and how.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The value.
    pub(super) value: ValueId,
    /// The layers that read it so.
    pub(super) readers: Vec<String>,
    /// How, for the sizes of the facts at hand.
    read: Read,
}

/// The sites of a network; the same for any batch size.
pub(super) fn sites(graph: &Graph, facts: &Facts, taps: &[LayerTaps], kind: GramKind) -> Vec<Site> {
    let points = |layer: &LayerTaps| {
        gram_input(graph, facts, layer).map(|(value, axis)| Read { value, axis, seen: Seen::Points })
    };
    // Of one value, that of the channels comes first.
    let mut sites: BTreeMap<(ValueId, usize, String), Site> = BTreeMap::new();
    for layer in taps {
        let reads = match kind {
            GramKind::None => [None, None],
            GramKind::Channel => [points(layer), None],
            GramKind::Patch => [None, read(graph, facts, layer)],
            GramKind::Both => [points(layer), read(graph, facts, layer)],
        };
        for read in reads.into_iter().flatten() {
            let geometry = match read.seen {
                Seen::Patches(windows, 1) if windows.are_points() => String::new(),
                Seen::Patches(..) => format!("{:?}", read.seen),
                Seen::Rows | Seen::Points => String::new(),
            };
            let fresh = || Site { value: read.value, readers: vec![], read };
            let site = sites.entry((read.value, read.axis, geometry)).or_insert_with(fresh);
            let name = &graph.nodes[layer.node].name;
            if site.readers.last() != Some(name) {
                site.readers.push(name.clone());
            }
        }
    }
    sites.into_values().collect()
}

impl Site {
    /// The call that adds its second moments up.
    pub(super) fn kernel(&self, facts: &Facts, batch: usize) -> Kernel {
        self.read.kernel(facts.shape(self.value), batch)
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
                .remedy(if self.read.taps() > 1 { "use --gram channel" } else { "use --gram none" }));
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
