//! Repair of pruned networks without training: layer-wise least squares, BatchNorm recalibration, bias correction.
//!
//! [`repair`] visits the layers from the input to the output, with the original and the pruned network side by side in
//! one graph (`paired_graph`). It refits the weights of every layer whose input changed (`fit`), so that later layers
//! compensate the errors of earlier ones. It needs images without labels: the targets are the original's values. Sums
//! over all images are accumulated on the device (`activation_cache`); the systems that remain are small and are solved
//! in `f64` ([`crate::lsq`]).

mod activation_cache;
mod clamp;
mod fit;
mod paired_graph;
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::coupling::Label;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::flatten::flatten;
use crate::graph::{Graph, NodeId, Sizes, ValueId};
use crate::observer::{Observer, Stage, advance, staged};
use crate::onnx::Model;
use crate::prune::{Channels, Editor};
use crate::stats::Samples;
use crate::tensor::{SampleShape, Tensor};

use activation_cache::ActivationCache;
pub use fit::{Constrain, FilterSystem, Refit};
use paired_graph::{PairedGraph, RefitTarget, Replaced};
pub use probe::{Probed, probe};

/// The method of repair after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Repair {
    /// No repair of any layer.
    None,
    /// Bias correction: the mean of each layer's output is restored.
    Bias,
    /// BatchNorm recalibration: mean and standard deviation of each layer's output are restored.
    ///
    /// Layers with a folded BatchNormalization are recalibrated too.
    Bn,
    /// Least-squares reconstruction: all weights of the layers behind the cut are fitted to the original's outputs.
    Full,
}

/// The name of the option's value.
impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Bias => "bias",
            Self::Bn => "bn",
            Self::Full => "full",
        })
    }
}

/// New constants of a network after its repair.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    constants: BTreeMap<String, Tensor>,
    /// New inputs of nodes: the node's position, the input, the constant.
    inputs: Vec<(usize, usize, Tensor)>,
    /// The refitted layers, from the network's input to its output.
    pub refits: Vec<Refit>,
    /// Layers that were cut and not repaired, with the reason.
    pub skipped: Vec<(String, &'static str)>,
}

/// Preprocessed calibration samples in one buffer, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// The elements of all samples.
    pub data: Arc<Vec<f32>>,
    /// The shapes of a sample's arrays.
    pub sample: SampleShape,
    /// The number of samples.
    pub count: usize,
}

/// Refits the layers behind the channels `removed`, from the network's input to its output.
///
/// # Errors
/// A device that fails, images that lead to weights that are not finite, or an
/// observer that ends the operation ([`crate::ErrorKind::Interrupted`]).
pub fn repair(
    graph: &Graph,
    channels: &Channels,
    removed: &BTreeSet<usize>,
    how: Repair,
    (device, images): (&Device, &Images),
    observer: &mut dyn Observer,
) -> Result<Repaired> {
    if how == Repair::None || removed.is_empty() {
        return Ok(Repaired::default());
    }
    let removed = channels.roots(removed);
    let change = Change { removed: &removed, replaced: &Replaced::new(), how };
    refit_targets(graph, channels, &change, (device, images), &mut None, observer)
}

/// Refits a network with other constants to the original's outputs, from the network's input to its output.
///
/// The least-squares solution of a layer with a replaced weight is passed to `constrain`, then the layer's bias restores the means of its outputs. Other layers are refitted freely. Replaced constants of layers
/// that cannot be refitted are part of the result as they are.
///
/// # Errors
/// The conditions of [`repair`].
pub fn refit_constrained(
    graph: &Graph,
    channels: &Channels,
    replaced: &BTreeMap<ValueId, Tensor>,
    (device, images): (&Device, &Images),
    constrain: &mut Constrain<'_>,
    observer: &mut dyn Observer,
) -> Result<Repaired> {
    let change = Change { removed: &BTreeSet::new(), replaced, how: Repair::Full };
    let mut repaired =
        refit_targets(graph, channels, &change, (device, images), &mut Some(constrain), observer)?;
    for (&value, tensor) in replaced {
        repaired.constants.entry(graph.name(value).to_owned()).or_insert_with(|| tensor.clone());
    }
    Ok(repaired)
}

/// The difference between the original and the network that is repaired.
struct Change<'a> {
    removed: &'a BTreeSet<Label>,
    replaced: &'a Replaced,
    how: Repair,
}

/// Refits all targets of a changed network.
fn refit_targets(
    graph: &Graph,
    channels: &Channels,
    change: &Change,
    (device, images): (&Device, &Images),
    constrain: &mut Option<&mut Constrain<'_>>,
    observer: &mut dyn Observer,
) -> Result<Repaired> {
    let how = change.how;
    let (facts, samples) = repair_facts((graph, channels), images)?;
    let of = (change.removed, change.replaced);
    let mut paired = PairedGraph::of(graph, (&facts, samples), channels, of, how)?;
    let mut cache = ActivationCache::new(graph, images, samples);
    let mut repaired = Repaired { skipped: std::mem::take(&mut paired.skipped), ..Repaired::default() };
    staged(observer, Stage::Repairing, paired.targets.len(), |observer| {
        for at in 0..paired.targets.len() {
            let (target, following) = (&paired.targets[at], &paired.targets[at + 1..]);
            let wanted = fit::wanted(&paired, target, how);
            let node = || graph.nodes[target.taps.node].name.clone();
            let clamped = |s: &RefitTarget| s.clamped.filter(|_| how == Repair::Full);
            let values = |s: &RefitTarget| [s.x, s.y, s.own].into_iter().chain(clamped(s));
            let later: Vec<ValueId> =
                clamped(target).into_iter().chain(following.iter().flat_map(values)).collect();
            // The target's own output is not cached yet: the refit changes it.
            let sums =
                cache.visit((&paired.graph, &paired.facts, device), &wanted, &[target.x, target.y], &later);
            let sums = sums.map_err(|e| e.node(node()).file(&graph.path))?;
            let again =
                |paired: &PairedGraph, wanted| cache.sum((&paired.graph, &paired.facts, device), wanted);
            let weight = target.taps.weight;
            let constrain = constrain.as_deref_mut().filter(|_| change.replaced.contains_key(&weight));
            let refit = fit::refit(graph, &mut paired, at, (&sums, how), &again, constrain);
            repaired.refits.push(refit.map_err(|e| e.file(&graph.path))?);
            advance(observer, at + 1)?;
        }
        Ok(())
    })?;
    repaired.collect(graph, &paired, &facts);
    Ok(repaired)
}

/// The maximum number of elements of activations in one run.
const MOST_ELEMENTS: usize = 1 << 26;

/// Infers facts at a batch size for which the largest tensors of both networks fit into [`MOST_ELEMENTS`].
fn repair_facts((graph, channels): (&Graph, &Channels), images: &Images) -> Result<(Facts, Samples)> {
    // Free dimensions take the size of the samples.
    let sizes = Sizes::Sample(images.sample.clone());
    let at = |batch: Option<usize>| Facts::infer(graph, &graph.input_shapes(batch, &sizes)?);
    let with = |facts: Facts, mixed| {
        let samples = Samples::of(&facts, mixed);
        (facts, samples)
    };
    let mixed = channels.mixes_samples(graph)?;
    if !takes_batches(graph) || mixed {
        return Ok(with(at(None)?, mixed));
    }
    let one = at(Some(1))?;
    let largest = graph
        .values
        .ids()
        .filter(|&v| !one.is_constant(v) && !one.is_data_dependent(v))
        .map(|v| one.shape(v).iter().product::<usize>())
        .max();
    let fits = (MOST_ELEMENTS / (8 * largest.unwrap_or(1).max(1))).clamp(1, 64);
    Ok(with(at(Some(1 << fits.ilog2()))?, false))
}

impl Repaired {
    /// Returns true if no constant changed.
    pub fn is_empty(&self) -> bool {
        self.constants.is_empty() && self.inputs.is_empty()
    }

    /// Takes the new weights out of the paired graph.
    ///
    /// The bias of a layer without one is subtracted from the mean of its own BatchNormalization, if there is one.
    fn collect(&mut self, graph: &Graph, paired: &PairedGraph, facts: &Facts) {
        for target in &paired.targets {
            let node = &graph.nodes[target.taps.node];
            let new = |v: ValueId| paired.graph.values[v].constant.clone();
            if let Some(weight) = new(target.weight) {
                self.constants.insert(graph.name(target.taps.weight).to_owned(), weight);
            }
            let (Some(at), Some(bias)) = (target.taps.layer.bias, target.bias.and_then(new)) else {
                continue;
            };
            let own = node.inputs.get(at).copied().flatten();
            let stored = own.filter(|&v| {
                facts.shape(v) == bias.shape
                    && graph.values[v].consumers.len() == 1
                    && graph.values[v].producer.is_none()
            });
            let mean = self.mean(graph, facts, target.taps.node).filter(|_| own.is_none());
            match (stored, mean) {
                (Some(value), _) => {
                    self.constants.insert(graph.name(value).to_owned(), bias);
                }
                (None, Some((value, old))) => {
                    let shifted: Vec<f64> =
                        old.to_f64().iter().zip(bias.to_f64()).map(|(m, b)| m - b).collect();
                    let tensor = Tensor::from_f64(old.dtype, &old.shape, &shifted);
                    self.constants.insert(graph.name(value).to_owned(), tensor);
                }
                (None, None) => self.inputs.push((node.position, at, bias)),
            }
        }
        for fold in &paired.biases {
            self.inputs.push((graph.nodes[fold.node].position, fold.input, fold.bias.clone()));
        }
    }

    /// Returns the mean of the BatchNormalization that is the only consumer of a layer, unless it is shared.
    fn mean(&self, graph: &Graph, facts: &Facts, layer: NodeId) -> Option<(ValueId, Tensor)> {
        let output = graph.nodes[layer].outputs.first().copied().flatten()?;
        let next = &graph.nodes[graph.only_consumer(output)?];
        let mean = next.inputs.get(3).copied().flatten().filter(|_| next.op_type == "BatchNormalization")?;
        let alone = graph.values[mean].consumers.len() == 1 && graph.values[mean].producer.is_none();
        Some((mean, facts.get(mean)?.value.clone()?)).filter(|_| alone)
    }

    /// Returns the model with the new constants; no shape changes.
    ///
    /// # Errors
    /// A model whose functions and branches cannot be flattened.
    pub fn apply(&self, model: &Model) -> Result<Model> {
        if self.is_empty() {
            return Ok(model.clone());
        }
        let mut repaired = flatten(model)?.into_owned();
        let mut editor = Editor::new(&mut repaired.proto);
        for (name, tensor) in &self.constants {
            editor.constant(name, crate::onnx::tensor::encode(name, tensor));
        }
        for (position, input, tensor) in &self.inputs {
            editor.input(*position, *input, tensor);
        }
        editor.finish();
        Ok(repaired)
    }
}
