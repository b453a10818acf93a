//! The plan of a training step: teacher, student, losses, gradients and updates.

use std::collections::BTreeSet;

use super::batch_statistics::use_batch_statistics;
use super::filter_statistics::ObservedLayer;
use super::imitation::{Compared, Imitated, Networks, Values};
use super::losses::{Loss, Losses};
use super::objective::Place;
use super::options::TrainerOptions;
use super::parameters::{Parameter, parameters, with_inputs};
use super::rounding::round_parameters;
use super::update::Update;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::kernels::optimizer::FilterLayout;
use crate::plan::{BuildOptions, Draft, Operand, Plan, draft, plan_memory};
use crate::tensor::Tensor;

/// A training step as a plan.
///
/// Inputs: those of the network; the labels' class probabilities, if labels are used; the mean squares of the teacher's
/// arrays, if arrays are compared; the settings of the step. Outputs: each loss, the mean squares of the teacher's arrays,
/// then the norm of the gradients.
pub(super) struct TrainingPlan {
    pub(super) plan: Plan,
    /// The trained parameters, in the order of the plan's states.
    pub(super) parameters: Vec<Parameter>,
    /// The node's position and the input of stored statistics; their states follow those of the parameters.
    pub(super) statistics: Vec<((usize, usize), Tensor)>,
    /// The losses, in the order of the outputs.
    pub(super) losses: Vec<Loss>,
    /// The number of the teacher's arrays whose mean squares are inputs and outputs.
    pub(super) powers: usize,
    /// The shape of the class probabilities, if labels are used.
    pub(super) classes: Option<Vec<usize>>,
    /// The nodes through which no gradient passes, with the kernel's name.
    pub(super) stops: BTreeSet<(String, &'static str)>,
    /// The number of states that last from step to step: parameters with their moments, and constants.
    pub(super) lasting: usize,
    /// The layers whose sums over filters are the last states, in order.
    pub(super) observed: Vec<(String, FilterLayout)>,
}

impl TrainingPlan {
    /// Plans a step by the options.
    ///
    /// # Errors
    /// A network without parameters that the losses depend on, a teacher whose inputs or outputs differ, layers that one
    /// of the networks does not have, and nodes that cannot be planned.
    pub(super) fn new(networks: &Networks, options: &TrainerOptions, max_binding: u64) -> Result<Self> {
        let sizes = Sizes::Sample(networks.sample.clone());
        let shapes = networks.student.input_shapes(options.run_batch(), &sizes)?;
        let own = Facts::infer(networks.student, &shapes)?;
        let all = parameters(networks.student, &own);
        let (graph, shapes_with) = with_inputs(networks.student, &all, &shapes);
        let facts = Facts::infer(&graph, &shapes_with)?;
        let compared = Compared::of(networks.student, &own, options)?;
        let unfused = BuildOptions {
            taps: compared.taps(),
            outputs: false,
            fuse: false,
            fuse_residual: false,
            fuse_pool: false,
            integers: false,
            max_binding,
            ..BuildOptions::default()
        };
        let Draft { mut plan, places } = draft(&graph, &facts, &unfused)?;
        plan.outputs.clear();
        let statistics = match options.batch_statistics {
            true => use_batch_statistics(&mut plan, networks.student, &own, &places)?,
            false => vec![],
        };
        let batch = plan.batch;
        let place = |value: ValueId| -> Result<Place> {
            let operand = places[value].ok_or_else(|| is_constant(&graph, value))?;
            Ok(Place::new(operand, facts.shape(value), batch))
        };
        let student = Values {
            outputs: compared.outputs.iter().map(|&v| place(v)).collect::<Result<_>>()?,
            features: compared
                .features
                .iter()
                .map(|(feature, v)| Ok((feature.clone(), place(*v)?)))
                .collect::<Result<_>>()?,
        };
        let teacher = networks.teacher.map(|teacher| {
            Imitated::join(&mut plan, networks, teacher, options, max_binding)
                .map_err(|e| e.file(&teacher.path))
        });
        let teacher = teacher.transpose()?;
        if let Some(teacher) = &teacher {
            teacher.check(networks.student, &student.outputs)?;
        }
        let Losses { losses, powers, classes, total } =
            Losses::append(&mut plan, &student, teacher.map(|teacher| teacher.values), options)?;
        let Operand::Buffer(total) = total else { return Err(Error::new("the loss is constant").internal()) };
        let straight = round_parameters(&mut plan, &graph, &all)?;
        let layers = match options.observes {
            true => ObservedLayer::all(networks.student, &own, |value| places[value]),
            false => vec![],
        };
        let Update { parameters, statistics, stops, lasting, observed } = Update::append(
            &mut plan,
            networks.student,
            (all, &statistics),
            (total, &layers, &straight),
            options,
        )?;
        Ok(Self {
            plan: plan_memory(plan),
            parameters,
            statistics,
            losses,
            powers,
            classes,
            stops,
            lasting,
            observed,
        })
    }
}

fn is_constant(graph: &Graph, value: ValueId) -> Error {
    Error::new("an output does not depend on the network's inputs")
        .got(format!("\"{}\", which is constant", graph.name(value)))
        .remedy("train a network whose outputs depend on its inputs")
        .unsupported()
}
