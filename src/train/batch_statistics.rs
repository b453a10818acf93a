//! BatchNormalization in training mode: normalization by the statistics of the batch.

use std::sync::Arc;

use super::objective::Calls;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, IdVec, NodeId, ValueId};
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{Affine, BinaryKernel, BinaryOp, Unary};
use crate::kernels::optimizer::MovingAverage;
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::plan::{Operand, Plan, State};
use crate::tensor::Tensor;

/// The share of a batch's statistics in the stored ones, as in PyTorch.
const MOMENTUM: f64 = 0.1;

/// A stored statistic, the mean or the variance of each channel, and the batch's own.
pub(super) struct Statistic {
    /// The position of the node in the file, and its input.
    pub(super) place: (usize, usize),
    pub(super) initial: Tensor,
    /// The statistic of the batch.
    batch: Operand,
}

/// The sizes of a BatchNormalization's input.
#[derive(Clone, Copy)]
struct Sizes {
    outer: usize,
    channels: usize,
    inner: usize,
}

impl Sizes {
    /// Returns the number of elements of a channel.
    fn count(self) -> usize {
        self.outer * self.inner
    }
}

/// Replaces every BatchNormalization of a plan by one that uses the statistics of its batch.
///
/// `places` has the operands of the graph's values. The memory of the plan must not be planned yet.
///
/// # Errors
/// A network without BatchNormalization, and channels of one element.
pub(super) fn use_batch_statistics(
    plan: &mut Plan,
    graph: &Graph,
    facts: &Facts,
    places: &IdVec<ValueId, Option<Operand>>,
) -> Result<Vec<Statistic>> {
    let norms: Vec<NodeId> =
        graph.nodes.ids().filter(|&id| graph.nodes[id].op_type == "BatchNormalization").collect();
    let mut found: Vec<Statistic> = Vec::new();
    for &id in &norms {
        found.extend(replaced(plan, graph, facts, places, id).map_err(|e| e.node(&graph.nodes[id].name))?);
    }
    if found.is_empty() {
        return Err(Error::new("the network has no BatchNormalization to train")
            .expected("BatchNormalization nodes")
            .remedy("leave out `train_bn`, or export the network without folding BatchNormalization")
            .unsupported());
    }
    Ok(found)
}

/// Replaces one BatchNormalization; returns its statistics, none if the node is not computed.
fn replaced(
    plan: &mut Plan,
    graph: &Graph,
    facts: &Facts,
    places: &IdVec<ValueId, Option<Operand>>,
    id: NodeId,
) -> Result<Vec<Statistic>> {
    let node = &graph.nodes[id];
    let value = |input: usize| node.inputs.get(input).copied().flatten();
    let output = node.outputs.first().copied().flatten().and_then(|v| places[v]);
    let (Some(x), Some(Operand::Buffer(output))) = (value(0), output) else { return Ok(vec![]) };
    let Some(x_at) = places[x] else { return Ok(vec![]) };
    let shape = facts.shape(x);
    let sizes = Sizes {
        outer: shape[0],
        channels: shape.get(1).copied().unwrap_or(1),
        inner: shape.iter().skip(2).product(),
    };
    if sizes.count() < 2 {
        return Err(Error::new("a BatchNormalization has no statistics of a single element")
            .expected("two elements of a channel or more")
            .got(format!("a batch of {} with {} positions", sizes.outer, sizes.inner))
            .remedy("train on larger batches, or leave out `train_bn`"));
    }
    let mut constant = |tensor: &Tensor| {
        plan.constants.push(Arc::new(tensor.to_f64().iter().map(|&x| x as f32).collect()));
        Operand::Constant(plan.constants.len() - 1)
    };
    let mut parameter = |input: usize| {
        let of = value(input)?;
        places[of].or_else(|| facts.get(of).and_then(|fact| fact.value.as_ref()).map(&mut constant))
    };
    let (Some(gamma), Some(beta)) = (parameter(1), parameter(2)) else { return Ok(vec![]) };
    let at = plan.steps.iter().position(|step| step.output == output && step.node == node.name);
    let at = at.ok_or_else(|| Error::new("a BatchNormalization is not in the plan").internal())?;
    let after = plan.steps.split_off(at + 1);
    let completed = plan.steps.last().and_then(|step| step.value.clone());
    // The node's own steps: scale and shift by stored statistics, and their application.
    while plan.steps.last().is_some_and(|step| step.node == node.name) {
        plan.steps.pop();
    }
    let first = plan.steps.len();
    let epsilon = node.op.epsilon().unwrap_or_default();
    let (mean, variance) = append(plan, (sizes, epsilon), (x_at, gamma, beta), output)?;
    for step in &mut plan.steps[first..] {
        step.node.clone_from(&node.name);
    }
    if let Some(step) = plan.steps.last_mut() {
        step.value = completed;
    }
    plan.steps.extend(after);
    let statistic = |input: usize, batch: Operand| -> Result<Statistic> {
        let initial = value(input).and_then(|v| facts.get(v)?.value.clone());
        let initial = initial
            .ok_or_else(|| Error::new("the statistics of BatchNormalization are missing").invalid_model())?;
        Ok(Statistic { place: (node.position, input), initial, batch })
    };
    Ok(vec![statistic(3, mean)?, statistic(4, variance)?])
}

/// Appends the normalization of `x` to `output`; returns the mean and the unbiased variance of each channel.
fn append(
    plan: &mut Plan,
    (sizes, epsilon): (Sizes, f64),
    (x, gamma, beta): (Operand, Operand, Operand),
    output: usize,
) -> Result<(Operand, Operand)> {
    let Sizes { outer, channels, inner } = sizes;
    let mut calls = Calls { plan, node: "batch statistics" };
    let ones = calls.constant(vec![1.0; channels]);
    let mean_of = |op: ReduceOp, calls: &mut Calls, x: Operand| {
        let planes = ReduceKernel { op, outer: outer * channels, axis: inner, inner: 1 };
        let of_planes = calls.call(planes, vec![x]);
        let sum = ReduceKernel { op: ReduceOp::Sum, outer: 1, axis: outer, inner: channels };
        let sum = calls.call(sum, vec![of_planes]);
        calls.scaled(sum, channels, 1.0 / sizes.count() as f64)
    };
    let per_channel = Affine { outer, channels, inner, activation: Activation::None };
    let mean = mean_of(ReduceOp::Sum, &mut calls, x);
    let negative = calls.scaled(mean, channels, -1.0);
    let centered = calls.call(per_channel.clone(), vec![x, ones, negative]);
    let variance = mean_of(ReduceOp::SumSquare, &mut calls, centered);
    let (one, epsilon) = (calls.constant(vec![1.0]), calls.constant(vec![epsilon as f32]));
    let number = Affine { outer: 1, channels: 1, inner: channels, activation: Activation::None };
    let padded = calls.call(number, vec![variance, one, epsilon]);
    let deviation = calls.call(Unary { len: channels, activation: Activation::Sqrt }, vec![padded]);
    let divide = BinaryKernel::new(BinaryOp::Div, &[channels], &[channels], Activation::None)
        .ok_or_else(|| Error::new("the parameters of a BatchNormalization do not fit").internal())?;
    let scale = calls.call(divide, vec![gamma, deviation]);
    calls.write(per_channel, vec![centered, scale, beta], output);
    let count = sizes.count() as f64;
    let unbiased = calls.scaled(variance, channels, count / (count - 1.0));
    Ok((mean, unbiased))
}

/// Appends the updates of stored statistics, and returns them as states.
pub(super) fn update_statistics(
    plan: &mut Plan,
    statistics: &[Statistic],
    (settings, norm): (Operand, Operand),
) -> Vec<State> {
    let mut states = Vec::new();
    for statistic in statistics {
        let len = statistic.initial.len();
        plan.buffers.push(len);
        let buffer = plan.buffers.len() - 1;
        let mut calls = Calls { plan, node: "running statistics" };
        let kernel = MovingAverage { len, momentum: MOMENTUM };
        calls.write(kernel, vec![statistic.batch, settings, norm], buffer);
        let initial = Arc::new(statistic.initial.to_f64().iter().map(|&x| x as f32).collect());
        let (node, input) = statistic.place;
        states.push(State { name: format!("statistic {node}.{input}"), buffer, initial });
    }
    states
}
