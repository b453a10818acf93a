//! From the graph to a plan: dead nodes left out, layers fused with what follows them, values given
//! buffers, buffers reused.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::memory_planning::reuse;
use super::{BufferId, HostSubgraph, Operand, Plan, Port, Step};
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::kernels::Kernel;
use crate::kernels::activation::Activation;
use crate::ops::{Emit, Fused, Lowering, Slot};
use crate::tensor::{DType, Data, Precision};

/// Something that is computed from values beside the network: one kernel over them, one more output.
///
/// Where the kernel accumulates, the output is one of [`Plan::sums`], and the kernel's last input is the
/// weights of the batch's images: 1 for a real one, 0 for one that fills the batch up. The plan gets them
/// as one more input, the last, that all such probes share.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The values that it reads.
    pub values: Vec<ValueId>,
    /// The call.
    pub kernel: Arc<dyn Kernel>,
    /// The name of its output.
    pub name: String,
    /// The shape of its output.
    pub shape: Vec<usize>,
}

/// What a plan is built for.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Values that are outputs too, after the network's own.
    pub taps: Vec<ValueId>,
    /// What is computed beside the network; its outputs come last, or are sums.
    pub probes: Vec<Probe>,
    /// Whether the network's own outputs are wanted.
    pub outputs: bool,
    /// Whether layers take in what follows them.
    pub fuse: bool,
    /// Whether they also take in what is added to them. It saves memory's time; processors, whose caches hold sums until
    /// they are read again, gain nothing by it.
    pub addends: bool,
    /// Whether they also take in that only the largest of every 2×2 of their outputs stay, as far as a device may gain by
    /// it.
    pub pools: bool,
    /// The most bytes that one binding may have.
    pub max_binding: u64,
    /// What a device keeps numbers as between steps, as far as they are the network's own and no indices.
    pub precision: Precision,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            taps: vec![],
            probes: vec![],
            outputs: true,
            fuse: true,
            addends: true,
            pools: true,
            max_binding: u64::MAX,
            precision: Precision::F32,
        }
    }
}

/// Builds the plan of a graph for the batch size of `facts`. Late values among those that are wanted make it a
/// plan with a host_subgraph.
///
/// # Errors
/// A node that cannot be lowered, or whose tensors are larger than the device binds.
pub fn build(graph: &Graph, facts: &Facts, options: &BuildOptions) -> Result<Plan> {
    let mut builder = Builder::new(graph, facts, options);
    for id in 0..graph.nodes.len() {
        builder.node(id).map_err(|e| {
            let node = &graph.nodes[id];
            e.at(&node.op_type, &node.name).file(&graph.path)
        })?;
    }
    builder.finish()
}

struct Builder<'a> {
    graph: &'a Graph,
    facts: &'a Facts,
    options: &'a BuildOptions,
    plan: Plan,
    /// Where each value stands, once it is made.
    places: Vec<Option<Operand>>,
    constants: HashMap<ValueId, usize>,
    /// The values that the steps give, in order.
    given: Vec<ValueId>,
    /// Values that must exist by themselves.
    kept: HashSet<ValueId>,
    needed: Vec<bool>,
    /// Nodes that a layer before them took in.
    absorbed: HashSet<NodeId>,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, facts: &'a Facts, options: &'a BuildOptions) -> Self {
        let network = if options.outputs { graph.outputs.as_slice() } else { &[] };
        let asked: Vec<ValueId> = network.iter().chain(&options.taps).copied().collect();
        let mut given: Vec<ValueId> =
            asked.iter().copied().filter(|&v| !facts.is_data_dependent(v)).collect();
        let host_subgraph = HostSubgraph::of(graph, facts, &asked).map(|(mut host_subgraph, feeds)| {
            let new = |v: &ValueId| !given.contains(v);
            let feeds: Vec<ValueId> = feeds.into_iter().filter(new).collect();
            given.extend(feeds);
            host_subgraph.values.clone_from(&given);
            host_subgraph
        });
        let watched = options.probes.iter().flat_map(|p| p.values.iter().copied());
        let wanted: Vec<ValueId> = given.iter().copied().chain(watched).collect();
        let kept: HashSet<ValueId> = wanted.iter().copied().collect();
        let batch = facts.input_shapes.first().and_then(|s| s.first()).copied().unwrap_or(1);
        let mut builder = Self {
            graph,
            facts,
            options,
            plan: Plan { batch, host_subgraph, ..Plan::default() },
            places: vec![None; graph.values.len()],
            constants: HashMap::new(),
            given,
            kept,
            needed: graph.needed(facts, &|_| false, &wanted),
            absorbed: HashSet::new(),
        };
        for (input, shape) in graph.inputs.iter().zip(&facts.input_shapes) {
            let place = builder.buffer(shape.iter().product());
            builder.places[input.value] = Some(place);
            let name = graph.name(input.value).to_owned();
            builder.plan.inputs.push(Port { name, place, shape: shape.clone(), dtype: input.dtype });
        }
        builder
    }

    fn buffer(&mut self, len: usize) -> Operand {
        self.plan.buffers.push(len);
        Operand::Buffer(self.plan.buffers.len() - 1)
    }

    fn constant(&mut self, data: Arc<Vec<f32>>) -> Operand {
        self.plan.constants.push(data);
        Operand::Constant(self.plan.constants.len() - 1)
    }

    /// Where a value can be read. Integers become floats: a kernel that reads them knows.
    fn place(&mut self, value: ValueId) -> Result<Operand> {
        if let Some(place) = self.places[value] {
            return Ok(place);
        }
        let Some(tensor) = self.facts.get(value).and_then(|f| f.value.clone()) else {
            return Err(Error::new(format!(
                "the value \"{}\" is needed, but nothing the engine runs makes it",
                self.graph.name(value)
            )));
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

    /// What the layer `id` takes in, the place of what is added to it, and the value that the result stands for.
    fn fused(&mut self, id: NodeId) -> (Fused, Option<Operand>, Option<ValueId>) {
        let graph = self.graph;
        let mut fused = Fused::default();
        let mut end = graph.nodes[id].outputs.first().copied().flatten();
        let (op, inputs) = (&graph.nodes[id].op, self.facts.inputs(graph, id));
        if !self.options.fuse || !op.fuses_activation(&inputs) {
            return (fused, None, end);
        }
        let (scales, adds) =
            (op.fuses_scale_shift(&inputs), self.options.addends && op.fuses_residual(&inputs));
        let pools = self.options.pools && op.fuses_pool(&inputs);
        let mut addend = None;
        while let Some(value) = end.filter(|v| !self.kept.contains(v)) {
            let Some(next) = graph.only_consumer(value) else { break };
            let node = &graph.nodes[next];
            let inputs = self.facts.inputs(graph, next);
            let first = node.inputs.first().copied().flatten() == Some(value);
            if pools
                && first
                && addend.is_none()
                && fused.activation.rises()
                && node.op.is_max_pool_2x2(&inputs)
            {
                fused.pooled = true;
                self.absorbed.insert(next);
                end = node.outputs.first().copied().flatten();
                break;
            }
            if fused.activation != Activation::None {
                break;
            }
            let scale_shift = node.op.scale_shift(&inputs).filter(|_| scales && first && addend.is_none());
            let other = (adds && addend.is_none() && node.op.is_elementwise_add(&inputs))
                .then(|| self.other(node, value));
            if let (Some(scale_shift), None) = (scale_shift, &fused.scale_shift) {
                fused.scale_shift = Some(scale_shift);
            } else if let Some(place @ Operand::Buffer(_)) = other.flatten() {
                (addend, fused.residual) = (Some(place), true);
            } else if !first {
                break;
            } else if let Some(activation) = node.op.activation(&inputs) {
                fused.activation = activation;
            } else {
                break;
            }
            self.absorbed.insert(next);
            end = node.outputs.first().copied().flatten();
        }
        (fused, addend, end)
    }

    /// Where the other of a node's two inputs stands, if it is made already.
    fn other(&self, node: &Node, value: ValueId) -> Option<Operand> {
        let other = node.inputs.iter().flatten().find(|&&input| input != value)?;
        self.places[*other]
    }

    fn node(&mut self, id: NodeId) -> Result<()> {
        let (graph, facts) = (self.graph, self.facts);
        let node = &graph.nodes[id];
        let constant = node.outputs.iter().flatten().all(|&v| facts.is_constant(v));
        // Nothing of the host_subgraph is needed here: only what it reads.
        if !self.needed[id] || constant || self.absorbed.contains(&id) {
            return Ok(());
        }
        let inputs = facts.inputs(graph, id);
        let (fused, addend, end) = self.fused(id);
        let outputs = facts.outputs(graph, id);
        let mut lowering = Lowering::new(inputs, &outputs);
        lowering.fused = fused;
        lowering.max_constant = usize::try_from(self.options.max_binding / 4).unwrap_or(usize::MAX);
        node.op.lower(&mut lowering)?;
        let Lowering { emitted, temps, .. } = lowering;
        let temps: Vec<Operand> = temps.into_iter().map(|len| self.buffer(len)).collect();
        let mut made: Vec<Option<Operand>> = vec![None; outputs.len()];
        for emit in emitted {
            match emit {
                Emit::Alias { output, source } => {
                    made[output] = Some(self.slot(id, &source, (&temps, &made, addend))?);
                }
                Emit::Call(call) => {
                    let inputs = call
                        .inputs
                        .iter()
                        .map(|slot| self.slot(id, slot, (&temps, &made, addend)))
                        .collect::<Result<Vec<_>>>()?;
                    let place = match call.output {
                        Slot::Temp(t) => temps[t],
                        Slot::Output(k) => match made[k] {
                            Some(place) => place,
                            None => self.buffer(call.kernel.output_len()),
                        },
                        Slot::Input(_) | Slot::Constant(_) | Slot::Residual => {
                            return Err(Error::new("a call writes to its input"));
                        }
                    };
                    if let Slot::Output(k) = call.output {
                        made[k] = Some(place);
                    }
                    let Operand::Buffer(output) = place else {
                        return Err(Error::new("a call writes to a constant"));
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

    /// `value` stands at `place` from here on.
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
        (temps, made, addend): (&[Operand], &[Option<Operand>], Option<Operand>),
    ) -> Result<Operand> {
        match slot {
            Slot::Input(i) => match self.graph.nodes[id].inputs.get(*i).copied().flatten() {
                Some(value) => self.place(value),
                None => Err(Error::new(format!("input {i} is missing"))),
            },
            Slot::Temp(t) => Ok(temps[*t]),
            Slot::Output(k) => made[*k].ok_or_else(|| Error::new("an output is read before it is made")),
            Slot::Constant(data) => Ok(self.constant(data.clone())),
            Slot::Residual => addend.ok_or_else(|| Error::new("a call reads a residual that was not fused")),
        }
    }

    /// The plan's last input: the weight of every image of the batch.
    fn image_weights(&mut self) -> Operand {
        let batch = self.plan.batch;
        let place = self.buffer(batch);
        self.plan.inputs.push(Port {
            name: "image weights".to_owned(),
            place,
            shape: vec![batch],
            dtype: DType::F32,
        });
        place
    }

    /// Whether a probe that accumulates reads its values and a weight for every image.
    fn fits_the_weights(&self, probe: &Probe) -> Result<()> {
        let values = probe.values.iter().map(|&v| self.facts.shape(v).iter().product());
        let expected: Vec<usize> = values.chain([self.plan.batch]).collect();
        let got = probe.kernel.input_lens();
        if expected == got {
            return Ok(());
        }
        Err(Error::new("a probe that accumulates does not read its values and the batch's weights")
            .expected(format!("inputs of {expected:?} elements"))
            .got(format!("{got:?}"))
            .remedy("make its kernel for the batch of the facts"))
    }

    /// The buffers that hold the network's own floating-point values, come from no caller and go to none.
    fn floats(&self) -> HashSet<BufferId> {
        let (mut floats, mut others) = (HashSet::new(), HashSet::new());
        for (value, place) in self.places.iter().enumerate() {
            if let Some(Operand::Buffer(buffer)) = *place {
                let float = self.facts.get(value).is_some_and(|fact| fact.dtype.is_float());
                let set = if float { &mut floats } else { &mut others };
                set.insert(buffer);
            }
        }
        let ports = self.plan.inputs.iter().chain(&self.plan.outputs).chain(&self.plan.sums);
        let ports: HashSet<Operand> = ports.map(|port| port.place).collect();
        floats.retain(|&buffer| !others.contains(&buffer) && !ports.contains(&Operand::Buffer(buffer)));
        floats
    }

    fn finish(mut self) -> Result<Plan> {
        let options = self.options;
        for value in std::mem::take(&mut self.given) {
            let place = self.place(value).map_err(|e| e.file(&self.graph.path))?;
            let (name, shape) = (self.graph.name(value).to_owned(), self.facts.shape(value).to_vec());
            let dtype = self.facts.get(value).map_or(DType::F32, |f| f.dtype);
            self.plan.outputs.push(Port { name, place, shape, dtype });
        }
        let weights = options.probes.iter().any(|p| p.kernel.accumulates()).then(|| self.image_weights());
        for probe in &options.probes {
            let places = probe.values.iter().map(|&v| self.place(v)).collect::<Result<Vec<_>>>();
            let mut inputs = places.map_err(|e| e.file(&self.graph.path))?;
            if probe.kernel.accumulates() {
                self.fits_the_weights(probe).map_err(|e| e.node(&probe.name).file(&self.graph.path))?;
                inputs.extend(weights);
            }
            let place = self.buffer(probe.kernel.output_len());
            let Operand::Buffer(output) = place else { continue };
            let step =
                Step { kernel: probe.kernel.clone(), inputs, output, node: probe.name.clone(), value: None };
            // Right behind the step that completes its values, so that their buffers can be reused.
            let made = |&operand: &Operand| match operand {
                Operand::Buffer(b) => {
                    self.plan.steps.iter().rposition(|s| s.output == b).map_or(0, |s| s + 1)
                }
                Operand::Constant(_) => 0,
            };
            let at = step.inputs.iter().map(made).max().unwrap_or(0);
            self.plan.steps.insert(at, step);
            let (name, shape) = (probe.name.clone(), probe.shape.clone());
            let port = Port { name, place, shape, dtype: DType::F32 };
            if probe.kernel.accumulates() {
                self.plan.sums.push(port);
            } else {
                self.plan.outputs.push(port);
            }
        }
        let too_large = self.plan.steps.iter().find(|s| {
            let most = s.kernel.input_lens().into_iter().chain([s.kernel.output_len()]).max().unwrap_or(0);
            most as u64 * 4 > options.max_binding
        });
        if let Some(step) = too_large {
            let largest = step.kernel.input_lens().into_iter().chain([step.kernel.output_len()]).max();
            // What accumulates is as large at any batch.
            let sums = step.kernel.accumulates() && step.kernel.output_len() as u64 * 4 > options.max_binding;
            return Err(Error::new("a tensor is larger than the device binds")
                .file(&self.graph.path)
                .node(&step.node)
                .expected(format!("at most {} bytes", options.max_binding))
                .got(format!("{} bytes at batch {}", largest.unwrap_or(0) * 4, self.plan.batch))
                .remedy(if sums {
                    "use --device cpu"
                } else {
                    "use a smaller --batch, smaller images, or --device cpu"
                }));
        }
        if options.precision == Precision::F16 {
            let candidates = self.floats();
            self.plan.keep_halves(candidates);
        }
        Ok(reuse(self.plan))
    }
}
