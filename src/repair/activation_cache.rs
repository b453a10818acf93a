//! A cache of activations between refit targets, and sums of their moments over all calibration images.
//!
//! Values that were computed and are still needed are kept on the host from one target to the next, if they fit into a
//! budget. If not, the next target starts from the last cached values, at worst from the images. So every node runs about
//! once, and memory stays bounded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::{Executor, copy};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::kernels::Kernel;
use crate::kernels::moments::CrossMoment;
use crate::kernels::moments::GramKernel as Gram;
use crate::plan::{self, BuildOptions, Plan, Probe};
use crate::stats::Samples;
use crate::tensor::Precision;

use super::Images;

/// The maximum number of bytes of cached activations.
pub(super) const BUDGET: usize = 3 << 29;
/// Images whose moments are summed on the device in `f32`, before the host adds the sums in `f64`.
const CHUNK: usize = 64;

/// The activations of all images, one after the other, by value.
pub(super) struct ActivationCache {
    values: BTreeMap<ValueId, Arc<Vec<f32>>>,
    /// Buffers of evicted values, for reuse: allocating large buffers is slow.
    spare: Vec<Vec<f32>>,
    /// Number of parts of all images: samples, or passes that mix their samples.
    parts: usize,
    samples: Samples,
}

/// Second moments of a tensor, or cross-moments of two tensors, summed over all images and splits in `f64`.
pub(super) struct MomentSums(pub(super) Vec<f64>);

/// A request for moments of one or two values.
pub(super) struct WantedMoments {
    pub(super) values: Vec<ValueId>,
    pub(super) kernel: Arc<dyn Kernel>,
    /// The shape of the sums: groups, splits, rows, columns.
    pub(super) shape: [usize; 4],
}

impl WantedMoments {
    pub(super) fn gram(value: ValueId, kernel: Gram) -> Self {
        let shape = kernel.shape();
        Self { values: vec![value], kernel: Arc::new(kernel), shape }
    }

    pub(super) fn cross(x: ValueId, y: ValueId, kernel: CrossMoment) -> Self {
        let shape = kernel.shape();
        Self { values: vec![x, y], kernel: Arc::new(kernel), shape }
    }
}

impl ActivationCache {
    /// Creates a cache that contains the samples, as the values of the network's inputs.
    ///
    /// Copies of the last sample fill up the last pass of a network that mixes its samples.
    pub(super) fn new(graph: &Graph, images: &Images, samples: Samples) -> Self {
        let parts = images.count.div_ceil(samples.of_part());
        let missing = parts * samples.of_part() - images.count;
        let filled = |mut values: Arc<Vec<f32>>| {
            if missing > 0 {
                let len = values.len() / images.count.max(1);
                let last = values[values.len() - len..].repeat(missing);
                Arc::make_mut(&mut values).extend(last);
            }
            values
        };
        let inputs: Vec<ValueId> = graph.sample_inputs().map(|input| input.value).collect();
        let values = inputs.into_iter().zip(images.by_input().into_iter().map(filled)).collect();
        Self { values, spare: vec![], parts, samples }
    }

    /// Computes the wanted moments, and caches the values that `later` needs once `known` is computed, if they fit.
    pub(super) fn visit(
        &mut self,
        (graph, facts, device): (&Graph, &Facts, &Device),
        wanted: &[WantedMoments],
        known: &[ValueId],
        later: &[ValueId],
    ) -> Result<Vec<MomentSums>> {
        let keep = self.frontier(graph, facts, known, later);
        let fresh: Vec<ValueId> = keep.iter().copied().filter(|v| !self.values.contains_key(v)).collect();
        if wanted.is_empty() && fresh.is_empty() {
            return Ok(vec![]);
        }
        let spare = std::mem::take(&mut self.spare);
        let (sums, values) = self.run((graph, facts, device), wanted, &fresh, spare)?;
        if !keep.is_empty() {
            let (kept, evicted): (BTreeMap<_, _>, BTreeMap<_, _>) =
                std::mem::take(&mut self.values).into_iter().partition(|(v, _)| keep.contains(v));
            self.spare = evicted.into_values().filter_map(|values| Arc::try_unwrap(values).ok()).collect();
            self.values = kept;
            self.values.extend(fresh.into_iter().zip(values.into_iter().map(Arc::new)));
        }
        Ok(sums)
    }

    /// Computes moments without changing the cache.
    pub(super) fn sum(&self, of: (&Graph, &Facts, &Device), wanted: WantedMoments) -> Result<MomentSums> {
        self.run(of, &[wanted], &[], vec![])?
            .0
            .pop()
            .ok_or_else(|| Error::new("a sum was not taken").internal())
    }

    /// Computes values of all images without changing the cache.
    pub(super) fn values(&self, of: (&Graph, &Facts, &Device), wanted: &[ValueId]) -> Result<Vec<Vec<f32>>> {
        Ok(self.run(of, &[], wanted, vec![])?.1)
    }

    fn run(
        &self,
        (graph, facts, device): (&Graph, &Facts, &Device),
        wanted: &[WantedMoments],
        taps: &[ValueId],
        mut spare: Vec<Vec<f32>>,
    ) -> Result<(Vec<MomentSums>, Vec<Vec<f32>>)> {
        let summed = wanted.iter().flat_map(|w| w.values.iter().copied());
        let all: Vec<ValueId> = summed.chain(taps.iter().copied()).collect();
        let part = graph.subgraph(facts, &|v| self.values.contains_key(&v), &all);
        let shapes: Vec<Vec<usize>> = part.shapes.iter().map(|(_, s)| s.clone()).collect();
        let mut own = Facts::infer(&part.graph, &shapes)?;
        own.samples = self.samples.count;
        let limits = device.limits();
        let probes = wanted.iter().enumerate().map(|(i, w)| Probe {
            values: w.values.iter().map(|v| part.values[v]).collect(),
            kernel: w.kernel.clone(),
            name: format!("sum {i}"),
            shape: w.shape.to_vec(),
        });
        let options = BuildOptions {
            taps: taps.iter().map(|v| part.values[v]).collect(),
            probes: probes.collect(),
            outputs: false,
            fuse: true,
            fuse_residual: false,
            fuse_pool: false,
            integers: true,
            max_binding: limits.max_binding.min(limits.max_buffer),
            precision: Precision::F32,
        };
        let plan = plan::build(&part.graph, &own, &options)?;
        let mut executor = device.load(&plan).map_err(|e| e.file(&graph.path))?;
        let given: Vec<ValueId> = part.shapes.iter().map(|&(v, _)| v).collect();
        let mut room = |v: &ValueId| {
            let len = self.part_len(facts.shape(*v)) * self.parts;
            let mut room = spare.pop().unwrap_or_default();
            room.resize(len, 0.0);
            room
        };
        let mut values: Vec<Vec<f32>> = taps.iter().map(&mut room).collect();
        drop(spare);
        let mut sums: Vec<MomentSums> =
            wanted.iter().map(|w| MomentSums(vec![0.0; w.shape[0] * w.shape[2] * w.shape[3]])).collect();
        let mut since = 0;
        for first in (0..self.parts).step_by(self.samples.parts) {
            let count = self.samples.parts.min(self.parts - first);
            let outputs = self.run_batch(&mut *executor, &plan, &given, first, count)?;
            for (values, output) in values.iter_mut().zip(&outputs) {
                let len = output.len() / self.samples.parts;
                copy(&output[..len * count], &mut values[len * first..][..len * count]);
            }
            since += count;
            if since >= CHUNK || first + count == self.parts {
                take_sums(&mut *executor, wanted, &mut sums)?;
                since = 0;
            }
        }
        Ok((sums, values))
    }

    /// Returns the elements of a value that belong to one part.
    fn part_len(&self, shape: &[usize]) -> usize {
        shape.iter().product::<usize>() / self.samples.parts
    }

    /// Runs one batch of `count` parts, padded with zeros of weight 0.
    fn run_batch(
        &self,
        executor: &mut dyn Executor,
        plan: &Plan,
        given: &[ValueId],
        first: usize,
        count: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let mut inputs: Vec<Cow<[f32]>> = Vec::with_capacity(plan.inputs.len());
        for (value, port) in given.iter().zip(&plan.inputs) {
            let len = self.part_len(&port.shape);
            let mut input = Cow::Borrowed(&self.values[value][first * len..(first + count) * len]);
            if count < self.samples.parts {
                input.to_mut().resize(len * self.samples.parts, 0.0);
            }
            inputs.push(input);
        }
        if !plan.sums.is_empty() {
            let counted = count * self.samples.of_part();
            inputs.push((0..self.samples.count).map(|i| if i < counted { 1.0 } else { 0.0 }).collect());
        }
        executor.run(&inputs.iter().map(Cow::as_ref).collect::<Vec<_>>())
    }

    /// Returns the values that `later` needs of those computed for `known`; empty if they exceed [`BUDGET`].
    fn frontier(&self, graph: &Graph, facts: &Facts, known: &[ValueId], later: &[ValueId]) -> Vec<ValueId> {
        let cached = |v: ValueId| self.values.contains_key(&v);
        // Nodes that have run when `known` is computed.
        let done = graph.needed(facts, &cached, known);
        let computed = |v: ValueId| cached(v) || graph.values[v].producer.is_some_and(|p| done[p]);
        let ahead = graph.needed(facts, &computed, later);
        let ahead = graph.nodes.iter().zip(&ahead).filter(|(_, ahead)| **ahead);
        let needed = ahead.flat_map(|(node, _)| node.inputs.iter().flatten()).chain(later);
        let mut keep: Vec<ValueId> =
            needed.copied().filter(|&v| computed(v) && !facts.is_constant(v)).collect();
        keep.sort_unstable();
        keep.dedup();
        let len = |v: &ValueId| self.part_len(facts.shape(*v));
        let bytes = keep.iter().map(len).sum::<usize>() * self.parts * size_of::<f32>();
        if bytes > BUDGET { vec![] } else { keep }
    }
}

/// Adds the sums of the device to those of the host.
fn take_sums(executor: &mut dyn Executor, wanted: &[WantedMoments], sums: &mut [MomentSums]) -> Result<()> {
    for ((parts, wanted), sum) in executor.take_sums()?.iter().zip(wanted).zip(sums) {
        let [_, splits, rows, columns] = wanted.shape;
        let matrix = rows * columns;
        for (group, parts) in sum.0.chunks_mut(matrix).zip(parts.chunks(matrix * splits)) {
            for part in parts.chunks(matrix) {
                group.iter_mut().zip(part).for_each(|(a, &b)| *a += f64::from(b));
            }
        }
    }
    Ok(())
}
