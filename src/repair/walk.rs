//! The walk from the input to the output, both networks side by side: at each site sums over all calibration images,
//! new weights, and on.
//!
//! What both networks computed so far and still need is kept on the host between sites, as long as it fits into a
//! budget; where it does not, the next site starts from the last place at which it did (at the images, at worst). So
//! every node runs about once, and memory stays bounded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::{Executor, copy};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::kernels::Kernel;
use crate::kernels::moments::CrossMoment as Cross;
use crate::kernels::moments::GramKernel as Gram;
use crate::plan::{self, Options, Plan, Probe};
use crate::tensor::Precision;

/// The most bytes of activations that are kept.
pub(super) const BUDGET: usize = 3 << 29;
/// Images whose sums are added up on the device, in `f32`, before the host takes them over in `f64`.
const CHUNK: usize = 64;

/// What has been computed, of all images, one after the other.
pub(super) struct Store {
    values: BTreeMap<ValueId, Arc<Vec<f32>>>,
    /// What held values that nobody needs any more: memory that is there already costs nothing to get.
    spare: Vec<Vec<f32>>,
    images: usize,
    batch: usize,
}

/// Second moments of a tensor, or its products with another one, in `f64`: what a kernel's splits give, added up.
pub(super) struct Sums(pub(super) Vec<f64>);

/// A sum that is wanted: what is read, and the call.
pub(super) struct Wanted {
    pub(super) values: Vec<ValueId>,
    pub(super) kernel: Arc<dyn Kernel>,
    /// The output's shape: groups, splits, rows, columns.
    pub(super) shape: [usize; 4],
}

impl Wanted {
    pub(super) fn gram(value: ValueId, kernel: Gram) -> Self {
        let shape = kernel.shape();
        Self { values: vec![value], kernel: Arc::new(kernel), shape }
    }

    pub(super) fn cross(x: ValueId, y: ValueId, kernel: Cross) -> Self {
        let shape = kernel.shape();
        Self { values: vec![x, y], kernel: Arc::new(kernel), shape }
    }
}

impl Store {
    /// The images, of the network's only input.
    pub(super) fn new(input: ValueId, images: Arc<Vec<f32>>, count: usize, batch: usize) -> Self {
        Self { values: BTreeMap::from([(input, images)]), spare: vec![], images: count, batch }
    }

    /// Runs what is missing for some sums, and moves on to where `moves` are known: what `targets` still need from there
    /// is kept, if it fits.
    pub(super) fn visit(
        &mut self,
        (graph, facts, device): (&Graph, &Facts, &Device),
        wanted: &[Wanted],
        moves: &[ValueId],
        targets: &[ValueId],
    ) -> Result<Vec<Sums>> {
        let keep = self.frontier(graph, facts, moves, targets);
        let fresh: Vec<ValueId> = keep.iter().copied().filter(|v| !self.values.contains_key(v)).collect();
        if wanted.is_empty() && fresh.is_empty() {
            return Ok(vec![]);
        }
        let spare = std::mem::take(&mut self.spare);
        let (sums, values) = self.run((graph, facts, device), wanted, &fresh, spare)?;
        if !keep.is_empty() {
            let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
                std::mem::take(&mut self.values).into_iter().partition(|(v, _)| keep.contains(v));
            self.spare = gone.into_values().filter_map(|values| Arc::try_unwrap(values).ok()).collect();
            self.values = kept;
            self.values.extend(fresh.into_iter().zip(values.into_iter().map(Arc::new)));
        }
        Ok(sums)
    }

    /// Runs what is missing for a sum, and stays.
    pub(super) fn sum(&self, of: (&Graph, &Facts, &Device), wanted: Wanted) -> Result<Sums> {
        self.run(of, &[wanted], &[], vec![])?.0.pop().ok_or_else(|| Error::new("a sum was not taken"))
    }

    /// Runs what is missing for some values, of all images.
    pub(super) fn values(&self, of: (&Graph, &Facts, &Device), wanted: &[ValueId]) -> Result<Vec<Vec<f32>>> {
        Ok(self.run(of, &[], wanted, vec![])?.1)
    }

    fn run(
        &self,
        (graph, facts, device): (&Graph, &Facts, &Device),
        wanted: &[Wanted],
        taps: &[ValueId],
        mut spare: Vec<Vec<f32>>,
    ) -> Result<(Vec<Sums>, Vec<Vec<f32>>)> {
        let read = wanted.iter().flat_map(|w| w.values.iter().copied());
        let all: Vec<ValueId> = read.chain(taps.iter().copied()).collect();
        let part = graph.part(facts, &|v| self.values.contains_key(&v), &all);
        let shapes: Vec<Vec<usize>> = part.shapes.iter().map(|(_, s)| s.clone()).collect();
        let own = Facts::infer(&part.graph, &shapes)?;
        let limits = device.limits();
        let probes = wanted.iter().enumerate().map(|(i, w)| Probe {
            values: w.values.iter().map(|v| part.values[v]).collect(),
            kernel: w.kernel.clone(),
            name: format!("sum {i}"),
            shape: w.shape.to_vec(),
        });
        let options = Options {
            taps: taps.iter().map(|v| part.values[v]).collect(),
            probes: probes.collect(),
            outputs: false,
            fuse: true,
            addends: false,
            pools: false,
            max_binding: limits.max_binding.min(limits.max_buffer),
            precision: Precision::F32,
        };
        let plan = plan::build(&part.graph, &own, &options)?;
        let mut executor = device.load(&plan).map_err(|e| e.file(&graph.path))?;
        let given: Vec<ValueId> = part.shapes.iter().map(|&(v, _)| v).collect();
        let mut room = |v: &ValueId| {
            let len = facts.shape(*v).iter().product::<usize>() / self.batch * self.images;
            let mut room = spare.pop().unwrap_or_default();
            room.resize(len, 0.0);
            room
        };
        let mut values: Vec<Vec<f32>> = taps.iter().map(&mut room).collect();
        drop(spare);
        let mut sums: Vec<Sums> =
            wanted.iter().map(|w| Sums(vec![0.0; w.shape[0] * w.shape[2] * w.shape[3]])).collect();
        let mut since = 0;
        for first in (0..self.images).step_by(self.batch) {
            let count = self.batch.min(self.images - first);
            let outputs = self.run_batch(&mut *executor, &plan, &given, first, count)?;
            for (values, output) in values.iter_mut().zip(&outputs) {
                let len = output.len() / self.batch;
                copy(&output[..len * count], &mut values[len * first..][..len * count]);
            }
            since += count;
            if since >= CHUNK || first + count == self.images {
                take(&mut *executor, wanted, &mut sums)?;
                since = 0;
            }
        }
        Ok((sums, values))
    }

    /// One batch, filled up with zeros, which weigh nothing.
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
            let len = port.shape.iter().product::<usize>() / self.batch;
            let whole = &self.values[value];
            if whole.len() != len * self.images {
                return Err(Error::new(
                    "images do not stand one after the other in a tensor of this network",
                )
                .node(&port.name)
                .expected(format!("{} elements", len * self.images))
                .got(whole.len().to_string())
                .remedy("use --repair none"));
            }
            let mut input = Cow::Borrowed(&whole[first * len..(first + count) * len]);
            if count < self.batch {
                input.to_mut().resize(len * self.batch, 0.0);
            }
            inputs.push(input);
        }
        if !plan.sums.is_empty() {
            inputs.push((0..self.batch).map(|i| if i < count { 1.0 } else { 0.0 }).collect());
        }
        executor.run(&inputs.iter().map(Cow::as_ref).collect::<Vec<_>>())
    }

    /// What `targets` need of what is known once `moves` are; empty where that would be too much to keep.
    fn frontier(&self, graph: &Graph, facts: &Facts, moves: &[ValueId], targets: &[ValueId]) -> Vec<ValueId> {
        let known = |v: ValueId| self.values.contains_key(&v);
        // Nodes that have run by then.
        let done = graph.needed(facts, &known, moves);
        let computed = |v: ValueId| known(v) || graph.values[v].producer.is_some_and(|p| done[p]);
        let ahead = graph.needed(facts, &computed, targets);
        let ahead = graph.nodes.iter().zip(&ahead).filter(|(_, ahead)| **ahead);
        let needed = ahead.flat_map(|(node, _)| node.inputs.iter().flatten()).chain(targets);
        let mut keep: Vec<ValueId> =
            needed.copied().filter(|&v| computed(v) && !facts.is_constant(v)).collect();
        keep.sort_unstable();
        keep.dedup();
        let len = |v: &ValueId| facts.shape(*v).iter().product::<usize>() / self.batch;
        let bytes = keep.iter().map(len).sum::<usize>() * self.images * size_of::<f32>();
        if bytes > BUDGET { vec![] } else { keep }
    }
}

/// Adds what the device summed up.
fn take(executor: &mut dyn Executor, wanted: &[Wanted], sums: &mut [Sums]) -> Result<()> {
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
