//! Building a plan from a graph: skips dead nodes, lowers and fuses layers, and assigns buffers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::integers::{IntegerLayer, integer_layers, skipped};
use super::memory_planning::plan_memory;
use super::{BuildOptions, HostSubgraph, Operand, Plan, Port, Step};
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, IdVec, NodeId, ValueId};
use crate::ops::{Emit, Lowering, Slot};
use crate::tensor::Data;

/// Builds the plan of a graph for the batch size of `facts`.
///
/// If a wanted output has a data-dependent shape, the plan has a host subgraph.
///
/// # Errors
/// A node that cannot be lowered, or a tensor that exceeds [`BuildOptions::max_binding`].
pub fn build(graph: &Graph, facts: &Facts, options: &BuildOptions) -> Result<Plan> {
    let plan = assemble(graph, facts, options)?;
    plan.check_bindings(options.max_binding).map_err(|e| e.file(&graph.path))?;
    Ok(plan)
}

/// Builds a plan whose tensors may exceed [`BuildOptions::max_binding`].
pub(crate) fn assemble(graph: &Graph, facts: &Facts, options: &BuildOptions) -> Result<Plan> {
    draft(graph, facts, options).map(|draft| plan_memory(draft.plan))
}

/// A plan before its memory is planned: every tensor has a buffer of its own.
pub(crate) struct Draft {
    /// The plan with a buffer for each tensor.
    pub(crate) plan: Plan,
    /// The operand of each computed value, unless a fusion skips it.
    pub(crate) places: IdVec<ValueId, Option<Operand>>,
}

/// Builds a plan without planning its memory.
pub(crate) fn draft(graph: &Graph, facts: &Facts, options: &BuildOptions) -> Result<Draft> {
    let mut builder = PlanBuilder::new(graph, facts, options);
    for id in graph.nodes.ids() {
        builder.node(id).map_err(|e| {
            let node = &graph.nodes[id];
            e.at(&node.op_type, &node.name).file(&graph.path)
        })?;
    }
    builder.finish()
}

/// A plan under construction.
pub(super) struct PlanBuilder<'a> {
    pub(super) graph: &'a Graph,
    pub(super) facts: &'a Facts,
    pub(super) options: &'a BuildOptions,
    pub(super) plan: Plan,
    /// The operand of each computed value.
    pub(super) places: IdVec<ValueId, Option<Operand>>,
    constants: HashMap<ValueId, usize>,
    /// The values of the plan's outputs, in order.
    pub(super) given: Vec<ValueId>,
    /// Values that no fusion may skip.
    pub(super) kept: HashSet<ValueId>,
    needed: IdVec<NodeId, bool>,
    /// The layers that compute with integers.
    pub(super) integers: HashMap<NodeId, IntegerLayer>,
    /// Nodes that are fused into a layer before them.
    pub(super) absorbed: HashSet<NodeId>,
}

impl<'a> PlanBuilder<'a> {
    fn new(graph: &'a Graph, facts: &'a Facts, options: &'a BuildOptions) -> Self {
        let network = if options.outputs { graph.outputs.as_slice() } else { &[] };
        let asked: Vec<ValueId> = network.iter().chain(&options.taps).copied().collect();
        let mut given: Vec<ValueId> =
            asked.iter().copied().filter(|&v| !facts.is_data_dependent(v)).collect();
        let host_subgraph =
            HostSubgraph::from_graph(graph, facts, &asked).map(|(mut host_subgraph, feeds)| {
                let new = |v: &ValueId| !given.contains(v);
                let feeds: Vec<ValueId> = feeds.into_iter().filter(new).collect();
                given.extend(feeds);
                host_subgraph.values.clone_from(&given);
                host_subgraph
            });
        let watched = options.probes.iter().flat_map(|p| p.values.iter().copied());
        let wanted: Vec<ValueId> = given.iter().copied().chain(watched).collect();
        let kept: HashSet<ValueId> = wanted.iter().copied().collect();
        let batch = facts.samples;
        let most = usize::try_from(options.max_binding / 4).unwrap_or(usize::MAX);
        let integers = if options.integers { integer_layers(graph, facts, most) } else { HashMap::new() };
        let absorbed = skipped(graph, &integers, |value| kept.contains(&value)).collect();
        let mut builder = Self {
            graph,
            facts,
            options,
            plan: Plan { batch, host_subgraph, ..Plan::default() },
            places: graph.values.filled(None),
            constants: HashMap::new(),
            given,
            kept,
            needed: graph.needed(facts, &|_| false, &wanted),
            absorbed,
            integers,
        };
        for (input, shape) in graph.inputs.iter().zip(&facts.input_shapes) {
            // Inputs with a fixed value are constants, and nobody has to give an unused one.
            let used = graph.is_used(input.value) || builder.kept.contains(&input.value);
            if input.bound.is_some() || !used {
                continue;
            }
            let place = builder.buffer(shape.iter().product());
            builder.places[input.value] = Some(place);
            let name = graph.name(input.value).to_owned();
            builder.plan.inputs.push(Port { name, place, shape: shape.clone(), dtype: input.dtype });
        }
        builder
    }

    pub(super) fn buffer(&mut self, len: usize) -> Operand {
        self.plan.buffers.push(len);
        Operand::Buffer(self.plan.buffers.len() - 1)
    }

    fn constant(&mut self, data: Arc<Vec<f32>>) -> Operand {
        self.plan.constants.push(data);
        Operand::Constant(self.plan.constants.len() - 1)
    }

    /// Returns the operand of a value. Constant integers become floats, which is what kernels read.
    pub(super) fn place(&mut self, value: ValueId) -> Result<Operand> {
        if let Some(place) = self.places[value] {
            return Ok(place);
        }
        let Some(tensor) = self.facts.get(value).and_then(|f| f.value.clone()) else {
            let name = self.graph.name(value);
            return Err(Error::new(format!("no step computes the value \"{name}\"")).internal());
        };
        if let Some(&id) = self.constants.get(&value) {
            return Ok(Operand::Constant(id));
        }
        let data = match &tensor.data {
            Data::Float(data) => data.clone(),
            Data::Int(data) => Arc::new(data.iter().map(|&x| x as f32).collect()),
        };
        let place = self.constant(data);
        self.constants.insert(value, self.plan.constants.len() - 1);
        Ok(place)
    }

    fn node(&mut self, id: NodeId) -> Result<()> {
        let (graph, facts) = (self.graph, self.facts);
        let node = &graph.nodes[id];
        let constant = node.outputs.iter().flatten().all(|&v| facts.is_constant(v));
        // Nodes of the host subgraph are never needed here, only their inputs.
        if !self.needed[id] || constant || self.absorbed.contains(&id) {
            return Ok(());
        }
        let inputs = facts.inputs(graph, id);
        let (fused, residual, end) = self.fused(id);
        let outputs = facts.outputs(graph, id);
        let mut lowering = Lowering::new(inputs, &outputs);
        lowering.fused = fused;
        lowering.integers = self.integers.get(&id).map(|layer| layer.numbers.clone());
        lowering.rounds_at_once = self.options.integers;
        lowering.max_constant = usize::try_from(self.options.max_binding / 4).unwrap_or(usize::MAX);
        node.op.lower(&mut lowering)?;
        let Lowering { emitted, temps, .. } = lowering;
        let temps: Vec<Operand> = temps.into_iter().map(|len| self.buffer(len)).collect();
        let mut made: Vec<Option<Operand>> = vec![None; outputs.len()];
        for emit in emitted {
            match emit {
                Emit::Alias { output, source } => {
                    made[output] = Some(self.slot(id, &source, (&temps, &made, residual))?);
                }
                Emit::Call(call) => {
                    let inputs = call
                        .inputs
                        .iter()
                        .map(|slot| self.slot(id, slot, (&temps, &made, residual)))
                        .collect::<Result<Vec<_>>>()?;
                    let place = match call.output {
                        Slot::Temp(t) => temps[t],
                        Slot::Output(k) => match made[k] {
                            Some(place) => place,
                            None => self.buffer(call.kernel.output_len()),
                        },
                        Slot::Input(_) | Slot::Constant(_) | Slot::Residual => {
                            return Err(Error::new("a call writes to its input").internal());
                        }
                    };
                    if let Slot::Output(k) = call.output {
                        made[k] = Some(place);
                    }
                    let Operand::Buffer(output) = place else {
                        return Err(Error::new("a call writes to a constant").internal());
                    };
                    let name = node.name.clone();
                    self.plan.steps.push(Step {
                        kernel: call.kernel,
                        inputs,
                        output,
                        node: name,
                        value: None,
                    });
                }
            }
        }
        for (k, value) in node.outputs.iter().enumerate() {
            let value = if k == 0 { end } else { *value };
            if let (Some(value), Some(place)) = (value, made[k]) {
                self.complete(value, place);
            }
        }
        Ok(())
    }

    /// Records the operand of a value, and the value that the last step completes.
    fn complete(&mut self, value: ValueId, place: Operand) {
        self.places[value] = Some(place);
        if let (Operand::Buffer(buffer), Some(step)) = (place, self.plan.steps.last_mut())
            && step.output == buffer
        {
            step.value = Some((self.graph.name(value).to_owned(), self.facts.shape(value).to_vec()));
        }
    }

    fn slot(
        &mut self,
        id: NodeId,
        slot: &Slot,
        (temps, made, residual): (&[Operand], &[Option<Operand>], Option<Operand>),
    ) -> Result<Operand> {
        match slot {
            Slot::Input(0) if self.integers.contains_key(&id) => self.place(self.integers[&id].input),
            Slot::Input(i) => match self.graph.nodes[id].inputs.get(*i).copied().flatten() {
                Some(value) => self.place(value),
                None => Err(Error::new(format!("input {i} is missing")).invalid_model()),
            },
            Slot::Temp(t) => Ok(temps[*t]),
            Slot::Output(k) => {
                made[*k].ok_or_else(|| Error::new("an output is read before it is computed").internal())
            }
            Slot::Constant(data) => Ok(self.constant(data.clone())),
            Slot::Residual => {
                residual.ok_or_else(|| Error::new("a call reads a residual that was not fused").internal())
            }
        }
    }
}
