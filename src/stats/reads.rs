//! How a layer reads its input: of which moments its weights are the least squares.

use super::layers::{LayerTaps, gram_input, positions};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::kernels::moments::GramKernel as Kernel;
use crate::kernels::window::Windows;

/// What a layer's outputs are linear in, position by position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// The patches of a convolution's windows, in groups.
    Patches(Windows, usize),
    /// The elements along the last axis, flattened ones too.
    Rows,
    /// The channels at each position: not all that a transposed or 3-D convolution sees, or a Gemm behind very many
    /// flattened elements, but what stands in for a channel at every position stands in for it there.
    Points,
}

/// The tensor that a layer reads, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Read {
    /// The value.
    pub value: ValueId,
    /// Its axis of channels.
    pub axis: usize,
    /// What is seen of it.
    pub seen: Seen,
}

/// The most elements along a flattened axis whose own moments are taken: no calibration set has images for more.
const MOST_FLAT: usize = 2048;

/// The most elements of a patch: the matrix has their square.
const MOST_ROWS: usize = 8192;

/// How a layer reads its input; `None` where that is no tensor of channels.
pub fn read(graph: &Graph, facts: &Facts, taps: &LayerTaps) -> Option<Read> {
    let node = &graph.nodes[taps.node];
    let input = taps.input?;
    if let Some((windows, groups)) = node.op.windows(&facts.inputs(graph, taps.node)) {
        let channels = facts.shape(input).get(1)? / groups;
        if groups > 1 || channels * windows.taps() <= MOST_ROWS {
            return Some(Read { value: input, axis: 1, seen: Seen::Patches(windows, groups) });
        }
    }
    if taps.layer.groups > 1 {
        return None;
    }
    let (value, axis) = gram_input(graph, facts, taps)?;
    let last = facts.shape(input).len() - 1;
    let is_matrix = facts.shape(taps.weight).len() == 2 && taps.layer.groups == 1;
    if is_matrix && (value == input || facts.shape(input)[last] <= MOST_FLAT) {
        return Some(Read { value: input, axis: last, seen: Seen::Rows });
    }
    Some(Read { value, axis, seen: Seen::Points })
}

/// How many of a filter's weights for a channel an output sees, as a share of all: less than all where windows of a
/// transposed convolution stand beside each other.
pub fn share_seen(graph: &Graph, facts: &Facts, taps: &LayerTaps, read: &Read) -> f64 {
    let positions = |v: ValueId| facts.shape(v).iter().skip(2).product::<usize>().max(1) as f64;
    match graph.nodes[taps.node].outputs.first().copied().flatten() {
        Some(output) if taps.layer.transposed => positions(read.value) / positions(output),
        _ => 1.0,
    }
}

impl Read {
    /// Groups of channels that are read apart.
    pub fn groups(&self) -> usize {
        match self.seen {
            Seen::Patches(_, groups) => groups,
            Seen::Rows | Seen::Points => 1,
        }
    }

    /// Elements of a patch for each channel.
    pub fn taps(&self) -> usize {
        match self.seen {
            Seen::Patches(windows, _) => windows.taps(),
            Seen::Rows | Seen::Points => 1,
        }
    }

    /// The call that adds second moments up, of a tensor of this shape.
    pub fn kernel(&self, shape: &[usize], batch: usize) -> Kernel {
        let [outer, channels, inner] = positions(shape, self.axis, batch);
        let (windows, groups) = match self.seen {
            Seen::Patches(windows, groups) => (windows, groups),
            Seen::Rows | Seen::Points => (Windows::points([1, outer * inner]), 1),
        };
        Kernel { batch, groups, channels, channels_last: inner == 1 && outer > 1, windows }
    }
}
