//! The statistics pass: which values are watched, and the reduction of a data set.

use std::sync::Arc;

use super::Moments;
use super::profile::{LayerProfile, WeightStats};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::{Session, Wanted};
use crate::graph::facts::Facts;
use crate::graph::{Graph, NodeId, ValueId};
use crate::kernels::channel_stats::ChannelStats;
use crate::ops::Layer;
use crate::plan::Probe;

/// A layer and the values at which its outputs are watched.
#[derive(Clone, Debug)]
pub struct LayerTaps {
    /// The layer.
    pub node: NodeId,
    /// Where its filters and channels stand.
    pub layer: Layer,
    /// Its weights.
    pub weight: ValueId,
    /// What BatchNormalization right after it multiplies each channel by.
    pub scale: Option<Vec<f64>>,
    /// Its output after BatchNormalization, where that follows.
    pub pre: ValueId,
    /// The same after its activation, where one follows.
    pub post: ValueId,
}

/// The layers of a network whose weights are constant, in graph order.
pub fn layers(graph: &Graph, facts: &Facts) -> Vec<LayerTaps> {
    let mut all = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        let Some(layer) = node.op.layer() else { continue };
        let weight = node.inputs.get(layer.weight).copied().flatten();
        let (Some(weight), Some(output)) = (weight, node.outputs.first().copied().flatten()) else {
            continue;
        };
        // What runs on the host is no part of what is measured and cut.
        let on_device = !facts.is_constant(output) && !facts.is_late(output);
        if !facts.is_constant(weight) || !on_device || facts.shape(weight).len() < 2 {
            continue;
        }
        let follow = |value: ValueId, activation: bool| -> Option<ValueId> {
            let next = graph.only_reader(value)?;
            let inputs = facts.inputs(graph, next);
            let node = &graph.nodes[next];
            let fits = if activation {
                node.op.activation(&inputs).is_some()
            } else {
                node.op.scale_shift(&inputs).is_some()
            };
            node.outputs.first().copied().flatten().filter(|&v| fits && !facts.is_late(v))
        };
        let pre = follow(output, false).unwrap_or(output);
        let post = follow(pre, true).unwrap_or(pre);
        let norm = graph.values[pre].producer.filter(|_| pre != output);
        let scale = norm.and_then(|n| graph.nodes[n].op.scale_shift(&facts.inputs(graph, n))).map(|s| s.0);
        all.push(LayerTaps { node: id, layer, weight, scale, pre, post });
    }
    all
}

/// The position of a layer's channel axis in a shape.
pub(crate) fn place(axis: isize, rank: usize) -> usize {
    if axis < 0 { (rank as isize + axis).max(0) as usize } else { axis as usize }
}

/// The reduction of a value: (outer, channels, inner).
fn split(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// The statistics of a layer's filters, as they act: with the scale of a BatchNormalization that follows. They
/// do not depend on whether the exporter folded it into the weights.
fn weight_stats(facts: &Facts, taps: &LayerTaps) -> Result<WeightStats> {
    let tensor = facts.get(taps.weight).and_then(|f| f.value.as_ref());
    let tensor = tensor.ok_or_else(|| Error::new("the weights are not constant"))?;
    let data = tensor.floats()?;
    let filters = taps.layer.out_channels(&tensor.shape);
    let mut sums = vec![(0.0f64, 0.0f64, 0.0f64); filters];
    let scale = |filter: usize| taps.scale.as_ref().map_or(1.0, |s| s[filter]);
    let runs = || taps.layer.runs(&tensor.shape, data);
    for (filter, values) in runs() {
        for &w in values {
            let (w, s) = (f64::from(w) * scale(filter), &mut sums[filter]);
            *s = (s.0 + w, s.1 + w.abs(), s.2 + w * w);
        }
    }
    let n = (data.len() / filters.max(1)) as f64;
    let mean: Vec<f64> = sums.iter().map(|s| s.0 / n).collect();
    let mut variance = vec![0.0; filters];
    for (filter, values) in runs() {
        for &w in values {
            let d = f64::from(w) * scale(filter) - mean[filter];
            variance[filter] += d * d / n;
        }
    }
    Ok(WeightStats {
        mean,
        variance,
        l1: sums.iter().map(|s| s.1).collect(),
        l2: sums.iter().map(|s| s.2.sqrt()).collect(),
    })
}

/// The statistics of the weights alone: what the criteria on weights need, without data.
///
/// # Errors
/// Weights that are not floats.
pub fn weights_only(graph: &Graph, facts: &Facts) -> Result<Vec<LayerProfile>> {
    layers(graph, facts)
        .iter()
        .map(|taps| {
            let weight = weight_stats(facts, taps).map_err(|e| e.node(&graph.nodes[taps.node].name))?;
            let node = &graph.nodes[taps.node];
            Ok(LayerProfile {
                node: node.name.clone(),
                op: node.op_type.clone(),
                weight,
                pre: vec![],
                post: vec![],
            })
        })
        .collect()
}

/// Runs a data set through the network and gathers the statistics of every layer.
/// `progress` is told how many images are done.
///
/// # Errors
/// A network that cannot run on the device, data that cannot be read.
pub fn gather(
    graph: &Graph,
    device: &Device,
    data: &Dataset,
    batch: Option<usize>,
    progress: &mut dyn FnMut(usize),
) -> Result<(Vec<LayerProfile>, u64)> {
    let own = Facts::at_own_size(graph)?;
    let taps = layers(graph, &own);
    let mut profiles = weights_only(graph, &own)?;
    let watched: Vec<(usize, bool, ValueId, Layer)> = taps
        .iter()
        .enumerate()
        .flat_map(|(i, t)| {
            let post = (t.post != t.pre).then_some((i, true, t.post, t.layer));
            [Some((i, false, t.pre, t.layer)), post].into_iter().flatten()
        })
        .collect();
    let reduction = |facts: &Facts, value: ValueId, layer: Layer| {
        let shape = facts.shape(value);
        let (outer, channels, inner) = split(shape, place(layer.channels, shape.len()));
        ChannelStats::new(outer, channels, inner)
    };
    let probes = |facts: &Facts| -> Vec<Probe> {
        watched
            .iter()
            .map(|&(_, _, value, layer)| {
                let kernel = reduction(facts, value, layer);
                let shape = vec![kernel.batch, kernel.channels, kernel.tiles(), 6];
                Probe { value, name: graph.name(value).to_owned(), shape, kernel: Arc::new(kernel) }
            })
            .collect()
    };
    let wanted = Wanted { batch, images: data.len(), outputs: false, ..Wanted::default() };
    let mut session = Session::new(graph, device, &wanted, &probes)?;
    let shapes = graph.input_shapes(Some(session.batch), &wanted.shapes)?;
    let facts = Facts::infer(graph, &shapes)?;
    let kernels: Vec<ChannelStats> = watched.iter().map(|&(_, _, v, l)| reduction(&facts, v, l)).collect();
    let mut moments: Vec<Vec<Moments>> =
        kernels.iter().map(|k| vec![Moments::default(); k.channels]).collect();
    let mut images = 0u64;
    let full = session.batch;
    for batch in data.batches(full) {
        let batch = batch?;
        session.run_images(&batch.data, &mut |outputs, count| {
            for ((kernel, partials), moments) in kernels.iter().zip(outputs).zip(&mut moments) {
                merge_partials(kernel, partials, kernel.batch / full * count, moments);
            }
            Ok(())
        })?;
        images += batch.count as u64;
        progress(batch.count);
    }
    if images == 0 {
        return Err(Error::new("no image could be read").remedy("see the list of skipped files"));
    }
    for (&(layer, is_post, ..), moments) in watched.iter().zip(moments) {
        if is_post {
            profiles[layer].post = moments;
        } else {
            profiles[layer].pre = moments;
        }
    }
    for profile in profiles.iter_mut().filter(|p| p.post.is_empty()) {
        profile.post = profile.pre.clone();
    }
    Ok((profiles, images))
}

/// Merges the tiles of the first `rows` images, image by image, tile by tile.
fn merge_partials(kernel: &ChannelStats, partials: &[f32], rows: usize, moments: &mut [Moments]) {
    let tiles = kernel.tiles();
    for row in 0..rows {
        for (channel, moments) in moments.iter_mut().enumerate() {
            for tile in 0..tiles {
                let at = ((row * kernel.channels + channel) * tiles + tile) * 6;
                let count = kernel.tile.min(kernel.inner - tile * kernel.tile);
                moments.merge(&Moments::from_tile(&partials[at..at + 6], count));
            }
        }
    }
}
