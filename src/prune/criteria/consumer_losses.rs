//! Losses of the consumers of a channel: the common part of the second-order criteria.

use std::collections::HashMap;

use super::{Context, Missing};
use crate::coupling::Label;
use crate::graph::{NodeId, ValueId};
use crate::stats::{GramMatrix, filters, gram_input, layers};

/// The loss of every class of channels, summed over the consumers.
pub(super) type Losses = HashMap<Label, f64>;

/// Sums `of_consumer` over all layers, given the Gram matrix of the layer's input and Σw² per input channel.
pub(super) fn losses(
    context: &Context,
    of_consumer: fn(&GramMatrix, &[f64]) -> Option<Vec<f64>>,
) -> Result<Losses, Missing> {
    const NO_GRAM: Missing = Missing("no Gram matrices were gathered", "run `profile()` with `gram` channel");
    let (graph, channels) = (context.graph, context.channels);
    let grams = &context.profile.grams;
    let mut losses = Losses::new();
    // Layers that share their weights have a common matrix, which counts once.
    let mut counted: Vec<(ValueId, *const GramMatrix)> = Vec::new();
    for taps in layers(graph, &channels.facts) {
        let Some((value, axis)) = gram_input(graph, &channels.facts, &taps) else { continue };
        let Some(labels) = channels.labels[value].as_ref().filter(|d| d.varies(axis)) else { continue };
        let rows = context.channels.facts.shape(value)[axis];
        let of_channels = |g: &&GramMatrix| g.taps == 1 && g.groups == 1 && g.rows == rows;
        let gram =
            grams.iter().filter(of_channels).find(|g| g.consumers.contains(&graph.nodes[taps.node].name));
        let gram = gram.ok_or(NO_GRAM)?;
        let own = (taps.weight, std::ptr::from_ref(gram));
        if counted.contains(&own) {
            continue;
        }
        counted.push(own);
        let rows = filters(&channels.facts, &taps)
            .map_err(|_| Missing("its weights are not floats", "choose another criterion, such as l1"))?;
        let squares = squares(&rows, taps.layer.groups, gram.rows, taps_of(context, taps.node));
        let of_channels = of_consumer(gram, &squares)
            .ok_or(Missing("a Gram matrix has no inverse", "profile more images"))?;
        for (label, loss) in labels.firsts(axis).into_iter().zip(of_channels) {
            *losses.entry(channels.coupling.classes.find(label)).or_default() += loss;
        }
    }
    Ok(losses)
}

/// Returns the number of taps of a layer's kernel.
fn taps_of(context: &Context, node: NodeId) -> usize {
    let node = &context.graph.nodes[node];
    let layer = node.op.layer().filter(|layer| layer.gates.is_none());
    let weight = layer.and_then(|l| node.inputs.get(l.weight).copied().flatten());
    weight.map_or(1, |w| context.channels.facts.shape(w).iter().skip(2).product())
}

/// Returns Σw² of a layer's weights for each of the `channels` of the input tensor.
///
/// `rows` are the filters: inputs of their group × taps. Behind Flatten, several inputs belong to one channel; a
/// recurrent layer has several weights for each input.
fn squares(rows: &[Vec<f64>], groups: usize, channels: usize, taps: usize) -> Vec<f64> {
    let mut squares = vec![0.0; channels];
    let inputs = rows.first().map_or(0, Vec::len) / taps.max(1);
    let each = (inputs * groups / channels.max(1)).max(1);
    let per_group = rows.len() / groups.max(1);
    for (o, row) in rows.iter().enumerate() {
        for (i, weights) in row.chunks(taps.max(1)).enumerate() {
            let channel = (o / per_group.max(1) * inputs + i) / each;
            squares[channel] += weights.iter().map(|w| w * w).sum::<f64>();
        }
    }
    squares
}

#[cfg(test)]
mod tests {
    use super::squares;

    #[test]
    fn weights_belong_to_the_channels_that_they_multiply() {
        // Two filters, two inputs of two taps.
        let rows = vec![vec![1.0, 0.0, 2.0, 1.0], vec![0.0, 1.0, 0.0, 3.0]];
        assert_eq!(squares(&rows, 1, 2, 2), [2.0, 14.0]);
        // With two groups there are four inputs.
        assert_eq!(squares(&rows, 2, 4, 2), [1.0, 5.0, 1.0, 9.0]);
        // Behind Flatten, two inputs are one channel.
        assert_eq!(squares(&rows, 1, 2, 1), [2.0, 14.0]);
    }
}
