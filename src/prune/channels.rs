//! Channel dependency analysis of a whole graph: coupled channels, their blocks and their costs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use super::times::Times;
use crate::coupling::{Block, ChannelLabels, Coupling, FROZEN, Label, Mixing, Propagation};
use crate::error::Result;
use crate::fact::Fact;
use crate::graph::facts::Facts;
use crate::graph::{Graph, IdVec, NodeId, ValueId};
use crate::stats::{mixed_value, place};

/// Channels that can only be removed together.
#[derive(Clone, Debug)]
pub struct CoupledChannels {
    /// The index in [`Channels::coupled`], by the position of the first channel in the graph.
    pub id: usize,
    /// The root label of the equivalence class.
    pub root: Label,
    /// The channels, as node and index.
    pub members: Vec<(NodeId, usize)>,
    /// The reason why the channels cannot be removed, if there is one.
    pub block: Option<Block>,
}

/// An axis of a constant or value that shrinks when channels are removed.
#[derive(Clone, Debug)]
pub struct AxisUse {
    /// The length before the cut.
    pub total: usize,
    /// True for the filter axis of a layer's weights.
    pub filters: bool,
}

/// A constant, or a product of computed tensors, whose MACs or parameters shrink with the channels.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The axes: `Ok` with an index into [`Channels::axes`], or `Err` with a fixed length.
    pub axes: Vec<Result<usize, usize>>,
    /// The MACs per element; 0 for a constant that is not the weight of a layer.
    pub macs: u64,
    /// True if the elements are parameters.
    pub parameters: bool,
    /// The layers that use this weight.
    pub nodes: Vec<NodeId>,
}

impl Weight {
    /// Returns the number of elements at these axis lengths.
    fn elements(&self, lengths: &[usize]) -> u64 {
        let length = |axis: &Result<usize, usize>| match axis {
            Ok(axis) => lengths[*axis] as u64,
            Err(length) => *length as u64,
        };
        self.axes.iter().map(length).product()
    }

    /// Returns the MACs of the layers at these axis lengths.
    pub fn macs_at(&self, lengths: &[usize]) -> u64 {
        self.macs * self.elements(lengths)
    }
}

/// The block of channels that enter the host subgraph.
const DATA_DEPENDENT: &str = "has a shape that is known only at run time";

/// The block of channels that enter a node with an empty output: no element carries a label through it.
const EMPTY: &str = "leaves a tensor without elements";

/// The channel dependencies of a graph.
#[derive(Clone, Debug)]
pub struct Channels {
    /// The shapes and constants at which the graph was analysed.
    pub facts: Facts,
    /// Labels, equivalence classes, producers and labelled constants.
    pub coupling: Coupling,
    /// The channel labels of every computed value.
    pub labels: IdVec<ValueId, Option<ChannelLabels>>,
    /// All sets of coupled channels, in graph order.
    pub coupled: Vec<CoupledChannels>,
    /// The axes that shrink when channels are removed.
    pub axes: Vec<AxisUse>,
    /// For each set of coupled channels, the axes that shrink without it and by how much.
    pub shortens: Vec<Vec<(usize, usize)>>,
    /// Everything whose MACs or parameters depend on the channels.
    pub weights: Vec<Weight>,
    /// MACs that do not depend on the channels, without the host subgraph, whose sizes are unknown.
    pub fixed_macs: u64,
    /// Coupled channels that are removed already: in iterative pruning, the network of a round has no consumers of them.
    pub gone: BTreeSet<usize>,
    /// The measured times of the layers on a device.
    pub times: Option<Times>,
    /// The answer of [`Channels::mixes_samples`], found out once for all copies.
    pub(crate) mixing: Arc<OnceLock<bool>>,
}

/// Freezes a class that is the only one of a tensor.
fn block_only_ones(coupling: &mut Coupling, graph: &Graph, labels: &IdVec<ValueId, Option<ChannelLabels>>) {
    for (value, labelled) in labels.iter_enumerated() {
        if let Some(labelled) = labelled
            && coupling.classes.is_one(labelled)
        {
            coupling.classes.freeze(&labelled.labels()[..1], graph.name(value), "has no other channel");
        }
    }
}

/// Propagates the labels of all channels through a graph, and decides which may be removed.
///
/// # Errors
/// Nodes whose inputs do not fit.
fn propagated(
    graph: &Graph,
    facts: &Facts,
    mut coupling: Coupling,
) -> Result<(Coupling, IdVec<ValueId, Option<ChannelLabels>>)> {
    let mut labels: IdVec<ValueId, Option<ChannelLabels>> = graph.values.filled(None);
    for input in &graph.inputs {
        labels[input.value] = Some(ChannelLabels::uniform(facts.shape(input.value), FROZEN));
    }
    for (id, node) in graph.nodes.iter_enumerated() {
        let outputs = facts.outputs(graph, id);
        let empty = outputs.iter().any(Fact::is_empty);
        if !empty && node.outputs.iter().flatten().all(|&v| facts.is_constant(v)) {
            continue;
        }
        if facts.is_data_dependent_node(graph, id) {
            for &value in node.inputs.iter().flatten() {
                let labels = labels[value].as_ref().map_or(&[][..], ChannelLabels::labels);
                coupling.classes.freeze(labels, &node.name, DATA_DEPENDENT);
            }
            continue;
        }
        let mut propagation = Propagation {
            coupling: &mut coupling,
            node: (id, &node.name),
            inputs: facts.inputs(graph, id),
            values: &node.inputs,
            labels: node.inputs.iter().map(|v| v.and_then(|v| labels[v].clone())).collect(),
            outputs: &outputs,
            result: vec![None; outputs.len()],
        };
        if empty {
            propagation.freeze_all(EMPTY);
        } else {
            node.op.propagate(&mut propagation).map_err(|e| e.node(&node.name).file(&graph.path))?;
        }
        for (value, labelled) in node.outputs.iter().zip(propagation.result) {
            if let Some(value) = value {
                labels[*value] = labelled.filter(|_| !facts.is_constant(*value));
            }
        }
    }
    coupling.freeze_wholly_mixed();
    for &output in &graph.outputs {
        if let Some(labelled) = &labels[output] {
            coupling.classes.freeze(labelled.labels(), graph.name(output), "is an output of the network");
        }
    }
    // A tensor cannot lose its only channel. Deferred choices depend on these blocks, and may leave more tensors
    // with a single class.
    block_only_ones(&mut coupling, graph, &labels);
    coupling.resolve_deferred();
    block_only_ones(&mut coupling, graph, &labels);
    // The host subgraph runs unchanged: its constants keep their shapes.
    for (&(value, _), cut) in &coupling.labelled_axes {
        let data_dependent =
            graph.values[value].consumers.iter().find(|&&n| facts.is_data_dependent_node(graph, n));
        if let Some(&node) = data_dependent {
            let name = &graph.nodes[node].name;
            coupling.classes.freeze(&cut.labels, name, DATA_DEPENDENT);
        }
    }
    // A constant that is computed from shapes cannot be stored shorter.
    for (&(value, _), cut) in &coupling.labelled_axes {
        if facts.get(value).is_some_and(|f| f.from_shape) || graph.outputs.contains(&value) {
            coupling.classes.freeze(&cut.labels, graph.name(value), "is computed from shapes");
        }
    }
    Ok((coupling, labels))
}

impl Channels {
    /// Analyses the channel dependencies of a graph, without inexact cuts.
    ///
    /// # Errors
    /// Shapes that cannot be inferred.
    pub fn of(graph: &Graph) -> Result<Self> {
        Self::analyze(graph, false)
    }

    /// Analyses the channel dependencies of a graph; with `inexact`, mixing nodes do not unite their channels.
    ///
    /// # Errors
    /// Shapes that cannot be inferred.
    pub fn analyze(graph: &Graph, inexact: bool) -> Result<Self> {
        let facts = Facts::at_own_size(graph)?;
        // Channels pass a product along another axis. If none of them can be removed, the product's own outputs may be.
        let mut makes_own = BTreeSet::new();
        loop {
            let (coupling, labels) = propagated(graph, &facts, Coupling::new(inexact, makes_own.clone()))?;
            let before = makes_own.len();
            makes_own.extend(coupling.passed_in_vain());
            if makes_own.len() == before {
                return Ok(Self::counted(graph, facts, coupling, labels));
            }
        }
    }

    /// Returns whether tensors of the analysed graph mix the samples of a pass, so that a pass is one sample.
    ///
    /// The answer may need two runs on the CPU, so it is kept for all copies.
    ///
    /// # Errors
    /// A network that cannot run.
    pub(crate) fn mixes_samples(&self, graph: &Graph) -> Result<bool> {
        if let Some(&mixes) = self.mixing.get() {
            return Ok(mixes);
        }
        let own = &self.facts;
        let varies = |&v: &ValueId| own.get(v).is_some() && !own.is_data_dependent(v) && !own.is_constant(v);
        let mixes = mixed_value(graph, graph.values.ids().filter(varies))?.is_some();
        Ok(*self.mixing.get_or_init(|| mixes))
    }

    /// Finds the sets of coupled channels of an analysed graph, and their costs.
    fn counted(
        graph: &Graph,
        facts: Facts,
        coupling: Coupling,
        labels: IdVec<ValueId, Option<ChannelLabels>>,
    ) -> Self {
        let mut channels = Self {
            facts,
            coupling,
            labels,
            coupled: vec![],
            axes: vec![],
            shortens: vec![],
            weights: vec![],
            fixed_macs: 0,
            gone: BTreeSet::new(),
            times: None,
            mixing: Arc::default(),
        };
        channels.find_coupled();
        channels.find_costs(graph);
        channels
    }

    fn find_coupled(&mut self) {
        let mut by_root: HashMap<Label, usize> = HashMap::new();
        for producer in &self.coupling.producers {
            for (channel, &label) in producer.labels.iter().enumerate() {
                let root = self.coupling.classes.find(label);
                let coupled = &mut self.coupled;
                let id = *by_root.entry(root).or_insert_with(|| {
                    coupled.push(CoupledChannels { id: coupled.len(), root, members: vec![], block: None });
                    coupled.len() - 1
                });
                self.coupled[id].members.push((producer.node, channel));
            }
        }
        for set in &mut self.coupled {
            set.block = self.coupling.classes.block(set.root).cloned();
        }
    }

    fn find_costs(&mut self, graph: &Graph) {
        let by_root: HashMap<Label, usize> = self.coupled.iter().map(|k| (k.root, k.id)).collect();
        self.shortens = vec![vec![]; self.coupled.len()];
        let mut seen: HashMap<Vec<Option<usize>>, usize> = HashMap::new();
        let mut axis_of = |this: &mut Self, coupled: Vec<Option<usize>>, filters: bool| -> usize {
            if let Some(&axis) = seen.get(&coupled) {
                this.axes[axis].filters |= filters;
                return axis;
            }
            let axis = this.axes.len();
            this.axes.push(AxisUse { total: coupled.len(), filters });
            let mut counts: HashMap<usize, usize> = HashMap::new();
            coupled.iter().flatten().for_each(|&k| *counts.entry(k).or_default() += 1);
            for (set, count) in counts {
                this.shortens[set].push((axis, count));
            }
            seen.insert(coupled, axis);
            axis
        };
        let mut of_constant: HashMap<(ValueId, usize), usize> = HashMap::new();
        for ((value, axis), cut) in self.coupling.labelled_axes.clone() {
            let coupled =
                cut.labels.iter().map(|&l| by_root.get(&self.coupling.classes.find(l)).copied()).collect();
            let used = axis_of(self, coupled, cut.makes);
            of_constant.insert((value, axis), used);
        }
        // The shrinking axis of each value, which must keep at least one index.
        let mut of_value: HashMap<ValueId, (usize, usize)> = HashMap::new();
        for (value, labelled) in self.labels.clone().iter_enumerated() {
            let Some(labelled) = labelled else { continue };
            for axis in self.coupling.classes.varying(labelled) {
                let set = |label: Label| by_root.get(&self.coupling.classes.find(label)).copied();
                let coupled: Vec<Option<usize>> = labelled.firsts(axis).into_iter().map(set).collect();
                of_value.insert(value, (axis, axis_of(self, coupled, false)));
            }
        }
        let mut macs: HashMap<ValueId, (u64, Vec<NodeId>)> = HashMap::new();
        let mut read: BTreeSet<ValueId> = BTreeSet::new();
        for (id, node) in graph.nodes.iter_enumerated() {
            if node.outputs.iter().flatten().all(|&v| self.facts.is_constant(v)) {
                continue;
            }
            read.extend(node.inputs.iter().flatten().filter(|&&v| self.facts.is_constant(v)));
            if self.facts.is_data_dependent_node(graph, id) {
                continue;
            }
            let (inputs, outputs) = (self.facts.inputs(graph, id), self.facts.outputs(graph, id));
            let samples = self.facts.samples as u64;
            let mut cost = node.op.macs(&inputs, &outputs) / samples;
            let recurrence = node.op.recurrence(&inputs, &outputs);
            let recurrence = recurrence
                .and_then(|(i, macs)| Some((node.inputs.get(i).copied().flatten()?, macs / samples)));
            if let Some((weight, part)) = recurrence.filter(|&(w, _)| self.facts.is_constant(w)) {
                let elements = self.facts.shape(weight).iter().product::<usize>().max(1) as u64;
                // The node's time is a function of its first weights.
                macs.entry(weight).or_default().0 += part / elements;
                cost -= part;
            }
            let shrinks = node.outputs.iter().flatten().next().and_then(|&v| {
                let &(along, axis) = of_value.get(&v)?;
                let channels = node.op.layer().map(|l| place(l.channels, self.facts.shape(v).len()));
                Some((channels != Some(along), axis))
            });
            let weight = node.op.layer().and_then(|l| node.inputs.get(l.weight).copied().flatten());
            match weight
                .filter(|&w| self.facts.is_constant(w))
                .filter(|_| !matches!(shrinks, Some((true, _))))
            {
                Some(weight) => {
                    let elements = self.facts.shape(weight).iter().product::<usize>().max(1) as u64;
                    let of = macs.entry(weight).or_default();
                    of.0 += cost / elements;
                    of.1.push(id);
                }
                // The cost of a product that the channels of a factor pass is proportional to the length of its output.
                None => match shrinks {
                    Some((_, axis)) if cost > 0 => self.weights.push(Weight {
                        axes: vec![Ok(axis)],
                        macs: cost / self.axes[axis].total as u64,
                        parameters: false,
                        nodes: vec![id],
                    }),
                    _ => self.fixed_macs += cost,
                },
            }
        }
        for value in read {
            let Some(fact) = self.facts.get(value) else { continue };
            let axes = (0..fact.shape.len())
                .map(|a| of_constant.get(&(value, a)).copied().ok_or(fact.shape[a]))
                .map(|r: Result<usize, usize>| r)
                .collect();
            let (macs, nodes) = macs.remove(&value).unwrap_or_default();
            let parameters = fact.dtype.is_float() && !fact.from_shape;
            self.weights.push(Weight { axes, macs, parameters, nodes });
        }
    }

    /// Returns the MACs per image and the number of parameters at these axis lengths.
    pub fn cost(&self, lengths: &[usize]) -> (u64, u64) {
        let mut total = (self.fixed_macs, 0);
        for weight in &self.weights {
            let elements = weight.elements(lengths);
            total.0 += weight.macs * elements;
            total.1 += if weight.parameters { elements } else { 0 };
        }
        total
    }

    /// Returns the measured picoseconds per image at these axis lengths; 0 without measurements.
    pub fn time(&self, lengths: &[usize]) -> u64 {
        let Some(times) = &self.times else { return 0 };
        let one = |(i, weight): (usize, &Weight)| times.of(i, weight.macs_at(lengths));
        times.fixed + self.weights.iter().enumerate().map(one).sum::<u64>()
    }

    /// Returns the dependency groups in graph order: coupled channels that the same layers produce.
    pub fn dependency_groups(&self) -> Vec<Vec<usize>> {
        let mut dependency_groups: HashMap<Vec<NodeId>, Vec<usize>> = HashMap::new();
        for set in &self.coupled {
            let nodes = set.members.iter().map(|m| m.0).collect();
            dependency_groups.entry(nodes).or_default().push(set.id);
        }
        let mut dependency_groups: Vec<Vec<usize>> = dependency_groups.into_values().collect();
        dependency_groups.sort();
        dependency_groups
    }

    /// Returns the length of every axis before the cut.
    pub fn lengths(&self) -> Vec<usize> {
        self.axes.iter().map(|a| a.total).collect()
    }

    /// Returns the length of every axis without the coupled channels `removed`.
    pub fn lengths_without(&self, removed: &BTreeSet<usize>) -> Vec<usize> {
        let mut lengths = self.lengths();
        for &(axis, count) in removed.iter().flat_map(|&k| &self.shortens[k]) {
            lengths[axis] -= count;
        }
        lengths
    }

    /// Returns the names of the nodes at which channels of `removed` mix with channels that stay, in graph order.
    ///
    /// Empty unless the analysis was inexact.
    pub fn inexact(&self, graph: &Graph, removed: &BTreeSet<usize>) -> Vec<String> {
        let roots = self.roots(removed);
        let mixes = |m: &&Mixing| !m.classes(&self.coupling.classes).is_disjoint(&roots);
        let mixings = self.coupling.mixings.iter().filter(mixes);
        mixings.map(|m| graph.nodes[m.node].name.clone()).collect()
    }

    /// Returns the root labels of these coupled channels.
    pub fn roots(&self, coupled: &BTreeSet<usize>) -> BTreeSet<Label> {
        coupled.iter().map(|&k| self.coupled[k].root).collect()
    }

    /// Returns true if the class of a label is among the removed roots.
    pub fn is_removed(&self, label: Label, removed: &BTreeSet<Label>) -> bool {
        removed.contains(&self.coupling.classes.find(label))
    }
}
