//! The view of its input in which a layer is linear, and whose second moments determine its least squares.

use super::layers::{LayerTaps, gram_input, positions};
use super::samples::Samples;
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::kernels::moments::GramKernel as Kernel;
use crate::kernels::window::Windows;

/// The vectors of its input in which a layer's outputs are linear, position by position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LayerInput {
    /// Patches of a convolution's windows, and the number of groups.
    Patches(Windows, usize),
    /// Elements along the last axis, which may be flattened.
    Rows,
    /// Channels at each position.
    ///
    /// A transposed or 3-D convolution, or a Gemm of very many flattened elements, depends on several positions at
    /// once. But a linear combination that replaces a channel at every position also replaces it there.
    Positions,
}

/// A view of the tensor that a layer consumes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputView {
    /// Tensor that the layer consumes.
    pub value: ValueId,
    /// Channel axis of the tensor.
    pub axis: usize,
    /// Vectors that the layer is linear in.
    pub kind: LayerInput,
}

/// The most elements along a flattened axis for moments of single elements: no calibration set has images for more.
const MOST_FLAT: usize = 2048;

/// The most elements of a patch: the matrix has their square.
const MOST_ROWS: usize = 8192;

/// Returns the view in which a layer is linear; `None` if its input has no channels.
pub fn input_view(graph: &Graph, facts: &Facts, taps: &LayerTaps) -> Option<InputView> {
    let node = &graph.nodes[taps.node];
    let input = taps.input?;
    if let Some((windows, groups)) = node.op.windows(&facts.inputs(graph, taps.node)) {
        let channels = facts.shape(input).get(1)? / groups;
        if groups > 1 || channels * windows.taps() <= MOST_ROWS {
            return Some(InputView { value: input, axis: 1, kind: LayerInput::Patches(windows, groups) });
        }
    }
    if taps.layer.groups > 1 {
        return None;
    }
    let (value, axis) = gram_input(graph, facts, taps)?;
    let last = facts.shape(input).len() - 1;
    let is_matrix = facts.shape(taps.weight).len() == 2 && taps.layer.groups == 1;
    if is_matrix && (value == input || facts.shape(input)[last] <= MOST_FLAT) {
        return Some(InputView { value: input, axis: last, kind: LayerInput::Rows });
    }
    Some(InputView { value, axis, kind: LayerInput::Positions })
}

/// Returns the share of a filter's weights per channel that contribute to one output.
///
/// The share is below 1 for transposed convolutions whose windows do not all overlap.
pub fn visible_share(graph: &Graph, facts: &Facts, taps: &LayerTaps, view: &InputView) -> f64 {
    let positions = |v: ValueId| facts.shape(v).iter().skip(2).product::<usize>().max(1) as f64;
    match graph.nodes[taps.node].outputs.first().copied().flatten() {
        Some(output) if taps.layer.transposed => positions(view.value) / positions(output),
        _ => 1.0,
    }
}

impl InputView {
    /// Returns the number of channel groups.
    pub fn groups(&self) -> usize {
        match self.kind {
            LayerInput::Patches(_, groups) => groups,
            LayerInput::Rows | LayerInput::Positions => 1,
        }
    }

    /// Returns the elements of a patch per channel.
    pub fn taps(&self) -> usize {
        match self.kind {
            LayerInput::Patches(windows, _) => windows.taps(),
            LayerInput::Rows | LayerInput::Positions => 1,
        }
    }

    /// Returns the kernel that sums second moments of a tensor of this shape.
    ///
    /// If channels are last, all rows of a part are the positions of one image.
    pub fn kernel(&self, shape: &[usize], samples: Samples) -> Kernel {
        let [outer, channels, inner] = positions(shape, self.axis);
        let rows = outer / samples.parts;
        let (windows, groups, channels_last) = match self.kind {
            LayerInput::Patches(windows, groups) => (windows, groups, false),
            _ if inner == 1 && rows > 1 => (Windows::points([1, rows]), 1, true),
            LayerInput::Rows | LayerInput::Positions => (Windows::points([1, inner]), 1, false),
        };
        let batch = if channels_last { samples.parts } else { outer };
        let slices = batch / samples.parts;
        Kernel { batch, samples: samples.count, slices, groups, channels, channels_last, windows }
    }
}
