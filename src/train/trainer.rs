//! A network that is loaded on a device for training.

use std::collections::BTreeSet;

use super::objective::Objective;
use super::parameters::Parameter;
use super::plan::{KeptValues, Networks, Optimizer, TrainingPlan};
use crate::error::Result;
use crate::exec::Executor;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::kernels::optimizer::{SETTINGS, StepSettings};
use crate::tensor::{SampleShape, Tensor};

/// The options of a trainer.
#[derive(Clone, Debug)]
pub struct TrainerOptions {
    /// The losses that are minimized.
    pub objective: Objective,
    /// The rule by which parameters change.
    pub optimizer: Optimizer,
    /// Weight decay of layers' weights.
    pub decay: f64,
    /// The largest norm of the gradients of a step.
    pub max_norm: f64,
    /// The number of samples of a step; `None` for networks with a batch size of their own.
    pub batch: Option<usize>,
}

/// The numbers of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// The losses, in the order of [`Trainer::losses`], without their weights.
    pub losses: Vec<f32>,
    /// The norm of the gradients before clipping. If it is not finite, the step changed nothing.
    pub norm: f32,
}

/// A network that is loaded on a device for training.
pub struct Trainer {
    training: TrainingPlan,
    executor: Box<dyn Executor>,
    options: TrainerOptions,
    steps: u32,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Trainer {
    /// Plans the training of `student` and loads it on a device.
    ///
    /// `kept` has the indices of the teacher's values that a cut kept in the student; it is empty without a cut.
    ///
    /// # Errors
    /// A network without parameters that the losses depend on, a teacher whose inputs or outputs differ, nodes that
    /// cannot be planned, and a device that fails.
    pub fn new(
        student: &Graph,
        (teacher, kept): (Option<&Graph>, &KeptValues),
        sample: &SampleShape,
        device: &Device,
        options: &TrainerOptions,
    ) -> Result<Self> {
        let limits = device.limits();
        let networks = Networks { student, teacher, kept, sample, batch: options.batch };
        let rule = (options.optimizer, options.decay);
        let max_binding = limits.max_binding.min(limits.max_buffer);
        let training = TrainingPlan::new(&networks, &options.objective, rule, max_binding)
            .map_err(|e| e.file(&student.path))?;
        training.plan.check_bindings(max_binding).map_err(|e| e.file(&student.path))?;
        let executor = device.load(&training.plan).map_err(|e| e.file(&student.path))?;
        Ok(Self { training, executor, options: options.clone(), steps: 0 })
    }

    /// Returns the rule by which parameters change.
    pub fn optimizer(&self) -> Optimizer {
        self.options.optimizer
    }

    /// Returns the number of samples of a step.
    pub fn batch(&self) -> usize {
        self.training.plan.batch
    }

    /// Returns the names of the losses.
    pub fn losses(&self) -> &[&'static str] {
        &self.training.losses
    }

    /// Returns the trained parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.training.parameters
    }

    /// Returns the nodes through which no gradient passes, with the name of the kernel.
    pub fn stops(&self) -> &BTreeSet<(String, &'static str)> {
        &self.training.stops
    }

    /// Returns the shape of the labels' class probabilities; `None` if no labels are used.
    pub fn classes(&self) -> Option<&[usize]> {
        self.training.classes.as_deref()
    }

    /// Trains on one batch at a learning rate.
    ///
    /// `inputs` has the network's inputs, then the labels' class probabilities if they are used. `average` is the share of
    /// the new parameters in their moving average.
    ///
    /// # Errors
    /// A device that fails, or inputs of the wrong length.
    pub fn step(&mut self, inputs: &[&[f32]], rate: f64, average: f64) -> Result<StepResult> {
        self.steps += 1;
        let settings = StepSettings {
            rate: rate as f32,
            max_norm: self.options.max_norm as f32,
            average: average as f32,
            step: self.steps,
        };
        let betas = match self.options.optimizer {
            Optimizer::AdamW { betas } => betas,
            Optimizer::Sgd { .. } => [0.0; 2],
        };
        let settings = settings.elements(betas);
        let inputs: Vec<&[f32]> = inputs.iter().copied().chain([&settings[..]]).collect();
        let mut numbers = self.executor.run(&inputs)?.into_iter().map(|output| output[0]);
        let losses = numbers.by_ref().take(self.training.losses.len()).collect();
        Ok(StepResult { losses, norm: numbers.next().unwrap_or(f32::NAN) })
    }

    /// Runs a step at the learning rate 0 and returns the name of each call's kernel with its seconds.
    ///
    /// # Errors
    /// A device that fails, or inputs of the wrong length.
    pub fn time_kernels(&mut self, inputs: &[&[f32]]) -> Result<Vec<(&'static str, f64)>> {
        let settings = [0.0; SETTINGS];
        let inputs: Vec<&[f32]> = inputs.iter().copied().chain([&settings[..]]).collect();
        let times = self.executor.time_steps(&inputs)?;
        let names = self.training.plan.steps.iter().map(|step| step.kernel.row().name);
        Ok(names.zip(times.into_iter().map(|(_, seconds)| seconds)).collect())
    }

    /// Returns the weighted sum of a step's losses.
    pub fn total(&self, result: &StepResult) -> f64 {
        let objective = &self.options.objective;
        let outputs = self.training.losses.iter().filter(|name| **name == "outputs").count().max(1);
        let weight = |name: &str| match name {
            "soft" => objective.soft,
            "features" => objective.features,
            "outputs" => objective.outputs / outputs as f64,
            _ => objective.labels,
        };
        self.training
            .losses
            .iter()
            .zip(&result.losses)
            .map(|(name, &loss)| weight(name) * f64::from(loss))
            .sum()
    }

    /// Returns the parameters by the names of their initializers: the last values, or their moving averages.
    ///
    /// # Errors
    /// A device that fails.
    pub fn weights(&mut self, averaged: bool) -> Result<Vec<(String, Tensor)>> {
        let states = self.executor.states()?;
        let arrays = self.options.optimizer.arrays();
        let of = |(parameter, state): (&Parameter, Vec<f32>)| {
            let len = parameter.initial.len();
            let first = if averaged { (arrays - 1) * len } else { 0 };
            let values: Vec<f64> = state[first..first + len].iter().map(|&x| x.into()).collect();
            let tensor = Tensor::from_f64(parameter.initial.dtype, &parameter.initial.shape, &values);
            (parameter.name.clone(), tensor)
        };
        Ok(self.training.parameters.iter().zip(states).map(of).collect())
    }

    /// Returns the number of steps and all states, from which training can continue.
    ///
    /// # Errors
    /// A device that fails.
    pub fn save(&mut self) -> Result<(u32, Vec<Vec<f32>>)> {
        Ok((self.steps, self.executor.states()?))
    }

    /// Returns the names of the states, in order.
    pub(super) fn state_names(&self) -> Vec<String> {
        self.training.plan.states.iter().map(|state| state.name.clone()).collect()
    }

    /// Returns to the parameters of the file.
    ///
    /// # Errors
    /// A device that fails.
    pub fn reset(&mut self) -> Result<()> {
        self.steps = 0;
        let states: Vec<&[f32]> =
            self.training.plan.states.iter().map(|state| state.initial.as_slice()).collect();
        self.executor.set_states(&states)
    }

    /// Returns to a saved number of steps and saved states.
    ///
    /// # Errors
    /// States of another network, or a device that fails.
    pub fn restore(&mut self, (steps, states): &(u32, Vec<Vec<f32>>)) -> Result<()> {
        self.steps = *steps;
        self.executor.set_states(&states.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}
