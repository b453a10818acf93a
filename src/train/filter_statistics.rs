//! Statistics of the gradients of each layer's filters through a training.

use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::kernels::optimizer::{FILTER_SUMS, FilterLayout};
use crate::ops::Layer;
use crate::plan::{BufferId, Operand};
use crate::stats::layers;

/// A layer whose weights a training changes, with their place in the plan.
#[derive(Clone, Debug)]
pub(super) struct ObservedLayer {
    pub(super) node: String,
    /// The buffer of the weights as the layer reads them.
    pub(super) weights: BufferId,
    pub(super) layout: FilterLayout,
}

impl ObservedLayer {
    /// Returns the layers of a network whose weights are in buffers, by the places of all values.
    pub(super) fn all(
        graph: &Graph,
        facts: &Facts,
        place: impl Fn(crate::graph::ValueId) -> Option<Operand>,
    ) -> Vec<Self> {
        let taps = layers(graph, facts).into_iter();
        let of = taps.filter_map(|taps| {
            let layout = filter_layout(&taps.layer, facts.shape(taps.weight))?;
            match place(taps.weight)? {
                Operand::Buffer(weights) => {
                    Some(Self { node: graph.nodes[taps.node].name.clone(), weights, layout })
                }
                Operand::Constant(_) => None,
            }
        });
        of.collect()
    }
}

/// Returns the layout of a layer's filters in weights of this shape; `None` for recurrent layers.
pub fn filter_layout(layer: &Layer, weights: &[usize]) -> Option<FilterLayout> {
    let (axis, filters) = (layer.filters, *weights.get(layer.filters)?);
    let product = |part: &[usize]| part.iter().product::<usize>();
    let (before, inner) = (product(&weights[..axis]), product(&weights[axis + 1..]));
    let groups = if layer.transposed { layer.groups } else { 1 };
    let fits = layer.gates.is_none() && before.is_multiple_of(groups) && filters > 0 && inner > 0;
    fits.then(|| FilterLayout { groups, outer: before / groups, filters, inner })
}

/// Sums over steps of a training for each filter of a layer, of the gradient g and the weights w.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterSteps {
    /// The name of the layer's node.
    pub node: String,
    /// The number of weights of a filter.
    pub size: usize,
    /// The sums of each filter: Σg, Σg², Σ|g|, Σ−wg and Σ|wg|.
    pub sums: Vec<[f64; FILTER_SUMS]>,
}
