//! The gradients of a training step, and the updates of all parameters.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::batch_statistics::{Statistic, update_statistics};
use super::differentiate::differentiate;
use super::filter_statistics::ObservedLayer;
use super::objective::Calls;
use super::optimizer::Optimizer;
use super::parameters::{Parameter, take_buffers};
use super::plan::{input, output};
use super::trainer::TrainerOptions;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::Unary;
use crate::kernels::optimizer::{
    Accumulate, AdamW, FILTER_SUMS, FilterLayout, FilterSums, SETTINGS, Sgd, SumSquares,
};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::plan::{BufferId, Operand, Plan, State};
use crate::tensor::Tensor;

/// The updates in a plan.
pub(super) struct Update {
    /// The trained parameters, in the order of the plan's states.
    pub(super) parameters: Vec<Parameter>,
    /// The node's position and the input of stored statistics, whose states follow those of the parameters.
    pub(super) statistics: Vec<((usize, usize), Tensor)>,
    /// The nodes through which no gradient passes, with the kernel's name.
    pub(super) stops: BTreeSet<(String, &'static str)>,
    /// The number of states that last from step to step.
    pub(super) lasting: usize,
    /// The layers whose sums over filters are the last states, in order.
    pub(super) observed: Vec<(String, FilterLayout)>,
}

/// A trained parameter in a plan.
pub(super) struct Trained {
    pub(super) parameter: Parameter,
    /// The buffer of the parameter's state.
    pub(super) buffer: BufferId,
    pub(super) gradient: Operand,
}

impl Update {
    /// Appends gradients and updates of all parameters that the loss depends on.
    pub(super) fn append(
        plan: &mut Plan,
        student: &Graph,
        (all, statistics): (Vec<Parameter>, &[Statistic]),
        (loss, layers, straight): (BufferId, &[ObservedLayer], &BTreeSet<String>),
        options: &TrainerOptions,
    ) -> Result<Self> {
        let (used, buffers) = take_buffers(plan, all);
        let wanted: Vec<BufferId> =
            buffers.iter().copied().chain(layers.iter().map(|layer| layer.weights)).collect();
        let mut gradients = differentiate(plan, loss, &wanted, straight)?;
        let of_layers = gradients.operands.split_off(buffers.len());
        let stops = gradients.stops;
        let (mut trained, mut constant) = (Vec::new(), Vec::new());
        for ((parameter, buffer), gradient) in used.into_iter().zip(buffers).zip(gradients.operands) {
            match gradient {
                Some(gradient) => trained.push(Trained { parameter, buffer, gradient }),
                None => constant.push((parameter, buffer)),
            }
        }
        if trained.is_empty() {
            return Err(nothing_trained(student, &stops));
        }
        let settings = input(plan, "settings", vec![SETTINGS]);
        let mut sums = Vec::new();
        let mut of_layers: Vec<(&ObservedLayer, Operand)> =
            layers.iter().zip(of_layers).filter_map(|(layer, gradient)| Some((layer, gradient?))).collect();
        if options.runs > 1 {
            let gradients = trained.iter_mut().map(|one| (one.parameter.initial.len(), &mut one.gradient));
            let more = of_layers.iter_mut().map(|(layer, gradient)| (layer.layout.elements(), gradient));
            sums = accumulate(plan, gradients.chain(more), settings);
        }
        let norm = norm(plan, &trained);
        output(plan, "gradient norm", norm);
        // Before the updates: products are those of the weights that the gradients belong to.
        let observed = observe(plan, &of_layers, (settings, norm));
        for one in &trained {
            update(plan, one, options, vec![one.gradient, settings, norm]);
        }
        if let Some(penalty) = &options.penalty {
            penalty.append(plan, &trained, (settings, norm), options.optimizer.arrays());
        }
        let updated = update_statistics(plan, statistics, (settings, norm));
        plan.states.extend(updated);
        for (parameter, buffer) in constant {
            // Not trained: a state that no step updates.
            let initial = Arc::new(values(&parameter));
            plan.states.push(State { name: parameter.name, buffer, initial });
        }
        let lasting = plan.states.len();
        plan.states.extend(sums);
        plan.states.extend(observed);
        let observed = of_layers.iter().map(|(layer, _)| (layer.node.clone(), layer.layout)).collect();
        let parameters = trained.into_iter().map(|one| one.parameter).collect();
        let statistics = statistics.iter().map(|s| (s.place, s.initial.clone())).collect();
        Ok(Self { parameters, statistics, stops, lasting, observed })
    }
}

fn nothing_trained(student: &Graph, stops: &BTreeSet<(String, &'static str)>) -> Error {
    let stops: Vec<String> = stops.iter().map(|(node, _)| format!("\"{node}\"")).collect();
    let got = if stops.is_empty() {
        "no weights or biases of layers behind the inputs".to_owned()
    } else {
        format!("no gradient passes {}", stops.join(", "))
    };
    Error::new("the outputs of the network do not depend on any weight that can be trained")
        .file(&student.path)
        .got(got)
        .remedy("train the network in the framework it comes from")
        .unsupported()
}

fn values(parameter: &Parameter) -> Vec<f32> {
    parameter.initial.to_f64().iter().map(|&x| x as f32).collect()
}

/// Appends sums of gradients over the runs of a step, which replace them; returns the sums as states.
fn accumulate<'a>(
    plan: &mut Plan,
    gradients: impl Iterator<Item = (usize, &'a mut Operand)>,
    settings: Operand,
) -> Vec<State> {
    let mut states: Vec<State> = Vec::new();
    let mut known: HashMap<Operand, Operand> = HashMap::new();
    for (len, gradient) in gradients {
        if let Some(&sum) = known.get(gradient) {
            *gradient = sum;
            continue;
        }
        plan.buffers.push(len);
        let buffer = plan.buffers.len() - 1;
        let mut calls = Calls { plan, node: "gradient sum" };
        calls.write(Accumulate { len }, vec![*gradient, settings], buffer);
        let name = format!("gradient {}", states.len());
        states.push(State { name, buffer, initial: Arc::new(vec![0.0; len]) });
        known.insert(*gradient, Operand::Buffer(buffer));
        *gradient = Operand::Buffer(buffer);
    }
    states
}

/// Appends sums over the filters of layers, and returns them as states.
fn observe(
    plan: &mut Plan,
    layers: &[(&ObservedLayer, Operand)],
    (settings, norm): (Operand, Operand),
) -> Vec<State> {
    let mut states = Vec::new();
    for (layer, gradient) in layers {
        let len = FILTER_SUMS * layer.layout.count();
        plan.buffers.push(len);
        let buffer = plan.buffers.len() - 1;
        let inputs = vec![*gradient, Operand::Buffer(layer.weights), settings, norm];
        let mut calls = Calls { plan, node: "filter sums" };
        calls.write(FilterSums { layout: layer.layout }, inputs, buffer);
        let name = format!("{}, filter sums", layer.node);
        states.push(State { name, buffer, initial: Arc::new(vec![0.0; len]) });
    }
    states
}

/// Appends the norm of all gradients.
fn norm(plan: &mut Plan, trained: &[Trained]) -> Operand {
    let total: usize = trained.iter().map(|one| SumSquares::chunks(one.parameter.initial.len())).sum();
    plan.buffers.push(total);
    let (sums, mut offset) = (plan.buffers.len() - 1, 0);
    let mut calls = Calls { plan, node: "gradient norm" };
    for one in trained {
        let len = one.parameter.initial.len();
        calls.write(SumSquares { len, offset, total }, vec![one.gradient], sums);
        offset += SumSquares::chunks(len);
    }
    let sum = ReduceKernel { op: ReduceOp::Sum, outer: 1, axis: total, inner: 1 };
    let squares = calls.call(sum, vec![Operand::Buffer(sums)]);
    calls.call(Unary { len: 1, activation: Activation::Sqrt }, vec![squares])
}

/// Appends the update of a parameter, whose state is its value, moments and average.
fn update(plan: &mut Plan, one: &Trained, options: &TrainerOptions, inputs: Vec<Operand>) {
    let (len, buffer) = (one.parameter.initial.len(), one.buffer);
    let decay = if one.parameter.decays { options.decay } else { 0.0 };
    let mut calls = Calls { plan, node: "update" };
    match options.optimizer {
        Optimizer::AdamW { betas } => {
            calls.write(AdamW { len, betas, epsilon: 1e-8, decay }, inputs, buffer);
        }
        Optimizer::Sgd { momentum } => calls.write(Sgd { len, momentum, decay }, inputs, buffer),
    }
    let arrays = options.optimizer.arrays();
    plan.buffers[buffer] = arrays * len;
    let value = values(&one.parameter);
    let zeros = vec![0.0; (arrays - 2) * len];
    let initial = Arc::new([value.as_slice(), &zeros, &value].concat());
    plan.states.push(State { name: one.parameter.name.clone(), buffer, initial });
}
