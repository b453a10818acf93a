//! Layers as consumers of channels, with the moments of their inputs.
//!
//! The moments give the loss that remains after channels are removed and the other weights are corrected by least
//! squares, and the corrected weights.

use std::collections::HashMap;

use faer::Mat;

use super::channels::Channels;
use crate::coupling::Label;
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId};
use crate::lsq::{EliminationProblem, Loss, SecondMoments, compensate, eliminate, select};
use crate::stats::{Filters, GramMatrix, InputView, LayerTaps, Profile, input_view, layers, visible_share};
use crate::tensor::Tensor;

/// The layers of a network as consumers of channels.
#[derive(Debug)]
pub struct Consumers<'a> {
    graph: &'a Graph,
    channels: &'a Channels,
    grams: HashMap<NodeId, &'a GramMatrix>,
    consumers: Vec<ConsumerLayer>,
}

/// A layer that consumes labelled channels.
///
/// Layers that share their weights and moments are one.
#[derive(Debug)]
struct ConsumerLayer {
    taps: LayerTaps,
    /// All nodes of the layer.
    nodes: Vec<NodeId>,
    read: InputView,
    /// The class of each input channel.
    classes: Vec<Label>,
}

/// A layer's weights and bias, corrected for the loss of removed channels.
#[derive(Debug)]
pub struct Compensated {
    /// The nodes of the layer, which share their weights.
    pub nodes: Vec<NodeId>,
    /// The corrected weights, shaped like the original ones.
    pub weight: Tensor,
    /// The corrected bias, one number per filter.
    pub bias: Tensor,
}

impl<'a> Consumers<'a> {
    /// Finds the consumers of a network; `None` if the profile lacks the moments of a layer's patches.
    pub fn of(graph: &'a Graph, channels: &'a Channels, profile: &'a Profile) -> Option<Self> {
        let facts = &channels.facts;
        let mut grams: HashMap<NodeId, &GramMatrix> = HashMap::new();
        let mut consumers: Vec<ConsumerLayer> = Vec::new();
        for taps in layers(graph, facts) {
            // The arguments of a recurrent layer's gates are linear in its input.
            let linear = taps.layer.plain || taps.layer.gates.is_some();
            let Some(read) = input_view(graph, facts, &taps).filter(|_| linear) else { continue };
            let Some(labelled) = channels.labels[read.value].as_ref().filter(|d| d.varies(read.axis)) else {
                continue;
            };
            let classes: Vec<Label> =
                labelled.firsts(read.axis).into_iter().map(|l| channels.coupling.classes.find(l)).collect();
            let rows = classes.len() / read.groups() * read.taps();
            let fits = |gram: &&GramMatrix| gram.rows == rows && gram.groups == read.groups();
            // A layer with strides may have moments of all positions first, then those of its own patches.
            let mut of_layer =
                profile.grams.iter().filter(|g| g.consumers.contains(&graph.nodes[taps.node].name));
            let gram = of_layer.rfind(fits)?;
            grams.insert(taps.node, gram);
            let bias = |taps: &LayerTaps| {
                taps.layer.bias.and_then(|at| graph.nodes[taps.node].inputs.get(at).copied().flatten())
            };
            let same = |layer: &&mut ConsumerLayer| {
                let (own, other) = (&layer.taps, &taps);
                (own.weight, bias(own), &own.scale) == (other.weight, bias(other), &other.scale)
                    && layer.classes == classes
                    && std::ptr::eq(grams[&layer.taps.node], gram)
            };
            if let Some(layer) = consumers.iter_mut().find(same) {
                layer.nodes.push(taps.node);
                continue;
            }
            // A depthwise layer couples each input channel to its output channel: there is no choice among them.
            if read.groups() < classes.len() || classes.len() == 1 {
                consumers.push(ConsumerLayer { nodes: vec![taps.node], taps, read, classes });
            }
        }
        Some(Self { graph, channels, grams, consumers })
    }

    fn gram(&self, layer: &ConsumerLayer) -> Option<&GramMatrix> {
        self.grams.get(&layer.taps.node).copied()
    }

    /// Returns the filters of a layer as matrices.
    fn filters(&self, layer: &ConsumerLayer) -> Result<Filters> {
        let fact = self.channels.facts.get(layer.taps.weight).and_then(|f| f.value.as_ref());
        let weight = fact.ok_or_else(|| Error::new("the weights are not constant").internal())?;
        let bias =
            layer.taps.layer.bias.and_then(|at| self.graph.nodes[layer.taps.node].inputs.get(at).copied()?);
        let bias = bias.and_then(|v| self.channels.facts.get(v)).and_then(|f| f.value.as_ref());
        Filters::of(&layer.taps.layer, weight, bias)
    }

    /// Returns the elimination curve of a dependency group: the order of removal and the loss of each step.
    ///
    /// The loss is the lost share of the output's variance after the best linear correction of the other weights,
    /// summed over the consumers. `None` if no layer with moments consumes the channels.
    ///
    /// # Errors
    /// Weights that are not floats.
    pub fn curve(&self, coupled: &[usize]) -> Result<Option<Vec<Loss>>> {
        let gone = self.channels.roots(&self.channels.gone);
        let place: HashMap<Label, usize> =
            coupled.iter().enumerate().map(|(i, &k)| (self.channels.coupled[k].root, i)).collect();
        let mut problems = Vec::new();
        for layer in &self.consumers {
            if !layer.classes.iter().any(|c| place.contains_key(c)) {
                continue;
            }
            let Some(gram) = self.gram(layer) else { continue };
            let filters = self.filters(layer)?;
            for group in 0..layer.read.groups() {
                let left: Vec<usize> = classes(layer, group)
                    .enumerate()
                    .filter(|(_, c)| !gone.contains(c))
                    .map(|(i, _)| i)
                    .collect();
                let moments = SecondMoments::of(gram.triangle(group), gram.rows).select(&left);
                let weights = weights(layer, &filters, group);
                let weights = select(&weights, &left, &(0..weights.ncols()).collect::<Vec<_>>());
                let variance = variance(&moments, &weights);
                if !(variance > 0.0 && variance.is_finite()) {
                    continue;
                }
                let share = variance.sqrt().recip();
                let weights = Mat::from_fn(weights.nrows(), weights.ncols(), |i, o| weights[(i, o)] * share);
                let mut blocks = vec![vec![]; coupled.len()];
                for (element, class) in classes(layer, group).filter(|c| !gone.contains(c)).enumerate() {
                    if let Some(&set) = place.get(&class) {
                        blocks[set].push(element);
                    }
                }
                problems.extend(EliminationProblem::new(&moments, &weights, blocks));
            }
        }
        Ok((!problems.is_empty()).then(|| eliminate(&mut problems, coupled.len())))
    }

    /// Returns the first layer that consumes one of these coupled channels.
    pub fn first(&self, coupled: &[usize]) -> Option<NodeId> {
        let roots: Vec<Label> = coupled.iter().map(|&k| self.channels.coupled[k].root).collect();
        let reads = |layer: &&ConsumerLayer| layer.classes.iter().any(|c| roots.contains(c));
        self.consumers.iter().find(reads).map(|layer| layer.taps.node)
    }

    /// Returns the consumers of these coupled channels, with the other weights corrected by least squares.
    ///
    /// # Errors
    /// Weights that are not floats.
    pub fn without(&self, coupled: &[usize]) -> Result<Vec<Compensated>> {
        let gone: Vec<Label> = coupled.iter().map(|&k| self.channels.coupled[k].root).collect();
        let before = self.channels.roots(&self.channels.gone);
        let mut all = Vec::new();
        for layer in &self.consumers {
            if !layer.classes.iter().any(|c| gone.contains(c)) {
                continue;
            }
            let Some(gram) = self.gram(layer) else { continue };
            let mut filters = self.filters(layer)?;
            let seen = visible_share(self.graph, &self.channels.facts, &layer.taps, &layer.read);
            for group in 0..layer.read.groups() {
                let moments = SecondMoments::of(gram.triangle(group), gram.rows);
                let goes: Vec<bool> = classes(layer, group).map(|c| gone.contains(&c)).collect();
                let (goes, mut stays): (Vec<usize>, Vec<usize>) = (0..goes.len()).partition(|&i| goes[i]);
                let left: Vec<bool> = classes(layer, group).map(|c| !before.contains(&c)).collect();
                stays.retain(|&i| left[i]);
                let by = compensate(&moments, &stays, &goes);
                correct(layer, &mut filters, group, (&moments, &by), (&stays, &goes), seen);
            }
            let facts = &self.channels.facts;
            let Some(old) = facts.get(layer.taps.weight).and_then(|f| f.value.as_ref()) else { continue };
            all.push(Compensated {
                nodes: layer.nodes.clone(),
                weight: filters.weights(&layer.taps.layer, old)?,
                bias: Tensor::from_f64(old.dtype, &[filters.bias.len()], &filters.bias),
            });
        }
        Ok(all)
    }
}

/// Returns the class of each element of a group's patch.
fn classes(layer: &ConsumerLayer, group: usize) -> impl Iterator<Item = Label> + '_ {
    let of_group = layer.classes.len() / layer.read.groups();
    let taps = layer.read.taps();
    layer.classes[group * of_group..][..of_group].iter().flat_map(move |&c| std::iter::repeat_n(c, taps))
}

/// Returns the weights of a group as a matrix: elements of a patch × filters.
///
/// If the input is seen as positions ([`LayerInput::Positions`](crate::stats::LayerInput)), every tap is a column.
fn weights(layer: &ConsumerLayer, filters: &Filters, group: usize) -> Mat<f64> {
    let makes = filters.rows.len() / layer.read.groups();
    let own = &filters.rows[group * makes..][..makes];
    let scale = |o: usize| layer.taps.scale.as_ref().map_or(1.0, |s| s[group * makes + o]);
    let elements = layer.classes.len() / layer.read.groups() * layer.read.taps();
    let each = own.first().map_or(1, Vec::len) / elements.max(1);
    Mat::from_fn(elements, makes * each, |i, o| own[o / each][i * each + o % each] * scale(o / each))
}

/// Returns the scatter of all outputs: Σ over outputs of Σ (y − mean)².
fn variance(moments: &SecondMoments, weights: &Mat<f64>) -> f64 {
    let products = &moments.scatter * weights;
    (0..weights.nrows())
        .flat_map(|i| (0..weights.ncols()).map(move |o| (i, o)))
        .map(|at| products[at] * weights[at])
        .sum()
}

/// The number of filters that are corrected at once, which bounds the copy of their columns.
const AT_ONCE: usize = 64;

/// Adds the correction for removed elements to the kept ones and to the bias, and zeroes the removed ones.
fn correct(
    layer: &ConsumerLayer,
    filters: &mut Filters,
    group: usize,
    (moments, by): (&SecondMoments, &Mat<f64>),
    (stays, goes): (&[usize], &[usize]),
    seen: f64,
) {
    let makes = filters.rows.len() / layer.read.groups();
    let elements = layer.classes.len() / layer.read.groups() * layer.read.taps();
    for first in (0..makes).step_by(AT_ONCE) {
        let some = group * makes + first..group * makes + makes.min(first + AT_ONCE);
        let lost = filters.columns(some.clone(), elements, goes);
        let more = by * &lost;
        let each = lost.ncols() / some.len();
        for o in 0..lost.ncols() {
            let mean = |places: &[usize], of: &Mat<f64>| -> f64 {
                places.iter().enumerate().map(|(i, &p)| moments.mean[p] * of[(i, o)]).sum()
            };
            filters.bias[some.start + o / each] += (mean(goes, &lost) - mean(stays, &more)) * seen;
        }
        let before = filters.columns(some.clone(), elements, stays);
        filters.put(some.clone(), elements, stays, &(before + more));
        filters.put(some, elements, goes, &Mat::zeros(lost.nrows(), lost.ncols()));
    }
}
