//! What brings accuracy back without training.
//!
//! [`repair`] walks the network from its input to its output, the original and the one that is being cut side by side
//! (`paired`), and finds the weights of every layer anew whose input changed (`fit`), so that later layers make up
//! for what earlier ones lost. It needs images, no labels: only what the original says of them. Sums over all images
//! are added up on the device (`walk`); what is solved here is small and `f64` ([`crate::lsq`]).

mod activation_cache;
mod clamp;
mod fit;
mod paired_graph;
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::devices::Device;
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::flatten::flatten;
use crate::graph::{Graph, Sizes, ValueId};
use crate::observer::{Observer, Stage, advance, staged};
use crate::onnx::Model;
use crate::prune::{Channels, Editor};
use crate::stats::images_mix;
use crate::tensor::Tensor;

use activation_cache::ActivationCache;
pub use fit::Refit;
use paired_graph::{PairedGraph, RefitTarget};
pub use probe::{Probed, probe};

/// What is repaired after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Repair {
    /// Nothing.
    None,
    /// The mean of what was removed goes into the bias of what follows.
    Bias,
    /// Mean and spread of every layer's output are brought back to what they were: BatchNormalization estimated anew,
    /// also where it was folded away.
    Bn,
    /// All weights of the layers behind the cut, by least squares on what the original gave.
    Full,
}

/// As it is asked for.
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

/// Constants of a network that are others after its repair.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    constants: BTreeMap<String, Tensor>,
    /// Inputs that nodes did not have: the node's position, the input.
    inputs: Vec<(usize, usize, Tensor)>,
    /// What was found, in the order of the walk.
    pub refits: Vec<Refit>,
    /// Layers that were cut and not repaired, and why.
    pub skipped: Vec<(String, &'static str)>,
}

/// Calibration images, one after the other, as the network takes them.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// Their elements.
    pub data: Arc<Vec<f32>>,
    /// The shape of one.
    pub shape: Vec<usize>,
    /// How many.
    pub count: usize,
}

/// Refits the layers behind the channels `removed`, from the network's input to its output.
///
/// # Errors
/// A network with several inputs, a device that fails, images that lead to weights that are not finite, or an
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
    let input = only_input(graph)?;
    let facts = repair_facts(graph, images)?;
    let batch = facts.input_shapes[0][0];
    let gone = channels.roots(removed);
    let mut paired = PairedGraph::of(graph, &facts, channels, &gone)?;
    let mut cache = ActivationCache::new(input, images.data.clone(), images.count, batch);
    let mut repaired = Repaired { skipped: std::mem::take(&mut paired.skipped), ..Repaired::default() };
    staged(observer, Stage::Repairing, paired.targets.len(), |observer| {
        for at in 0..paired.targets.len() {
            let (target, later) = (&paired.targets[at], &paired.targets[at + 1..]);
            let wanted = fit::wanted(&paired, target, how);
            let node = || graph.nodes[target.taps.node].name.clone();
            let clamped = |s: &RefitTarget| s.clamped.filter(|_| how == Repair::Full);
            let of = |s: &RefitTarget| [s.x, s.y, s.own].into_iter().chain(clamped(s));
            let targets: Vec<ValueId> =
                clamped(target).into_iter().chain(later.iter().flat_map(of)).collect();
            // What the target itself gives is not known yet: it is about to change.
            let sums =
                cache.visit((&paired.graph, &paired.facts, device), &wanted, &[target.x, target.y], &targets);
            let sums = sums.map_err(|e| e.node(node()).file(&graph.path))?;
            let again =
                |paired: &PairedGraph, wanted| cache.sum((&paired.graph, &paired.facts, device), wanted);
            let refit =
                fit::refit(graph, &mut paired, at, (&sums, how), &again).map_err(|e| e.file(&graph.path))?;
            repaired.refits.push(refit);
            advance(observer, at + 1)?;
        }
        Ok(())
    })?;
    repaired.collect(graph, &paired, &facts);
    Ok(repaired)
}

fn only_input(graph: &Graph) -> Result<ValueId> {
    match graph.inputs.as_slice() {
        [input] => Ok(input.value),
        inputs => Err(Error::new("a network with several inputs cannot be repaired")
            .with_kind(ErrorKind::Unsupported)
            .file(&graph.path)
            .expected("one input, for images")
            .got(inputs.len().to_string())
            .remedy("set `repair` to none")),
    }
}

/// Elements of all layers' outputs for which there is room in one run.
const MOST_ELEMENTS: usize = 1 << 26;

/// Facts at a batch size of which the largest tensors of both networks fit into some memory.
fn repair_facts(graph: &Graph, images: &Images) -> Result<Facts> {
    let own = Facts::at_own_size(graph)?;
    // Where the network leaves the size free, it is that of the images.
    let shape = graph.input_shapes(None, &Sizes::Image(images.shape.clone()))?.remove(0);
    let at = |batch: usize| {
        let mut shape = shape.clone();
        shape[0] = batch;
        Facts::infer(graph, &[shape])
    };
    let all = (0..graph.values.len()).filter(|&v| own.get(v).is_some() && !own.is_data_dependent(v));
    let mixed = || images_mix(graph, all.filter(|&v| !own.is_constant(v)));
    if !takes_batches(graph) || mixed()?.is_some() {
        return at(shape[0].max(1));
    }
    let one = at(1)?;
    let largest = (0..graph.values.len())
        .filter(|&v| !one.is_constant(v) && !one.is_data_dependent(v))
        .map(|v| one.shape(v).iter().product::<usize>())
        .max();
    let fits = (MOST_ELEMENTS / (8 * largest.unwrap_or(1).max(1))).clamp(1, 64);
    at(1 << fits.ilog2())
}

impl Repaired {
    /// Whether anything changed.
    pub fn is_empty(&self) -> bool {
        self.constants.is_empty() && self.inputs.is_empty()
    }

    /// Takes the new weights out of the paired. A bias that a layer did not have goes into the mean of a
    /// BatchNormalization right behind it, where there is one of its own.
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
    }

    /// The mean of a BatchNormalization that alone reads a layer, where no other one shares it.
    fn mean(&self, graph: &Graph, facts: &Facts, layer: usize) -> Option<(ValueId, Tensor)> {
        let output = graph.nodes[layer].outputs.first().copied().flatten()?;
        let next = &graph.nodes[graph.only_consumer(output)?];
        let mean = next.inputs.get(3).copied().flatten().filter(|_| next.op_type == "BatchNormalization")?;
        let alone = graph.values[mean].consumers.len() == 1 && graph.values[mean].producer.is_none();
        Some((mean, facts.get(mean)?.value.clone()?)).filter(|_| alone)
    }

    /// The network with its new constants, all shapes as they were.
    ///
    /// # Errors
    /// A model that cannot be made flat.
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
