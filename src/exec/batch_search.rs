//! Choosing the largest batch size whose plan fits a device, with few plans built.
//!
//! Tensors of a network that accepts any batch size have a length that is proportional to the batch or constant. If two
//! plans have equal steps on equal buffers, and each buffer is proportional or constant between them, then memory
//! planning makes equal decisions for the sizes in between: it compares lengths that are linear in the batch, and their
//! order at both ends is the order in between. A buffer is the maximum of the lengths that share it, so it is
//! proportional or constant in between as well, and the need of these sizes follows by arithmetic. Any size that this
//! argument does not cover is built, so the result is always that of an exhaustive search.

use std::collections::HashSet;

use crate::error::Result;
use crate::plan::{BufferId, Operand, Plan, Step};

/// The memory that plans may use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct MemoryLimits {
    /// The total size of all buffers.
    pub(super) total: u64,
    /// The largest buffer or constant that a step binds.
    pub(super) binding: u64,
}

/// Total and largest binding of a plan, in bytes.
type Need = (u64, u64);

impl MemoryLimits {
    fn allow(self, (total, binding): Need) -> bool {
        total <= self.total && binding <= self.binding
    }
}

/// The sizes and the wiring of a plan, without its constants.
struct Footprint {
    batch: u64,
    buffers: Vec<u64>,
    bindings: Vec<u64>,
    steps: Vec<(Vec<Operand>, BufferId)>,
    f16_storage: Option<HashSet<BufferId>>,
}

impl Footprint {
    fn new(plan: &Plan) -> Self {
        Self {
            batch: plan.batch as u64,
            buffers: (0..plan.buffers.len()).map(|buffer| plan.buffer_bytes(buffer)).collect(),
            bindings: plan.steps.iter().flat_map(Step::binding_bytes).collect(),
            steps: plan.steps.iter().map(|step| (step.inputs.clone(), step.output)).collect(),
            f16_storage: plan.f16_storage.clone(),
        }
    }

    fn need(&self) -> Need {
        (self.buffers.iter().sum(), self.bindings.iter().copied().max().unwrap_or(0))
    }

    /// A lower bound of the need at a smaller batch: no tensor shrinks faster than the batch.
    fn at_least(&self, batch: u64) -> Need {
        let (total, binding) = self.need();
        (total * batch / self.batch, binding * batch / self.batch)
    }

    /// The need at `batch`, if both plans have equal steps whose sizes are proportional to the batch or constant.
    fn interpolate(&self, other: &Self, batch: u64) -> Option<Need> {
        let alike = self.steps == other.steps
            && self.f16_storage == other.f16_storage
            && self.buffers.len() == other.buffers.len()
            && self.bindings.len() == other.bindings.len();
        let size = |(&a, &b): (&u64, &u64)| match (a == b, a * other.batch == b * self.batch) {
            (true, _) => Some(a),
            (false, true) => Some(a * batch / self.batch),
            (false, false) => None,
        };
        let sizes = |a: &[u64], b: &[u64]| a.iter().zip(b).map(size).collect::<Option<Vec<u64>>>();
        let buffers = sizes(&self.buffers, &other.buffers).filter(|_| alike)?;
        let bindings = sizes(&self.bindings, &other.bindings)?;
        Some((buffers.iter().sum(), bindings.into_iter().max().unwrap_or(0)))
    }
}

/// Builds the plans of some batch sizes, each at most once.
struct BatchSearch<'a> {
    sizes: &'a [usize],
    limits: MemoryLimits,
    build: &'a mut dyn FnMut(usize) -> Result<Plan>,
    /// For each size that was tried, the footprint of its plan, or `None` if no plan can be built.
    tried: Vec<Option<Option<Footprint>>>,
}

impl BatchSearch<'_> {
    /// Builds the plan of a size, and returns whether it fits.
    fn attempt(&mut self, at: usize) -> (bool, Result<Plan>) {
        let plan = (self.build)(self.sizes[at]);
        let footprint = plan.as_ref().ok().map(Footprint::new);
        let fits = footprint.as_ref().is_some_and(|footprint| self.limits.allow(footprint.need()));
        self.tried[at] = Some(footprint);
        (fits, plan)
    }

    fn footprint(&self, at: usize) -> Option<&Footprint> {
        self.tried[at].as_ref()?.as_ref()
    }

    /// The next size to try after `at`, which does not fit: the largest that may.
    fn next(&self, at: usize) -> usize {
        let Some(last) = self.footprint(at) else { return at + 1 };
        let before = (0..at).rev().find_map(|larger| self.footprint(larger));
        let may_fit = |&smaller: &usize| {
            let batch = self.sizes[smaller] as u64;
            let exact = before.and_then(|before| before.interpolate(last, batch));
            self.limits.allow(exact.unwrap_or_else(|| last.at_least(batch)))
        };
        (at + 1..self.sizes.len()).find(may_fit).unwrap_or(self.sizes.len() - 1)
    }

    /// Returns whether the plans of the nearest sizes prove that this one does not fit.
    fn excluded(&self, at: usize) -> bool {
        let tried = |&other: &usize| self.tried[other].is_some();
        let above = (0..at).rev().find(tried).and_then(|other| self.footprint(other));
        let below = (at + 1..self.sizes.len()).find(tried).and_then(|other| self.footprint(other));
        let need = above.zip(below).and_then(|(a, b)| a.interpolate(b, self.sizes[at] as u64));
        need.is_some_and(|need| !self.limits.allow(need))
    }
}

/// Returns the plan of the first of `sizes` that can be built within the limits, else the result for the last.
///
/// `sizes` are in descending order, at least one. Three plans are built at most if every tensor of the network is
/// proportional to the batch or constant.
pub(super) fn largest_fitting(
    sizes: &[usize],
    limits: MemoryLimits,
    build: &mut dyn FnMut(usize) -> Result<Plan>,
) -> Result<Plan> {
    let tried = sizes.iter().map(|_| None).collect();
    let mut search = BatchSearch { sizes, limits, build, tried };
    let mut at = 0;
    let (mut fits, mut plan) = search.attempt(at);
    while !fits && at + 1 < sizes.len() {
        at = search.next(at);
        (fits, plan) = search.attempt(at);
    }
    for skipped in 0..at {
        if search.tried[skipped].is_none()
            && !search.excluded(skipped)
            && let (true, larger) = search.attempt(skipped)
        {
            return larger;
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;

    use super::*;
    use crate::error::Error;
    use crate::graph::facts::Facts;
    use crate::graph::{Dim, Graph, GraphInput, Sizes, ValueId};
    use crate::plan::{self, BuildOptions};
    use crate::tensor::{DType, Tensor};

    const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];
    const UNLIMITED: MemoryLimits = MemoryLimits { total: u64::MAX, binding: u64::MAX };

    /// The batch and buffers of the chosen plan, or the error's text.
    type Chosen = Result<(usize, Vec<usize>), String>;

    fn chosen(plan: Result<Plan>) -> Chosen {
        plan.map(|plan| (plan.batch, plan.buffers)).map_err(|e| e.message())
    }

    fn exhaustive(limits: MemoryLimits, build: &dyn Fn(usize) -> Result<Plan>) -> Chosen {
        let fits = |plan: &Plan| limits.allow(Footprint::new(plan).need());
        let first = SIZES.iter().find_map(|&size| build(size).ok().filter(fits));
        chosen(first.map_or_else(|| build(1), Ok))
    }

    /// Compares both searches at the limits around the need of every size; returns the most plans that one built.
    fn compare(build: &dyn Fn(usize) -> Result<Plan>) -> usize {
        let needs = SIZES.iter().filter_map(|&size| Some(Footprint::new(&build(size).ok()?).need()));
        let around = |need: u64| [need.saturating_sub(1), need, need + 1, need * 5 / 4];
        let limits = needs.flat_map(|(total, binding)| {
            let totals = around(total).map(|total| MemoryLimits { total, ..UNLIMITED });
            let bindings = around(binding).map(|binding| MemoryLimits { binding, ..UNLIMITED });
            totals.into_iter().chain(bindings)
        });
        let none = MemoryLimits { total: 0, binding: 0 };
        let mut most = 0;
        for limits in limits.chain([none, UNLIMITED]) {
            let built = RefCell::new(Vec::new());
            let got = largest_fitting(&SIZES, limits, &mut |size| {
                assert!(!built.borrow().contains(&size), "{size} is built twice");
                built.borrow_mut().push(size);
                build(size)
            });
            assert_eq!(chosen(got), exhaustive(limits, build), "{limits:?}");
            most = most.max(built.borrow().len());
        }
        most
    }

    /// A plan of buffers alone, whose lengths depend on the batch.
    fn buffers(batch: usize, lens: &[usize]) -> Plan {
        Plan { batch, buffers: lens.to_vec(), ..Plan::default() }
    }

    /// A graph on images of 3×16×16 with nodes from `grow`.
    fn network(grow: impl FnOnce(&mut Graph, ValueId) -> Result<ValueId>) -> Graph {
        let mut graph = Graph::new(18, PathBuf::from("test.onnx"));
        let x = graph.add_value("x".to_owned(), None);
        let dims = [3, 16, 16].into_iter().map(Dim::Fixed);
        let dims = std::iter::once(Dim::Free("N".to_owned())).chain(dims).collect();
        graph.inputs.push(GraphInput::new(x, DType::F32, dims));
        let y = grow(&mut graph, x).unwrap();
        graph.outputs.push(y);
        graph
    }

    fn conv(graph: &mut Graph, x: ValueId, [outputs, inputs]: [usize; 2], name: &str) -> Result<ValueId> {
        let weights = Tensor::float(&[outputs, inputs, 3, 3], vec![0.1; outputs * inputs * 9]);
        let weights = graph.add_value(format!("{name}.weight"), Some(weights));
        let y = graph.add_operator(("Conv", &[]), &[x, weights], name.to_owned())?;
        graph.add_operator(("Relu", &[]), &[y], format!("{name}.relu"))
    }

    fn build(graph: &Graph, batch: usize) -> Result<Plan> {
        let facts = Facts::infer(graph, &graph.input_shapes(Some(batch), &Sizes::Own)?)?;
        plan::assemble(graph, &facts, &BuildOptions::default())
    }

    #[test]
    fn the_search_for_a_layered_network_is_exact_with_three_plans() {
        let graph = network(|graph, x| {
            let y = conv(graph, x, [8, 3], "first")?;
            let y = conv(graph, y, [16, 8], "second")?;
            let y = conv(graph, y, [4, 16], "third")?;
            graph.add_operator(("GlobalAveragePool", &[]), &[y], "pool".to_owned())
        });
        assert!(compare(&|batch| build(&graph, batch)) <= 3);
    }

    #[test]
    fn the_search_is_exact_if_a_node_takes_the_mean_of_the_batch() {
        let graph = network(|graph, x| {
            let y = conv(graph, x, [8, 3], "first")?;
            let axes = graph.add_value("axes".to_owned(), Some(Tensor::int(&[1], vec![0])));
            let mean =
                graph.add_operator(("ReduceMean", &[("keepdims", 1)]), &[y, axes], "mean".to_owned())?;
            let mean = graph.add_operator(("Exp", &[]), &[mean], "exp".to_owned())?;
            let y = graph.add_operator(("Sub", &[]), &[y, mean], "sub".to_owned())?;
            conv(graph, y, [16, 8], "second")
        });
        compare(&|batch| build(&graph, batch));
    }

    #[test]
    fn the_search_is_exact_for_buffers_that_do_not_follow_the_batch() {
        assert!(compare(&|batch| Ok(buffers(batch, &[10 * batch, 7 * batch, 1000]))) <= 3, "sums");
        compare(&|batch| Ok(buffers(batch, &[10 * batch.max(5), 7 * batch])));
        compare(&|batch| Ok(buffers(batch, &[batch * batch, 300])));
        compare(&|batch| Ok(buffers(batch, if batch > 9 { &[900] } else { &[400, 700] })));
        compare(&|batch| Ok(buffers(batch, &[[900, 100, 40, 7][batch.trailing_zeros() as usize % 4]])));
    }

    #[test]
    fn the_search_is_exact_if_plans_cannot_be_built() {
        let fails = |fail: &'static dyn Fn(usize) -> bool| {
            move |batch: usize| match fail(batch) {
                true => Err(Error::new(format!("no plan for {batch}"))),
                false => Ok(buffers(batch, &[10 * batch, 50])),
            }
        };
        compare(&fails(&|batch| batch > 10));
        compare(&fails(&|batch| batch < 10));
        compare(&fails(&|batch| batch == 1));
        assert!(largest_fitting(&SIZES, UNLIMITED, &mut fails(&|_| true)).is_err());
    }
}
