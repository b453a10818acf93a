//! Sensitivity of the network's output to the removal of channels from one dependency group at a time.
//!
//! A trial removes the share of a group with the lowest loss. The consumers are corrected by least squares (in closed
//! form, from the profile's moments), and the network runs from them to its outputs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::activation_cache::ActivationCache;
use super::{Images, repair_facts};
use crate::data::metrics::{classes, softened_kl};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::{Graph, NodeId, ValueId};
use crate::observer::{Observer, Stage, staged};
use crate::prune::{Channels, Compensated, Consumers, EliminationCurves};
use crate::stats::{Profile, Sensitivity};

/// The shares of a group that are removed in trials.
const SHARES: [f64; 1] = [0.5];
/// The maximum number of images of a trial.
const IMAGES: usize = 256;

/// A trial: coupled channels of a group that are removed.
struct Trial {
    first: (String, usize),
    removed: Vec<usize>,
    /// The first layer that consumes the channels.
    consumer: NodeId,
}

/// Sensitivities of dependency groups, from [`probe`].
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// The sensitivities of the profile, then those that were measured.
    pub sensitivity: Vec<Sensitivity>,
    /// True unless the observer ended the measurement before the last trial.
    pub complete: bool,
    /// The elimination curves of the groups, for [`Scoring::curves`](crate::prune::Scoring::curves).
    pub curves: EliminationCurves,
}

/// Measures the sensitivity of every dependency group that the profile has none for, without `protected` channels.
///
/// A profile without the moments of patches measures nothing. An observer that breaks ends the measurement after the
/// current trial.
///
/// # Errors
/// A device that fails.
pub fn probe(
    graph: &Graph,
    channels: &Channels,
    profile: &Profile,
    protected: &BTreeSet<usize>,
    (device, images): (&Device, &Images),
    observer: &mut dyn Observer,
) -> Result<Probed> {
    let sensitivity = profile.header.sensitivity.clone();
    let mut probed = Probed { sensitivity, complete: true, curves: EliminationCurves::default() };
    let Some(consumers) = Consumers::of(graph, channels, profile) else { return Ok(probed) };
    let images = images.some(IMAGES);
    let (facts, samples) = repair_facts((graph, channels), &images)?;
    let outputs: Vec<ValueId> = graph
        .outputs
        .iter()
        .copied()
        .filter(|&v| !facts.is_data_dependent(v) && !facts.is_constant(v))
        .collect();
    let mut trials = staged(observer, Stage::Scoring, 0, |_| {
        trials((graph, channels), &consumers, protected, &mut probed.curves)
    })?;
    let known = &probed.sensitivity;
    trials.retain(|t| !known.iter().any(|s| (&s.first, s.removed) == (&t.first, t.removed.len())));
    if trials.is_empty() {
        return Ok(probed);
    }
    trials.sort_by_key(|t| t.consumer);
    let mut cache = ActivationCache::new(graph, &images, samples);
    let widths: Option<Vec<usize>> = outputs.iter().map(|&v| classes(facts.shape(v))).collect();
    let all = trials.len();
    staged(observer, Stage::Probing, all, |observer| {
        let reference = cache.values((graph, &facts, device), &outputs)?;
        for (done, trial) in trials.into_iter().enumerate() {
            let reads: Vec<ValueId> = graph.nodes[trial.consumer].inputs.iter().flatten().copied().collect();
            cache.visit((graph, &facts, device), &[], &reads, &outputs)?;
            let changed = with(graph, consumers.without(&trial.removed)?);
            let facts = crate::graph::facts::Facts::infer(&changed, &facts.input_shapes)?;
            let values = cache.values((&changed, &facts, device), &outputs)?;
            let damage = damage(&reference, &values, widths.as_deref(), images.count);
            if damage.is_finite() {
                let (first, removed) = (trial.first, trial.removed.len());
                probed.sensitivity.push(Sensitivity { first, removed, damage });
            }
            if observer.advance(done as u64 + 1).is_break() {
                probed.complete = done + 1 == all;
                break;
            }
        }
        Ok(probed)
    })
}

/// Returns the change of all outputs per image: the softened KL divergence for class scores, else Σ (change)².
///
/// `classes` has the number of classes of each output.
fn damage(reference: &[Vec<f32>], values: &[Vec<f32>], classes: Option<&[usize]>, images: usize) -> f64 {
    let images = images.max(1);
    let of = |(output, (a, b)): (usize, (&Vec<f32>, &Vec<f32>))| {
        if let Some(classes) = classes {
            return softened_kl(a, b, classes[output]);
        }
        let squares = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        squares.sum::<f64>() / images as f64
    };
    reference.iter().zip(values).enumerate().map(of).sum()
}

fn trials(
    (graph, channels): (&Graph, &Channels),
    consumers: &Consumers,
    protected: &BTreeSet<usize>,
    curves: &mut EliminationCurves,
) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for group in channels.dependency_groups() {
        let stays = |k: &usize| protected.contains(k) || channels.gone.contains(k);
        let free = |k: &usize| channels.coupled[*k].block.is_none() && !stays(k);
        let free: Vec<usize> = group.into_iter().filter(free).collect();
        let (Some(&first), true) = (free.first(), free.len() > 1) else { continue };
        let curve = curves.find_or_compute(consumers, &free)?;
        let (Some(curve), Some(consumer)) = (curve, consumers.first(&free)) else { continue };
        let (node, channel) = channels.coupled[first].members[0];
        let counts: BTreeSet<usize> =
            SHARES.iter().map(|s| ((s * free.len() as f64) as usize).clamp(1, free.len() - 1)).collect();
        trials.extend(counts.into_iter().map(|count| Trial {
            first: (graph.nodes[node].name.clone(), channel),
            removed: curve[..count].iter().map(|step| free[step.candidate]).collect(),
            consumer,
        }));
    }
    Ok(trials)
}

/// Returns the network with corrected weights in some layers.
fn with(graph: &Graph, layers: Vec<Compensated>) -> Graph {
    let mut changed = graph.clone();
    for layer in layers {
        let name = &graph.nodes[layer.nodes[0]].name;
        let weight = changed.add_value(format!("weights of {name}"), Some(layer.weight));
        let bias = changed.add_value(format!("bias of {name}"), Some(layer.bias));
        for node in layer.nodes {
            let Some(own) = graph.nodes[node].op.layer() else { continue };
            let inputs = &mut changed.nodes[node].inputs;
            inputs[own.weight] = Some(weight);
            if let Some(at) = own.bias {
                inputs.resize(inputs.len().max(at + 1), None);
                inputs[at] = Some(bias);
            }
        }
    }
    changed
}

impl Images {
    /// Returns the elements of each input of the network, sample after sample.
    pub(super) fn by_input(&self) -> Vec<Arc<Vec<f32>>> {
        if self.sample.only().is_some() {
            return vec![self.data.clone()];
        }
        let row = self.sample.elements().max(1);
        let mut first = 0;
        let inputs = self.sample.0.iter().map(|shape| {
            let range = first..first + shape.iter().product::<usize>();
            first = range.end;
            Arc::new(self.data.chunks(row).flat_map(|sample| sample[range.clone()].iter().copied()).collect())
        });
        inputs.collect()
    }

    /// Returns at most `most` images, evenly spaced.
    #[must_use]
    pub fn some(&self, most: usize) -> Self {
        if self.count <= most {
            return self.clone();
        }
        let len = self.data.len() / self.count;
        let places = (0..most).map(|i| i * self.count / most);
        let data = places.flat_map(|at| self.data[at * len..][..len].iter().copied()).collect();
        Self { data: Arc::new(data), count: most, sample: self.sample.clone() }
    }
}
