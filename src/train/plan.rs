//! The plan of a training step: teacher, student, losses, gradients and updates.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::differentiate::differentiate;
use super::objective::{Calls, Objective, Place};
use super::parameters::{Parameter, last_layer, parameters, take_buffers, with_inputs};
use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Dim, Graph, GraphInput, Sizes, ValueId};
use crate::kernels::optimizer::{AdamW, SETTINGS, Sgd, SumSquares};
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::ops::Kept;
use crate::plan::{BuildOptions, Draft, Operand, Plan, Port, State, draft, plan_memory};
use crate::tensor::{DType, SampleShape};

/// The rule by which gradients change parameters.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// AdamW with decay rates of the moments (Loshchilov & Hutter 2019).
    AdamW {
        /// Decay rates of the first and second moments.
        betas: [f64; 2],
    },
    /// Gradient descent with Nesterov's momentum.
    Sgd {
        /// Share of the momentum that stays.
        momentum: f64,
    },
}

impl Optimizer {
    /// AdamW with the usual decay rates.
    pub const ADAMW: Self = Self::AdamW { betas: [0.9, 0.999] };
    /// Gradient descent with the usual momentum.
    pub const SGD: Self = Self::Sgd { momentum: 0.9 };

    /// Returns the highest learning rate that a range test tries.
    ///
    /// AdamW moves every number by about the rate in each step, so that larger rates forget what was learned, although a
    /// short test may not show it.
    pub(super) fn highest_rate(self) -> f64 {
        match self {
            Self::AdamW { .. } => 3e-3,
            Self::Sgd { .. } => 0.3,
        }
    }

    /// Returns the number of arrays of a parameter's state: value, moments, average.
    pub(super) fn arrays(self) -> usize {
        match self {
            Self::AdamW { .. } => 4,
            Self::Sgd { .. } => 3,
        }
    }
}

/// The indices that a cut keeps along each axis of values, by the names of the values.
pub type KeptValues = HashMap<String, Kept>;

/// The networks and sizes of a training.
pub(super) struct Networks<'a> {
    pub(super) student: &'a Graph,
    /// The network whose outputs are imitated, unless labels alone are used.
    pub(super) teacher: Option<&'a Graph>,
    /// The indices of the teacher's values, by name, that a cut kept in the student; empty without a cut.
    pub(super) kept: &'a KeptValues,
    pub(super) sample: &'a SampleShape,
    /// The number of samples of a step; `None` for networks with a batch size of their own.
    pub(super) batch: Option<usize>,
}

/// A training step as a plan.
///
/// Inputs: those of the network; the labels' class probabilities, if labels are used; the settings of the step. Outputs:
/// each loss, then the norm of the gradients.
pub(super) struct TrainingPlan {
    pub(super) plan: Plan,
    /// The trained parameters, in the order of the plan's states.
    pub(super) parameters: Vec<Parameter>,
    /// The names of the losses, in the order of the outputs.
    pub(super) losses: Vec<&'static str>,
    /// The shape of the class probabilities, if labels are used.
    pub(super) classes: Option<Vec<usize>>,
    /// The nodes through which no gradient passes, with the kernel's name.
    pub(super) stops: BTreeSet<(String, &'static str)>,
}

/// The values of a network that losses compare.
struct Compared {
    /// Class scores in front of a final softmax, or the outputs.
    outputs: Vec<ValueId>,
    features: Option<ValueId>,
}

impl Compared {
    fn of(graph: &Graph, facts: &Facts, classes: bool) -> Self {
        let float = |v: &ValueId| facts.get(*v).is_some_and(|fact| fact.dtype.is_float());
        let mut outputs: Vec<ValueId> = graph.outputs.iter().copied().filter(float).collect();
        if classes {
            outputs.truncate(1);
            outputs.iter_mut().for_each(|output| *output = scores(graph, *output));
        }
        let features = outputs.first().and_then(|&output| last_layer(graph, facts, output));
        Self { outputs, features: features.map(|(_, value)| value) }
    }

    fn taps(&self) -> Vec<ValueId> {
        self.outputs.iter().copied().chain(self.features).collect()
    }
}

/// Returns the input of a final softmax, or the value itself.
fn scores(graph: &Graph, output: ValueId) -> ValueId {
    let Some(made) = graph.values[output].producer else { return output };
    let node = &graph.nodes[made];
    let softmax = matches!(node.op_type.as_str(), "Softmax" | "LogSoftmax");
    node.inputs.first().copied().flatten().filter(|_| softmax).unwrap_or(output)
}

impl TrainingPlan {
    /// Plans a step that minimizes `objective` by the optimizer, with `decay` of the layers' weights.
    ///
    /// # Errors
    /// A network without parameters that the losses depend on, a teacher whose inputs or outputs differ, and nodes that
    /// cannot be planned.
    pub(super) fn new(
        networks: &Networks,
        objective: &Objective,
        (optimizer, decay): (Optimizer, f64),
        max_binding: u64,
    ) -> Result<Self> {
        let sizes = Sizes::Sample(networks.sample.clone());
        let shapes = networks.student.input_shapes(networks.batch, &sizes)?;
        let own = Facts::infer(networks.student, &shapes)?;
        let all = parameters(networks.student, &own);
        let (graph, shapes_with) = with_inputs(networks.student, &all, &shapes);
        let facts = Facts::infer(&graph, &shapes_with)?;
        let classes = objective.soft > 0.0 || objective.labels > 0.0;
        let compared = Compared::of(networks.student, &own, classes);
        let unfused = |taps| BuildOptions {
            taps,
            outputs: false,
            fuse: false,
            fuse_residual: false,
            fuse_pool: false,
            max_binding,
            ..BuildOptions::default()
        };
        let student = draft(&graph, &facts, &unfused(compared.taps()))?;
        let place = |draft: &Draft, graph: &Graph, facts: &Facts, value: ValueId| -> Result<Place> {
            let operand = draft.places[value].ok_or_else(|| {
                Error::new("an output does not depend on the network's inputs")
                    .got(format!("\"{}\", which is constant", graph.name(value)))
                    .remedy("train a network whose outputs depend on its inputs")
                    .unsupported()
            })?;
            Ok(Place::new(operand, facts.shape(value), draft.plan.batch))
        };
        let students = |values: &[ValueId]| {
            values.iter().map(|&v| place(&student, &graph, &facts, v)).collect::<Result<Vec<_>>>()
        };
        let outputs = students(&compared.outputs)?;
        let features = compared.features.map(|v| place(&student, &graph, &facts, v)).transpose()?;
        let mut plan = student.plan;
        plan.outputs.clear();
        let inputs: Vec<&str> =
            networks.student.inputs.iter().map(|input| networks.student.name(input.value)).collect();
        let teacher = networks.teacher.map(|teacher| {
            let samples = (inputs.as_slice(), &sizes, networks.batch);
            Imitated::join(&mut plan, teacher, samples, (classes, max_binding))
                .map_err(|e| e.file(&teacher.path))
        });
        let teacher = teacher.transpose()?;

        let mut labels = None;
        if objective.labels > 0.0 {
            let shape = outputs.first().map(|place| place.shape.clone()).unwrap_or_default();
            labels = Some(input(&mut plan, "labels", shape));
        }
        let mut calls = Calls { plan: &mut plan, node: "loss" };
        let (mut parts, mut losses): (Vec<(Operand, f64)>, Vec<&'static str>) = (vec![], vec![]);
        if let Some(teacher) = &teacher {
            teacher.check(networks.student, &outputs)?;
            if objective.soft > 0.0 {
                let loss = calls.soft(&outputs[0], &teacher.outputs[0], objective.temperature)?;
                parts.push((loss, objective.soft));
                losses.push("soft");
            }
            if objective.outputs > 0.0 {
                for (student, teacher) in outputs.iter().zip(&teacher.outputs) {
                    let share = objective.outputs / outputs.len() as f64;
                    parts.push((calls.relative_error(student, teacher)?, share));
                    losses.push("outputs");
                }
            }
            let wanted = teacher.features.as_ref().map(|(name, place)| {
                networks.kept.get(name).map_or_else(|| place.clone(), |kept| calls.selected(place, kept))
            });
            let both = features.as_ref().zip(wanted.as_ref());
            if let Some((student, teacher)) = both.filter(|(s, t)| s.shape == t.shape)
                && objective.features > 0.0
            {
                parts.push((calls.relative_error(student, teacher)?, objective.features));
                losses.push("features");
            }
        }
        if let Some(labels) = labels {
            parts.push((calls.cross_entropy(&outputs[0], labels)?, objective.labels));
            losses.push("labels");
        }
        let loss = calls.weighted_sum(&parts)?;
        let Operand::Buffer(loss) = loss else { return Err(Error::new("the loss is constant").internal()) };
        for (name, (operand, _)) in losses.iter().zip(&parts) {
            output(&mut plan, name, *operand);
        }
        let mut training = Self {
            plan,
            parameters: vec![],
            losses,
            classes: labels.map(|_| outputs[0].shape.clone()),
            stops: BTreeSet::new(),
        };
        training.update(networks.student, all, loss, (optimizer, decay))?;
        training.plan = plan_memory(training.plan);
        Ok(training)
    }

    /// Appends gradients and updates of all parameters that the loss depends on.
    fn update(
        &mut self,
        student: &Graph,
        all: Vec<Parameter>,
        loss: usize,
        (optimizer, decay): (Optimizer, f64),
    ) -> Result<()> {
        let plan = &mut self.plan;
        let (used, buffers) = take_buffers(plan, all);
        let gradients = differentiate(plan, loss, &buffers)?;
        self.stops = gradients.stops;
        let trained: Vec<(Parameter, usize, Option<Operand>)> =
            used.into_iter().zip(buffers).zip(gradients.operands).map(|((p, b), g)| (p, b, g)).collect();
        let lens: Vec<usize> =
            trained.iter().filter(|(_, _, g)| g.is_some()).map(|(p, _, _)| p.initial.len()).collect();
        if lens.is_empty() {
            let stops: Vec<String> = self.stops.iter().map(|(node, _)| format!("\"{node}\"")).collect();
            let error =
                Error::new("the outputs of the network do not depend on any weight that can be trained")
                    .file(&student.path)
                    .remedy("train the network in the framework it comes from");
            let got = if stops.is_empty() {
                "no weights or biases of layers behind the inputs".to_owned()
            } else {
                format!("no gradient passes {}", stops.join(", "))
            };
            return Err(error.got(got).unsupported());
        }
        let total: usize = lens.iter().map(|&len| SumSquares::chunks(len)).sum();
        plan.buffers.push(total);
        let (sums, mut offset) = (plan.buffers.len() - 1, 0);
        let mut calls = Calls { plan, node: "gradient norm" };
        for (parameter, _, gradient) in &trained {
            let Some(gradient) = gradient else { continue };
            let len = parameter.initial.len();
            calls.write(SumSquares { len, offset, total }, vec![*gradient], sums);
            offset += SumSquares::chunks(len);
        }
        let sum = ReduceKernel { op: ReduceOp::Sum, outer: 1, axis: total, inner: 1 };
        let squares = calls.call(sum, vec![Operand::Buffer(sums)]);
        let root = crate::kernels::elementwise::Unary {
            len: 1,
            activation: crate::kernels::activation::Activation::Sqrt,
        };
        let norm = calls.call(root, vec![squares]);
        output(plan, "gradient norm", norm);
        let settings = input(plan, "settings", vec![SETTINGS]);
        for (parameter, buffer, gradient) in trained {
            let len = parameter.initial.len();
            let value: Vec<f32> = parameter.initial.to_f64().iter().map(|&x| x as f32).collect();
            let Some(gradient) = gradient else {
                // Not trained: a state that no step updates.
                plan.states.push(State { name: parameter.name.clone(), buffer, initial: Arc::new(value) });
                continue;
            };
            let decay = if parameter.decays { decay } else { 0.0 };
            let mut calls = Calls { plan, node: "update" };
            let inputs = vec![gradient, settings, norm];
            match optimizer {
                Optimizer::AdamW { betas } => {
                    calls.write(AdamW { len, betas, epsilon: 1e-8, decay }, inputs, buffer);
                }
                Optimizer::Sgd { momentum } => calls.write(Sgd { len, momentum, decay }, inputs, buffer),
            }
            let arrays = optimizer.arrays();
            plan.buffers[buffer] = arrays * len;
            let zeros = vec![0.0; (arrays - 2) * len];
            let initial = Arc::new([value.as_slice(), &zeros, &value].concat());
            plan.states.push(State { name: parameter.name.clone(), buffer, initial });
            self.parameters.push(parameter);
        }
        // States that training updates come first, in the order of the parameters.
        let updated: BTreeSet<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
        plan.states.sort_by_key(|state| !updated.contains(state.name.as_str()));
        Ok(())
    }
}

/// Adds an input to a plan.
fn input(plan: &mut Plan, name: &str, shape: Vec<usize>) -> Operand {
    plan.buffers.push(shape.iter().product());
    let place = Operand::Buffer(plan.buffers.len() - 1);
    plan.inputs.push(Port { name: name.to_owned(), place, shape, dtype: DType::F32 });
    place
}

/// Adds an output of one number to a plan.
fn output(plan: &mut Plan, name: &str, place: Operand) {
    plan.outputs.push(Port { name: name.to_owned(), place, shape: vec![1], dtype: DType::F32 });
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

/// The values of the teacher in the joined plan.
struct Imitated {
    outputs: Vec<Place>,
    /// The features in front of the last layer, with their name.
    features: Option<(String, Place)>,
    path: std::path::PathBuf,
}

impl Imitated {
    /// Puts the teacher's steps in front of a plan, on the plan's `inputs` of these names.
    fn join(
        plan: &mut Plan,
        graph: &Graph,
        (inputs, sizes, batch): (&[&str], &Sizes, Option<usize>),
        (classes, max_binding): (bool, u64),
    ) -> Result<Self> {
        let facts = Facts::infer(graph, &graph.input_shapes(batch, sizes)?)?;
        let compared = Compared::of(graph, &facts, classes);
        let options =
            BuildOptions { taps: compared.taps(), outputs: false, max_binding, ..BuildOptions::default() };
        let Draft { plan: teacher, places } = draft(graph, &facts, &options)?;
        let (buffers, constants, teacher_batch) = (plan.buffers.len(), plan.constants.len(), teacher.batch);
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
        let place = |value: ValueId| {
            places[value].map(|operand| Place::new(map(operand), facts.shape(value), teacher_batch))
        };
        Ok(Self {
            outputs: compared.outputs.iter().filter_map(|&v| place(v)).collect(),
            features: compared.features.and_then(|v| Some((graph.name(v).to_owned(), place(v)?))),
            path: graph.path.clone(),
        })
    }

    /// Checks that the teacher has the outputs of the student.
    fn check(&self, student: &Graph, outputs: &[Place]) -> Result<()> {
        let shapes = |places: &[Place]| places.iter().map(|place| place.shape.clone()).collect::<Vec<_>>();
        let (wanted, got) = (shapes(outputs), shapes(&self.outputs));
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
