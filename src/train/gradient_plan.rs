//! A plan that computes a loss of a network and the gradients of its parameters, for tests of gradients.

use std::sync::Arc;

use super::differentiate::differentiate;
use super::objective::Calls;
use super::parameters::{Parameter, parameters, take_buffers, with_inputs};
use super::rounding::round_parameters;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::plan::{BuildOptions, Operand, Plan, Port, State, draft, plan_memory};
use crate::tensor::DType;

/// A loss of a network, the sum of the squares of its outputs, with the gradients of its parameters.
#[derive(Debug)]
pub struct GradientPlan {
    /// The plan: its inputs are the network's, its outputs the loss and the gradients, its states the parameters.
    pub plan: Plan,
    /// The parameters, in the order of gradients and states.
    pub parameters: Vec<Parameter>,
    /// The nodes through which no gradient passes, with the kernel's name.
    pub stops: Vec<(String, &'static str)>,
}

impl GradientPlan {
    /// Plans the gradients for a number of samples; `None` for a network of fixed batch size.
    ///
    /// # Errors
    /// Nodes that cannot be planned.
    pub fn new(network: &Graph, batch: Option<usize>) -> Result<Self> {
        let shapes = network.input_shapes(batch, &Sizes::Own)?;
        let all = parameters(network, &Facts::infer(network, &shapes)?);
        let (graph, shapes) = with_inputs(network, &all, &shapes);
        let facts = Facts::infer(&graph, &shapes)?;
        let float = |v: &&_| facts.get(**v).is_some_and(|fact| fact.dtype.is_float() && fact.value.is_none());
        let outputs: Vec<_> = graph.outputs.iter().filter(float).copied().collect();
        let options = BuildOptions {
            taps: outputs.clone(),
            outputs: false,
            fuse: false,
            fuse_residual: false,
            fuse_pool: false,
            integers: false,
            ..BuildOptions::default()
        };
        let network = draft(&graph, &facts, &options)?;
        let (mut plan, places) = (network.plan, network.places);
        plan.outputs.clear();
        let mut calls = Calls { plan: &mut plan, node: "loss" };
        let mut parts = Vec::new();
        for &output in &outputs {
            let Some(place) = places[output] else { continue };
            let axis = facts.shape(output).iter().product();
            let sum = ReduceKernel { op: ReduceOp::SumSquare, outer: 1, axis, inner: 1 };
            parts.push((calls.call(sum, vec![place]), 1.0));
        }
        let Operand::Buffer(loss) = calls.weighted_sum(&parts)? else {
            return Err(Error::new("the loss is constant").internal());
        };
        let straight = round_parameters(&mut plan, &graph, &all)?;
        let (parameters, buffers) = take_buffers(&mut plan, all);
        let gradients = differentiate(&mut plan, loss, &buffers, &straight)?;
        let port = |name: &str, place, len| Port {
            name: name.to_owned(),
            place,
            shape: vec![len],
            dtype: DType::F32,
        };
        plan.outputs.push(port("loss", Operand::Buffer(loss), 1));
        let mut kept = Vec::new();
        for ((parameter, buffer), gradient) in parameters.into_iter().zip(buffers).zip(gradients.operands) {
            let initial = Arc::new(parameter.initial.to_f64().iter().map(|&x| x as f32).collect());
            let state = State { name: parameter.name.clone(), buffer, initial };
            match gradient {
                Some(gradient) => {
                    plan.outputs.push(port(&parameter.name, gradient, parameter.initial.len()));
                    plan.states.insert(kept.len(), state);
                    kept.push(parameter);
                }
                None => plan.states.push(state),
            }
        }
        Ok(Self { plan: plan_memory(plan), parameters: kept, stops: gradients.stops.into_iter().collect() })
    }
}
