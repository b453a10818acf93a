//! The plan that computes gradients of gates: the network, a loss, its gradients, and their sums over positions.

use std::collections::BTreeMap;

use super::differentiate::{Gradients, differentiate};
use super::gate_options::{GateObjective, GateOptions};
use super::imitation::scores;
use super::objective::{Calls, Place};
use super::rounding::round_parameters;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp};
use crate::kernels::normalization::SoftmaxKernel;
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::plan::{BufferId, BuildOptions, Draft, Operand, Plan, Port, Step, draft, plan_memory};
use crate::stats::{LayerTaps, Samples, place, positions};
use crate::tensor::DType;

/// The random inputs of a loss, behind the network's inputs.
#[derive(Debug)]
pub(super) enum Noise {
    /// Numbers that are added to the scores of so many classes before the largest is taken, then the samples' weights.
    Classes(usize),
    /// Factors of the outputs, which have so many elements in a run.
    Outputs(Vec<usize>),
}

/// A run that computes the gradients of a batch.
#[derive(Debug)]
pub(super) struct GatePlan {
    pub(super) plan: Plan,
    /// The output of each layer, parts × channels; `None` if no gradient, or only a part of it, reaches the layer.
    pub(super) layers: Vec<Option<usize>>,
    /// The nodes through which no gradient passes.
    pub(super) stops: Vec<String>,
    /// The parts of a run that have gradients of their own: the samples, or 1 if tensors mix them.
    pub(super) parts: usize,
    pub(super) noise: Noise,
}

impl GatePlan {
    /// Plans the gradients for a number of samples; `None` for a network of fixed batch size.
    ///
    /// # Errors
    /// A network without outputs that depend on its inputs, and nodes that cannot be planned.
    pub(super) fn new(
        (graph, layers): (&Graph, &[LayerTaps]),
        mixed: bool,
        (options, batch): (&GateOptions, Option<usize>),
        max_binding: u64,
    ) -> Result<Self> {
        let sizes = Sizes::Sample(options.sample.clone());
        let facts = Facts::infer(graph, &graph.input_shapes(batch, &sizes)?)?;
        let gated: Vec<ValueId> = layers.iter().map(LayerTaps::gated).collect();
        let outputs = outputs(graph, &facts, options.objective)?;
        let unfused = BuildOptions {
            taps: gated.iter().chain(&outputs).copied().collect(),
            outputs: false,
            fuse: false,
            fuse_residual: false,
            fuse_pool: false,
            integers: false,
            max_binding,
            ..BuildOptions::default()
        };
        let Draft { mut plan, places } = draft(graph, &facts, &unfused)?;
        plan.outputs.clear();
        let batch = plan.batch;
        let place_of = |value: ValueId| Some(Place::new(places[value]?, facts.shape(value), batch));
        let outputs: Vec<Place> = outputs.into_iter().filter_map(place_of).collect();
        let (loss, noise) = loss(&mut plan, &outputs, options.objective)?;
        let buffer = |&value: &ValueId| match places[value] {
            Some(Operand::Buffer(buffer)) => Some(buffer),
            Some(Operand::Constant(_)) | None => None,
        };
        let buffers: Vec<Option<BufferId>> = gated.iter().map(buffer).collect();
        let wanted: Vec<BufferId> = buffers.iter().flatten().copied().collect();
        let straight = round_parameters(&mut plan, graph, &[])?;
        let Gradients { operands, stops, partial } = differentiate(&mut plan, loss, &wanted, &straight)?;
        let whole = operands.into_iter().zip(partial).map(|(operand, partial)| operand.filter(|_| !partial));
        let mut whole = wanted.into_iter().zip(whole);
        let samples = Samples::of(&facts, mixed);
        let steps = plan.steps.len();
        let mut sums = Sums { plan: &mut plan, parts: samples.parts, anchors: BTreeMap::new(), steps };
        let of_layer = |(taps, buffer): (&LayerTaps, &Option<BufferId>)| -> Result<Option<usize>> {
            let Some((buffer, gradient)) = buffer.and_then(|_| whole.next()) else { return Ok(None) };
            let shape = facts.shape(taps.gated());
            let axes = positions(shape, place(taps.layer.channels, shape.len()));
            let name = graph.nodes[taps.node].name.as_str();
            gradient.map(|gradient| sums.add(name, (buffer, gradient), axes)).transpose()
        };
        let layers = layers.iter().zip(&buffers).map(of_layer).collect::<Result<_>>()?;
        sums.arrange();
        let stops = stops.into_iter().map(|(node, _)| node).collect();
        Ok(Self { plan: plan_memory(plan), layers, stops, parts: samples.parts, noise })
    }
}

/// Returns the values that the loss depends on: the class scores, or all outputs of numbers.
fn outputs(graph: &Graph, facts: &Facts, objective: GateObjective) -> Result<Vec<ValueId>> {
    let has_gradient =
        |value: &ValueId| facts.get(*value).is_some_and(|fact| fact.dtype.is_float() && fact.value.is_none());
    let found: Vec<ValueId> = match objective {
        GateObjective::Classes { output, .. } => {
            graph.outputs.get(output).map(|&output| scores(graph, output)).into_iter().collect()
        }
        GateObjective::Outputs => graph.outputs.clone(),
    };
    let found: Vec<ValueId> = found.into_iter().filter(has_gradient).collect();
    if found.is_empty() {
        return Err(Error::new("no output of the network has a gradient")
            .expected("an output of floats that depends on the images, whose shape does not")
            .got(graph.outputs.iter().map(|&value| graph.name(value)).collect::<Vec<_>>().join(", "))
            .remedy("choose a criterion without gradients, such as l1")
            .unsupported());
    }
    Ok(found)
}

/// Appends the loss of a run, the sum over its samples; returns its buffer.
fn loss(plan: &mut Plan, outputs: &[Place], objective: GateObjective) -> Result<(BufferId, Noise)> {
    let (loss, noise) = match objective {
        GateObjective::Classes { classes, .. } => {
            let batch = plan.batch;
            let noise = Calls { plan, node: "inputs" }.input("noise", vec![batch, classes]);
            let weights = Calls { plan, node: "inputs" }.input("weights", vec![batch]);
            let mut calls = Calls { plan, node: "loss" };
            (calls.drawn_class(&outputs[0], (batch, classes), noise, weights)?, Noise::Classes(classes))
        }
        GateObjective::Outputs => {
            let mut parts = Vec::new();
            for output in outputs {
                let noise = Calls { plan, node: "inputs" }.input("noise", output.shape.clone());
                let mut calls = Calls { plan, node: "loss" };
                parts.push((calls.scalar_product(output, noise)?, 1.0));
            }
            let lens = outputs.iter().map(|output| output.shape.iter().product()).collect();
            (Calls { plan, node: "loss" }.weighted_sum(&parts)?, Noise::Outputs(lens))
        }
    };
    match loss {
        Operand::Buffer(buffer) => Ok((buffer, noise)),
        Operand::Constant(_) => Err(Error::new("the loss is constant").internal()),
    }
}

impl Calls<'_> {
    /// Appends the cross-entropy with the class whose score plus noise is the largest, times the samples' weights.
    fn drawn_class(
        &mut self,
        place: &Place,
        (batch, classes): (usize, usize),
        noise: Operand,
        weights: Operand,
    ) -> Result<Operand> {
        let (rows, len) = ([batch, classes], batch * classes);
        let log = SoftmaxKernel { outer: batch, axis: classes, inner: 1, log: true };
        let log = self.call(log, vec![place.operand]);
        let noisy = self.broadcast(BinaryOp::Add, (place.operand, &rows), (noise, &rows))?;
        let largest = ReduceKernel { op: ReduceOp::Max, outer: batch, axis: classes, inner: 1 };
        let largest = self.call(largest, vec![noisy]);
        let drawn = self.broadcast(BinaryOp::GreaterOrEqual, (noisy, &rows), (largest, &[batch, 1]))?;
        let drawn = self.broadcast(BinaryOp::Mul, (drawn, &rows), (weights, &[batch, 1]))?;
        let product = self.broadcast(BinaryOp::Mul, (log, &rows), (drawn, &rows))?;
        let sum = self.total(product, batch, len);
        Ok(self.scaled(sum, 1, -1.0))
    }

    /// Appends the sum of an array's elements, each times its factor.
    fn scalar_product(&mut self, place: &Place, factors: Operand) -> Result<Operand> {
        let len = [place.shape.iter().product()];
        let product = self.broadcast(BinaryOp::Mul, (place.operand, &len), (factors, &len))?;
        Ok(self.total(product, place.shape[0], len[0]))
    }

    /// Appends an elementwise function of two arrays, with broadcasting.
    fn broadcast(&mut self, op: BinaryOp, a: (Operand, &[usize]), b: (Operand, &[usize])) -> Result<Operand> {
        let kernel = BinaryKernel::new(op, a.1, b.1, Activation::None)
            .ok_or_else(|| Error::new("the operands of a loss do not fit").internal())?;
        Ok(self.call(kernel, vec![a.0, b.0]))
    }
}

/// The sums of gradients over positions, each of which runs as soon as its gradient is known.
struct Sums<'a> {
    plan: &'a mut Plan,
    parts: usize,
    /// The steps of the network, the loss and the gradients.
    steps: usize,
    /// The steps that follow one of these.
    anchors: BTreeMap<usize, Vec<Step>>,
}

impl Sums<'_> {
    /// Adds the sum over positions of values times their gradients; returns the index of the output.
    fn add(
        &mut self,
        name: &str,
        (value, gradient): (BufferId, Operand),
        [outer, channels, inner]: [usize; 3],
    ) -> Result<usize> {
        let len = outer * channels * inner;
        let mut calls = Calls { plan: self.plan, node: "gates" };
        let product = calls.broadcast(BinaryOp::Mul, (Operand::Buffer(value), &[len]), (gradient, &[len]))?;
        let sum = |outer, axis, inner| ReduceKernel { op: ReduceOp::Sum, outer, axis, inner };
        let sums = calls.call(sum(outer * channels, inner, 1), vec![product]);
        let sums = calls.call(sum(self.parts, outer / self.parts, channels), vec![sums]);
        let new = self.plan.steps.split_off(self.steps);
        let makes = |step: &Step| Operand::Buffer(step.output) == gradient;
        let anchor = self.plan.steps.iter().rposition(makes).unwrap_or(self.steps.saturating_sub(1));
        self.anchors.entry(anchor).or_default().extend(new);
        self.plan.outputs.push(Port {
            name: name.to_owned(),
            place: sums,
            shape: vec![self.parts, channels],
            dtype: DType::F32,
        });
        Ok(self.plan.outputs.len() - 1)
    }

    /// Puts the sums behind the steps that they wait for, so that gradients need no memory afterwards.
    fn arrange(mut self) {
        let steps = std::mem::take(&mut self.plan.steps).into_iter().enumerate();
        self.plan.steps = steps
            .flat_map(|(at, step)| {
                std::iter::once(step).chain(self.anchors.remove(&at).into_iter().flatten())
            })
            .collect();
    }
}
