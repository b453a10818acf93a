//! The networks of a training, and the values by which one imitates the other.

use std::collections::BTreeMap;

use super::objective::{Calls, Place};
use super::options::{FeatureLayers, TrainerOptions};
use super::parameters::last_layer;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Dim, Graph, GraphInput, Sizes, ValueId};
use crate::ops::KeptValues;
use crate::plan::{BuildOptions, Draft, Operand, Plan, Port, draft};
use crate::tensor::SampleShape;

/// The networks and sizes of a training.
pub(super) struct Networks<'a> {
    pub(super) student: &'a Graph,
    /// The network whose outputs are imitated, unless labels alone are used.
    pub(super) teacher: Option<&'a Graph>,
    /// The indices of the teacher's values, by name, that a cut kept in the student; empty without a cut.
    pub(super) kept: &'a KeptValues,
    pub(super) sample: &'a SampleShape,
}

/// The values of a network that losses compare.
pub(super) struct Compared {
    /// Class scores in front of a final softmax, or the outputs.
    pub(super) outputs: Vec<ValueId>,
    /// The features in front of the last layer, and those of the layers that were asked for.
    pub(super) features: Vec<(Feature, ValueId)>,
}

/// The name by which features of both networks are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// The input of the last layer, whatever its name.
    Last,
    /// A value of this name.
    Of(String),
}

impl Compared {
    /// Finds the values by the options.
    ///
    /// # Errors
    /// A layer that the network does not have.
    pub(super) fn of(graph: &Graph, facts: &Facts, options: &TrainerOptions) -> Result<Self> {
        let objective = &options.objective;
        let float = |v: &ValueId| facts.get(*v).is_some_and(|fact| fact.dtype.is_float());
        let mut outputs: Vec<ValueId> = graph.outputs.iter().copied().filter(float).collect();
        if objective.soft > 0.0 || objective.labels > 0.0 {
            outputs.truncate(1);
        }
        outputs.iter_mut().for_each(|output| *output = scores(graph, *output));
        let mut features: Vec<(Feature, ValueId)> = Vec::new();
        if objective.features > 0.0 {
            let last = outputs.first().and_then(|&output| last_layer(graph, facts, output));
            features.extend(last.map(|(_, value)| (Feature::Last, value)));
            let more = match &options.features {
                FeatureLayers::Last => vec![],
                FeatureLayers::Stages => stages(graph, facts),
                FeatureLayers::Named(layers) => named(graph, layers)?,
            };
            let is_new = |value: &ValueId| features.iter().all(|(_, other)| other != value);
            let more: Vec<ValueId> = more.into_iter().filter(is_new).collect();
            features.extend(more.into_iter().map(|value| (Feature::Of(graph.name(value).to_owned()), value)));
        }
        Ok(Self { outputs, features })
    }

    pub(super) fn taps(&self) -> Vec<ValueId> {
        let features = self.features.iter().map(|(_, value)| *value);
        self.outputs.iter().copied().chain(features).collect()
    }
}

/// Returns the last maps of each size: those that a node reduces to fewer positions.
fn stages(graph: &Graph, facts: &Facts) -> Vec<ValueId> {
    let shape = |value: ValueId| {
        let fact = facts.get(value).filter(|fact| fact.dtype.is_float() && fact.value.is_none())?;
        (fact.shape.len() >= 2).then_some(&fact.shape)
    };
    let positions = |shape: &[usize]| shape.iter().skip(2).product::<usize>();
    let elements = |shape: &[usize]| shape.iter().product::<usize>();
    let mut found = Vec::new();
    for id in graph.nodes.ids() {
        let node = &graph.nodes[id];
        let (Some(input), Some(output)) = (node.inputs.first().copied().flatten(), node.outputs.first())
        else {
            continue;
        };
        // A node that only flattens maps reduces nothing.
        let reduces = shape(input).zip(output.and_then(shape)).is_some_and(|(input, output)| {
            positions(input) > positions(output) && elements(input) > elements(output)
        });
        let is_input = graph.inputs.iter().any(|own| own.value == input);
        if reduces && !is_input && !found.contains(&input) {
            found.push(input);
        }
    }
    found
}

/// Returns the first outputs of nodes with these names.
fn named(graph: &Graph, layers: &[String]) -> Result<Vec<ValueId>> {
    let of = |layer: &String| {
        let node = graph.nodes.ids().find(|&id| graph.nodes[id].name == *layer);
        let value = node.and_then(|id| graph.nodes[id].outputs.first().copied().flatten());
        value.ok_or_else(|| {
            let names = graph.nodes.ids().map(|id| graph.nodes[id].name.as_str());
            Error::new("the network has no layer of this name, whose output is compared")
                .file(&graph.path)
                .got(layer.clone())
                .meant(layer, names, "list the layers with `inspect()`")
        })
    };
    layers.iter().map(of).collect()
}

/// Returns the input of a final softmax, or the value itself.
pub(super) fn scores(graph: &Graph, output: ValueId) -> ValueId {
    let Some(made) = graph.values[output].producer else { return output };
    let node = &graph.nodes[made];
    let softmax = matches!(node.op_type.as_str(), "Softmax" | "LogSoftmax");
    node.inputs.first().copied().flatten().filter(|_| softmax).unwrap_or(output)
}

/// Checks that a teacher has the inputs of a network.
///
/// # Errors
/// Inputs of other names or sizes.
pub fn check_teacher(student: &Graph, teacher: &Graph) -> Result<()> {
    let is_same = |(own, other): (&GraphInput, &GraphInput)| {
        let fits = |(a, b): (&Dim, &Dim)| match (a, b) {
            (Dim::Fixed(a), Dim::Fixed(b)) => a == b,
            _ => true,
        };
        student.name(own.value) == teacher.name(other.value)
            && own.dims.len() == other.dims.len()
            && own.dims.iter().zip(&other.dims).all(fits)
    };
    if student.inputs.len() == teacher.inputs.len() && student.inputs.iter().zip(&teacher.inputs).all(is_same)
    {
        return Ok(());
    }
    let listed = |graph: &Graph| {
        let inputs = graph.inputs.iter().map(|input| format!("{} {}", graph.name(input.value), input.show()));
        inputs.collect::<Vec<_>>().join(", ")
    };
    Err(other_inputs(teacher, listed(student), listed(teacher)))
}

fn other_inputs(teacher: &Graph, expected: String, got: String) -> Error {
    Error::new("the teacher and the network have different inputs")
        .file(&teacher.path)
        .expected(expected)
        .got(got)
        .remedy("set `teacher` to the network from which this one was pruned")
}

/// The places of the values that losses compare.
pub(super) struct Values {
    pub(super) outputs: Vec<Place>,
    pub(super) features: Vec<(Feature, Place)>,
}

/// The values of the teacher in the joined plan.
pub(super) struct Imitated {
    /// Features on the channels that the cut kept.
    pub(super) values: Values,
    path: std::path::PathBuf,
}

impl Imitated {
    /// Puts the teacher's steps in front of the network's plan, on the same inputs.
    pub(super) fn join(
        plan: &mut Plan,
        networks: &Networks,
        graph: &Graph,
        trainer: &TrainerOptions,
        max_binding: u64,
    ) -> Result<Self> {
        let student = networks.student;
        let inputs: Vec<&str> = student.inputs.iter().map(|input| student.name(input.value)).collect();
        let sizes = Sizes::Sample(networks.sample.clone());
        let facts = Facts::infer(graph, &graph.input_shapes(trainer.run_batch(), &sizes)?)?;
        let compared = Compared::of(graph, &facts, trainer)?;
        let options =
            BuildOptions { taps: compared.taps(), outputs: false, max_binding, ..BuildOptions::default() };
        let Draft { plan: teacher, places } = draft(graph, &facts, &options)?;
        let (buffers, constants, batch) = (plan.buffers.len(), plan.constants.len(), teacher.batch);
        let mut same = BTreeMap::new();
        let shared = |port: &Port| inputs.contains(&port.name.as_str());
        for port in &teacher.inputs {
            let same_port = |own: &&Port| shared(own) && own.name == port.name && own.shape == port.shape;
            let own = plan.inputs.iter().find(same_port).ok_or_else(|| {
                let described = |port: &Port| format!("{} {:?}", port.name, port.shape);
                let wanted = plan.inputs.iter().filter(|own| shared(own)).map(described).collect::<Vec<_>>();
                other_inputs(graph, wanted.join(", "), described(port))
            })?;
            if let (Operand::Buffer(of), Operand::Buffer(own)) = (port.place, own.place) {
                same.insert(of, own);
            }
        }
        let buffer = |id: usize| same.get(&id).copied().unwrap_or(buffers + id);
        let map = |operand: Operand| match operand {
            Operand::Buffer(id) => Operand::Buffer(buffer(id)),
            Operand::Constant(id) => Operand::Constant(constants + id),
        };
        plan.buffers.extend(teacher.buffers);
        plan.constants.extend(teacher.constants);
        let steps = teacher.steps.into_iter().map(|mut step| {
            step.inputs.iter_mut().for_each(|operand| *operand = map(*operand));
            step.output = buffer(step.output);
            step
        });
        let own = std::mem::take(&mut plan.steps);
        plan.steps = steps.chain(own).collect();
        let place =
            |value: ValueId| places[value].map(|operand| Place::new(map(operand), facts.shape(value), batch));
        let mut calls = Calls { plan, node: "loss" };
        let kept = |name: &str| networks.kept.get(name);
        let features = compared.features.iter().filter_map(|(feature, value)| {
            let place = place(*value)?;
            let place = match kept(graph.name(*value)) {
                Some(kept) => calls.selected(&place, kept),
                None => place,
            };
            Some((feature.clone(), place))
        });
        let values = Values {
            features: features.collect(),
            outputs: compared.outputs.iter().filter_map(|&v| place(v)).collect(),
        };
        Ok(Self { values, path: graph.path.clone() })
    }

    /// Checks that the teacher has the outputs of the network.
    ///
    /// # Errors
    /// Outputs of another number or other shapes, or no outputs.
    pub(super) fn check(&self, student: &Graph, outputs: &[Place]) -> Result<()> {
        let shapes = |places: &[Place]| places.iter().map(|place| place.shape.clone()).collect::<Vec<_>>();
        let (wanted, got) = (shapes(outputs), shapes(&self.values.outputs));
        if wanted == got && !wanted.is_empty() {
            return Ok(());
        }
        Err(Error::new("the teacher and the network have different outputs")
            .file(&self.path)
            .expected(format!("outputs {wanted:?}, as {} has", student.path.display()))
            .got(format!("{got:?}"))
            .remedy("set `teacher` to the network from which this one was pruned"))
    }
}
