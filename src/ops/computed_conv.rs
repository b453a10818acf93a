//! Conv and ConvTranspose with computed weights (dynamic convolution, cross-correlation): labels of channels.
//!
//! Every output channel depends on all input channels of its group and on its own filter. Without constant weights that
//! could be zero for a removed channel, input channels of a group are removed together with the whole group or not at
//! all. Filters are removed one by one, unless whole groups are.

use crate::coupling::{ChannelLabels, FROZEN, Inexact, Label, Propagation, Role};
use crate::fact::Inputs;

/// The reason to keep channels that a convolution with computed weights sums up.
const SUMS: &str = "multiplies its input by weights that the network computes, all channels with each other";

/// Returns whether weights or bias are computed.
pub(super) fn is_computed(inputs: &Inputs) -> bool {
    [1, 2].iter().any(|&i| inputs.optional(i).is_some_and(|fact| fact.value.is_none()))
}

/// Labels the bias of a convolution, which may be computed, like the output channels `y`.
pub(super) fn label_bias(flow: &mut Propagation, y: &[Label]) {
    if flow.is_constant(2) {
        flow.label_constant(2, 0, y, Role::Producer);
    } else if flow.inputs.optional(2).is_some() {
        let bias = flow.axis_labels(2, 0);
        flow.unite_all(&bias, y);
    }
}

/// Propagates labels through a Conv with computed weights `[filters, inputs / groups, …]`.
pub(super) fn propagate(flow: &mut Propagation, groups: usize) {
    let filters = filters(flow, 0);
    let x = group_inputs(flow, groups);
    let outputs = filters.len() / groups;
    let y = if flow.coupling.classes.has_several(&x) {
        let of_groups: Vec<Label> = x.labels().iter().flat_map(|&group| vec![group; outputs]).collect();
        flow.unite_all(&of_groups, &filters);
        of_groups
    } else {
        flow.freeze(x.labels(), SUMS);
        for group in 1..groups {
            flow.unite_all(&filters[..outputs], &filters[group * outputs..(group + 1) * outputs]);
        }
        filters
    };
    label_bias(flow, &y);
    flow.set_output_along(0, 1, &y);
}

/// Propagates labels through a ConvTranspose with computed weights `[inputs, filters / groups, …]`.
pub(super) fn propagate_transposed(flow: &mut Propagation, groups: usize) {
    let x = group_inputs(flow, groups);
    let y = if groups == 1 {
        flow.freeze(x.labels(), SUMS);
        filters(flow, 1)
    } else {
        let rows = filters(flow, 0);
        let inputs = rows.len() / groups;
        let of_rows: Vec<Label> = (0..rows.len()).map(|row| x.at(&[row / inputs])).collect();
        flow.unite_all(&of_rows, &rows);
        if !flow.coupling.classes.has_several(&x) {
            flow.freeze(x.labels(), SUMS);
        }
        let outputs = flow.outputs[0].shape[1] / groups;
        (0..groups).flat_map(|group| vec![x.at(&[group]); outputs]).collect()
    };
    label_bias(flow, &y);
    flow.set_output_along(0, 1, &y);
}

/// Returns one label for each index of `axis` of the weights, after uniting those along all other axes.
fn filters(flow: &mut Propagation, axis: usize) -> Vec<Label> {
    let weights = flow.input_labels(1);
    let summed: Vec<usize> = (0..weights.shape.len()).filter(|&a| a != axis).collect();
    flow.mix(&weights, &summed, Inexact::Never, SUMS);
    flow.axis_labels(1, axis)
}

/// Unites the input channels of each group, and returns one label for each group.
fn group_inputs(flow: &mut Propagation, groups: usize) -> ChannelLabels {
    let x = flow.axis_labels(0, 1);
    let inputs = x.len() / groups;
    let firsts: Vec<Label> = (0..groups)
        .map(|group| {
            let own = &x[group * inputs..(group + 1) * inputs];
            let first = own.first().copied().unwrap_or(FROZEN);
            flow.unite_all(&vec![first; inputs], own);
            first
        })
        .collect();
    ChannelLabels::along(&[groups], 0, &firsts)
}
