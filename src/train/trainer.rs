//! A network that is loaded on a device for training.

use std::collections::BTreeSet;

use super::filter_statistics::FilterSteps;
use super::imitation::Networks;
use super::losses::Loss;
use super::optimizer::Optimizer;
use super::options::TrainerOptions;
use super::parameters::Parameter;
use super::plan::TrainingPlan;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::Executor;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::kernels::optimizer::{FilterLayout, StepSettings};
use crate::ops::KeptValues;
use crate::tensor::{SampleShape, Tensor};

/// The largest size of all buffers of a run, in bytes.
pub(super) const MOST_BYTES: u64 = 4 << 30;

/// The numbers of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// The losses, in the order of [`Trainer::losses`], without their weights.
    pub losses: Vec<f64>,
    /// The norm of the gradients before clipping. If it is not finite, the step changed nothing.
    pub norm: f32,
}

/// The weights of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedWeights {
    /// The parameters by the names of their initializers.
    pub constants: Vec<(String, Tensor)>,
    /// The stored statistics of BatchNormalization, by the position of the node in the file and its input.
    pub statistics: Vec<((usize, usize), Tensor)>,
}

/// A network that is loaded on a device for training.
pub struct Trainer {
    training: TrainingPlan,
    executor: Box<dyn Executor>,
    options: TrainerOptions,
    steps: u32,
    /// The mean squares of the teacher's arrays on the first batch, to which errors are relative.
    powers: Option<Vec<f32>>,
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
        let networks = Networks { student, teacher, kept, sample };
        let max_binding = limits.max_binding.min(limits.max_buffer);
        let training =
            TrainingPlan::new(&networks, options, max_binding).map_err(|e| e.file(&student.path))?;
        training.plan.check_bindings(max_binding).map_err(|e| e.file(&student.path))?;
        if training.plan.bytes() > MOST_BYTES && options.run_batch().is_some_and(|batch| batch > 1) {
            return Err(Error::new("a training step needs more memory than is used")
                .with_kind(ErrorKind::OutOfMemory)
                .file(&student.path)
                .expected(format!("at most {MOST_BYTES} bytes"))
                .got(format!("{} bytes", training.plan.bytes()))
                .remedy("compute fewer samples in a run"));
        }
        let executor = device.load(&training.plan).map_err(|e| e.file(&student.path))?;
        Ok(Self { training, executor, options: options.clone(), steps: 0, powers: None })
    }

    /// Plans a training as [`Self::new`], with as few runs a step as memory allows; `options.runs` is the least number.
    ///
    /// The plan of a run has at most 4 GiB, and no tensor exceeds what the device can bind.
    ///
    /// # Errors
    /// As [`Self::new`], if not even a run of one sample fits.
    pub fn fitting(
        student: &Graph,
        teacher: (Option<&Graph>, &KeptValues),
        sample: &SampleShape,
        device: &Device,
        options: &TrainerOptions,
    ) -> Result<Self> {
        let batch = options.batch.unwrap_or(1);
        let mut runs = (options.runs.max(1)..=batch).filter(|runs| batch.is_multiple_of(*runs)).peekable();
        while let Some(now) = runs.next() {
            let options = TrainerOptions { runs: now, ..options.clone() };
            match Self::new(student, teacher, sample, device, &options) {
                Err(error) if error.kind() == ErrorKind::OutOfMemory && runs.peek().is_some() => {}
                found => return found,
            }
        }
        Self::new(student, teacher, sample, device, options)
    }

    /// Returns the rule by which parameters change.
    pub fn optimizer(&self) -> Optimizer {
        self.options.optimizer
    }

    /// Returns the number of samples of a step.
    pub fn batch(&self) -> usize {
        self.training.plan.batch * self.options.runs.max(1)
    }

    /// Returns the losses that are minimized.
    pub fn losses(&self) -> &[Loss] {
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

    /// Returns whether errors are relative to mean squares that were not measured yet.
    pub(super) fn lacks_mean_squares(&self) -> bool {
        self.training.powers > 0 && self.powers.is_none()
    }

    /// Measures the mean squares of the teacher's arrays on a batch, unless that was done before.
    ///
    /// Errors of arrays are relative to them. A training measures them on its first batch, also if it is resumed later.
    ///
    /// # Errors
    /// A device that fails, or inputs of the wrong length.
    pub fn measure_teacher(&mut self, inputs: &[&[f32]]) -> Result<()> {
        let count = self.training.powers;
        if self.powers.is_some() {
            return Ok(());
        }
        let mut powers = vec![0.0; count];
        if count > 0 {
            self.powers = Some(vec![1.0; count]);
            let first = self.training.losses.len();
            let numbers = self.run(inputs, StepSettings::nothing());
            self.powers = None;
            powers = numbers?[first..first + count].iter().map(|&power| power as f32).collect();
        }
        // Arrays may be zero everywhere.
        self.powers = Some(powers.into_iter().map(|power| power.max(f32::MIN_POSITIVE)).collect());
        Ok(())
    }

    /// Trains on one batch at a learning rate.
    ///
    /// `inputs` has the network's inputs, then the labels' class probabilities if they are used. `average` is the share of
    /// the new parameters in their moving average.
    ///
    /// # Errors
    /// A device that fails, or inputs of the wrong length.
    pub fn step(&mut self, inputs: &[&[f32]], rate: f64, average: f64) -> Result<StepResult> {
        self.measure_teacher(inputs)?;
        self.steps += 1;
        let settings = StepSettings {
            rate: rate as f32,
            max_norm: self.options.max_norm as f32,
            average: average as f32,
            step: self.steps,
            ..StepSettings::nothing()
        };
        let mut losses = self.run(inputs, settings)?;
        let norm = losses.pop().unwrap_or(f64::NAN) as f32;
        losses.truncate(self.training.losses.len());
        Ok(StepResult { losses, norm })
    }

    /// Runs the plan on all parts of a batch, with the update in the last run; returns the mean of each loss and mean
    /// square, then the norm of the summed gradients.
    fn run(&mut self, inputs: &[&[f32]], settings: StepSettings) -> Result<Vec<f64>> {
        let runs = self.options.runs.max(1);
        let mut numbers = vec![0.0; self.training.plan.outputs.len()];
        for run in 0..runs {
            let is_last = run + 1 == runs;
            let now = StepSettings {
                max_norm: if is_last { settings.max_norm } else { 0.0 },
                share: 1.0 / runs as f32,
                is_first: run == 0,
                ..settings
            };
            let part = |input: &&'_ [f32]| -> std::ops::Range<usize> {
                let len = input.len() / runs;
                run * len..(run + 1) * len
            };
            let parts: Vec<&[f32]> = inputs.iter().map(|input| &input[part(input)]).collect();
            let outputs = self.execute(&parts, now)?;
            let last = numbers.len().saturating_sub(1);
            for (at, (number, output)) in numbers.iter_mut().zip(outputs).enumerate() {
                let value = f64::from(output[0]);
                *number = if at == last { value } else { *number + value / runs as f64 };
            }
        }
        Ok(numbers)
    }

    fn execute(&mut self, inputs: &[&[f32]], settings: StepSettings) -> Result<Vec<Vec<f32>>> {
        let settings = settings.elements(self.options.optimizer.betas());
        let inputs = plan_inputs(inputs, self.powers.as_deref().unwrap_or_default(), &settings);
        self.executor.run(&inputs)
    }

    /// Runs one part of a step without an update and returns the name of each call's kernel with its seconds.
    ///
    /// # Errors
    /// A device that fails, or inputs of the wrong length.
    pub fn time_kernels(&mut self, inputs: &[&[f32]]) -> Result<Vec<(&'static str, f64)>> {
        let settings = StepSettings::nothing().elements(self.options.optimizer.betas());
        let powers = vec![1.0; self.training.powers];
        let inputs = plan_inputs(inputs, &powers, &settings);
        let times = self.executor.time_steps(&inputs)?;
        let names = self.training.plan.steps.iter().map(|step| step.kernel.row().name);
        Ok(names.zip(times.into_iter().map(|(_, seconds)| seconds)).collect())
    }

    /// Returns the weighted sum of a step's losses.
    pub fn total(&self, result: &StepResult) -> f64 {
        self.training.losses.iter().zip(&result.losses).map(|(loss, value)| loss.weight * value).sum()
    }

    /// Returns the parameters, with their last values or their moving averages, and the statistics of BatchNormalization.
    ///
    /// # Errors
    /// A device that fails.
    pub fn weights(&mut self, averaged: bool) -> Result<TrainedWeights> {
        let states = self.executor.states()?;
        let arrays = self.options.optimizer.arrays();
        let of = |(parameter, state): (&Parameter, &Vec<f32>)| {
            let len = parameter.initial.len();
            let first = if averaged { (arrays - 1) * len } else { 0 };
            let values: Vec<f64> = state[first..first + len].iter().map(|&x| x.into()).collect();
            let tensor = Tensor::from_f64(parameter.initial.dtype, &parameter.initial.shape, &values);
            let quantized =
                parameter.quantization.as_ref().map(|quantization| quantization.quantize(&tensor));
            (parameter.name.clone(), quantized.unwrap_or(tensor))
        };
        let statistic = |((place, initial), state): (&((usize, usize), Tensor), &Vec<f32>)| {
            let values: Vec<f64> = state.iter().map(|&x| x.into()).collect();
            (*place, Tensor::from_f64(initial.dtype, &initial.shape, &values))
        };
        let (parameters, rest) = states.split_at(self.training.parameters.len());
        Ok(TrainedWeights {
            constants: self.training.parameters.iter().zip(parameters).map(of).collect(),
            statistics: self.training.statistics.iter().zip(rest).map(statistic).collect(),
        })
    }

    /// Returns the sums over each filter of the steps since the last call, and starts them anew.
    ///
    /// # Errors
    /// A device that fails.
    pub fn take_filter_steps(&mut self) -> Result<Vec<FilterSteps>> {
        let states = self.executor.states()?;
        let first = states.len() - self.training.observed.len();
        let of = |((node, layout), sums): (&(String, FilterLayout), &Vec<f32>)| FilterSteps {
            node: node.clone(),
            size: layout.size(),
            sums: sums.as_chunks().0.iter().map(|sums| sums.map(f64::from)).collect(),
        };
        let found = self.training.observed.iter().zip(&states[first..]).map(of).collect();
        let zeros: Vec<Vec<f32>> = states[first..].iter().map(|sums| vec![0.0; sums.len()]).collect();
        let next = states[..first].iter().chain(&zeros);
        self.executor.set_states(&next.map(Vec::as_slice).collect::<Vec<_>>())?;
        Ok(found)
    }

    /// Returns the number of steps and all states that last, from which training can continue.
    ///
    /// # Errors
    /// A device that fails.
    pub fn save(&mut self) -> Result<(u32, Vec<Vec<f32>>)> {
        let mut states = self.executor.states()?;
        states.truncate(self.training.lasting);
        Ok((self.steps, states))
    }

    /// Returns the names of the states that last, in order.
    pub(super) fn state_names(&self) -> Vec<String> {
        let lasting = self.training.plan.states.iter().take(self.training.lasting);
        lasting.map(|state| state.name.clone()).collect()
    }

    /// Returns to the parameters of the file.
    ///
    /// # Errors
    /// A device that fails.
    pub fn reset(&mut self) -> Result<()> {
        self.restore(&(0, vec![]))
    }

    /// Returns to a saved number of steps and saved states; states that are not given start anew.
    ///
    /// # Errors
    /// States of another network, or a device that fails.
    pub fn restore(&mut self, (steps, states): &(u32, Vec<Vec<f32>>)) -> Result<()> {
        self.steps = *steps;
        let own = self.training.plan.states.iter().skip(states.len());
        let initial = own.map(|state| state.initial.as_slice());
        self.executor.set_states(&states.iter().map(Vec::as_slice).chain(initial).collect::<Vec<_>>())
    }
}

/// Returns the inputs of a plan: those of the networks, the mean squares if there are any, and the settings.
fn plan_inputs<'a>(inputs: &[&'a [f32]], powers: &'a [f32], settings: &'a [f32]) -> Vec<&'a [f32]> {
    let powers = (!powers.is_empty()).then_some(powers);
    inputs.iter().copied().chain(powers).chain([settings]).collect()
}
