//! Losses of a training: kernel calls that end in one number.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::kernels::Kernel;
use crate::kernels::activation::Activation;
use crate::kernels::elementwise::{Affine, BinaryKernel, BinaryOp, Unary};
use crate::kernels::movement::GatherKernel;
use crate::kernels::normalization::SoftmaxKernel;
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::ops::Kept;
use crate::plan::{Operand, Plan, Port, Step};
use crate::tensor::DType;

/// The weights of the losses whose sum is minimized; 0 leaves a loss out.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Objective {
    /// Divergence of the class probabilities from the teacher's, both softened by the temperature (Hinton 2014).
    pub soft: f64,
    /// Temperature by which class scores are divided.
    pub temperature: f64,
    /// Error of features, relative to the teacher's: those in front of the last layer, and others that are asked for.
    pub features: f64,
    /// Error of the outputs, relative to the teacher's outputs.
    pub outputs: f64,
    /// Cross-entropy with the labels.
    pub labels: f64,
}

impl Objective {
    /// No loss at all.
    const NOTHING: Self = Self { soft: 0.0, temperature: 4.0, features: 0.0, outputs: 0.0, labels: 0.0 };
    /// Imitation of outputs and features: the default with a teacher (docs/finetune.md compares it with others).
    pub const IMITATION: Self = Self { features: 1.0, outputs: 1.0, ..Self::NOTHING };
    /// Distillation of a classifier: soft probabilities and features.
    pub const SOFT: Self = Self { soft: 1.0, features: 1.0, ..Self::NOTHING };
    /// Training on labels alone, without a teacher.
    pub const LABELS: Self = Self { labels: 1.0, ..Self::NOTHING };
}

/// The names of losses, and of the temperature.
const NAMES: [&str; 5] = ["soft", "temperature", "features", "outputs", "labels"];

impl std::str::FromStr for Objective {
    type Err = Error;

    /// Parses a list such as `soft=1,temperature=4,features=0.5`; a weight that is left out is 1.
    fn from_str(text: &str) -> Result<Self> {
        let mut all = Self::NOTHING;
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) = item.split_once('=').unwrap_or((item, "1"));
            let value = value.parse::<f64>().ok().filter(|v| *v >= 0.0 && v.is_finite());
            let place = match name {
                "soft" => Some(&mut all.soft),
                "temperature" => Some(&mut all.temperature),
                "features" => Some(&mut all.features),
                "outputs" => Some(&mut all.outputs),
                "labels" => Some(&mut all.labels),
                _ => None,
            };
            match (place, value) {
                (Some(place), Some(value)) => *place = value,
                _ => {
                    return Err(Error::new("this is no loss of a training")
                        .expected("soft, features, outputs, labels or temperature, with weights from 0 such as soft=0.5")
                        .got(item)
                        .meant(name, NAMES, "for example outputs,features=0.5"));
                }
            }
        }
        let Self { soft, temperature, features, outputs, labels } = all;
        if soft + features + outputs + labels == 0.0 || temperature == 0.0 {
            return Err(Error::new("this leaves a training without a loss")
                .expected("a weight above 0, and a temperature above 0")
                .got(text)
                .remedy("for example outputs,features"));
        }
        Ok(all)
    }
}

/// A value of student or teacher: the operand and the shape.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) operand: Operand,
    pub(super) shape: Vec<usize>,
}

impl Place {
    /// Returns the place of a value in a plan for `batch` samples; values without a batch axis get one.
    pub(super) fn new(operand: Operand, shape: &[usize], batch: usize) -> Self {
        let axis = (shape.len() < 2 && shape.first() != Some(&batch)).then_some(1);
        Self { operand, shape: axis.into_iter().chain(shape.iter().copied()).collect() }
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the axes around the classes (axis 1): samples, classes, positions.
    fn classes(&self) -> (usize, usize, usize) {
        let (samples, classes) = (self.shape[0], self.shape.get(1).copied().unwrap_or(1));
        (samples, classes, self.shape.iter().skip(2).product())
    }
}

/// Appends calls to a plan whose memory is not planned yet.
pub(super) struct Calls<'a> {
    pub(super) plan: &'a mut Plan,
    /// The name of the steps' node.
    pub(super) node: &'static str,
}

impl Calls<'_> {
    /// Appends a call that writes a new buffer.
    pub(super) fn call(&mut self, kernel: impl Kernel, inputs: Vec<Operand>) -> Operand {
        self.plan.buffers.push(kernel.output_len());
        let output = self.plan.buffers.len() - 1;
        self.write(kernel, inputs, output);
        Operand::Buffer(output)
    }

    /// Appends a call that writes an existing buffer.
    pub(super) fn write(&mut self, kernel: impl Kernel, inputs: Vec<Operand>, output: usize) {
        let (kernel, node): (Arc<dyn Kernel>, _) = (Arc::new(kernel), self.node.to_owned());
        self.plan.steps.push(Step { kernel, inputs, output, node, value: None });
    }

    /// Adds an input to the plan.
    pub(super) fn input(&mut self, name: &str, shape: Vec<usize>) -> Operand {
        self.plan.buffers.push(shape.iter().product());
        let place = Operand::Buffer(self.plan.buffers.len() - 1);
        self.plan.inputs.push(Port { name: name.to_owned(), place, shape, dtype: DType::F32 });
        place
    }

    /// Adds an output of one number to the plan.
    pub(super) fn output(&mut self, name: &str, place: Operand) {
        self.plan.outputs.push(Port { name: name.to_owned(), place, shape: vec![1], dtype: DType::F32 });
    }

    /// Adds a constant array to the plan.
    pub(super) fn constant(&mut self, elements: Vec<f32>) -> Operand {
        self.plan.constants.push(Arc::new(elements));
        Operand::Constant(self.plan.constants.len() - 1)
    }

    fn number(&mut self, value: f64) -> Operand {
        self.constant(vec![value as f32])
    }

    /// Appends the product of an array with a number.
    pub(super) fn scaled(&mut self, x: Operand, len: usize, factor: f64) -> Operand {
        let (factor, zero) = (self.number(factor), self.number(0.0));
        let scale = Affine { outer: 1, channels: 1, inner: len, activation: Activation::None };
        self.call(scale, vec![x, factor, zero])
    }

    fn binary(&mut self, op: BinaryOp, a: Operand, b: Operand, len: usize) -> Result<Operand> {
        let kernel = BinaryKernel::new(op, &[len], &[len], Activation::None)
            .ok_or_else(|| Error::new("the operands of a loss do not fit").internal())?;
        Ok(self.call(kernel, vec![a, b]))
    }

    /// Appends the sum of all elements of `samples` rows.
    pub(super) fn total(&mut self, x: Operand, samples: usize, len: usize) -> Operand {
        let sum = |outer, axis| ReduceKernel { op: ReduceOp::Sum, outer, axis, inner: 1 };
        let rows = self.call(sum(samples, len / samples.max(1)), vec![x]);
        self.call(sum(1, samples), vec![rows])
    }

    /// Appends the Kullback-Leibler divergence of a student's class probabilities from the teacher's.
    ///
    /// Both are softened by the temperature τ; the mean over samples and positions is multiplied by τ², so that gradients
    /// do not depend on τ (Hinton 2014).
    pub(super) fn soft(&mut self, student: &Place, teacher: &Place, temperature: f64) -> Result<Operand> {
        let (outer, axis, inner) = student.classes();
        let len = student.len();
        let log = SoftmaxKernel { outer, axis, inner, log: true };
        let warm = self.scaled(teacher.operand, len, 1.0 / temperature);
        let wanted = self.call(log.clone(), vec![warm]);
        let warm = self.scaled(student.operand, len, 1.0 / temperature);
        let got = self.call(log, vec![warm]);
        let probability = self.call(Unary { len, activation: Activation::Exp }, vec![wanted]);
        let difference = self.binary(BinaryOp::Sub, wanted, got, len)?;
        let product = self.binary(BinaryOp::Mul, probability, difference, len)?;
        let sum = self.total(product, outer, len);
        Ok(self.scaled(sum, 1, temperature * temperature / (outer * inner) as f64))
    }

    /// Appends a selection of an array's indices along each axis.
    pub(super) fn selected(&mut self, place: &Place, kept: &Kept) -> Place {
        let mut place = place.clone();
        for (axis, mask) in kept.iter().enumerate() {
            let Some(mask) = mask.as_ref().filter(|mask| mask.len() == place.shape[axis]) else { continue };
            let table: Vec<f32> = (0..mask.len()).filter(|&i| mask[i]).map(|i| i as f32).collect();
            let (outer, inner) =
                (place.shape[..axis].iter().product(), place.shape[axis + 1..].iter().product());
            let kernel = GatherKernel { outer, axis: mask.len(), count: table.len(), inner, own: false };
            place.shape[axis] = table.len();
            let table = self.constant(table);
            place.operand = self.call(kernel, vec![place.operand, table]);
        }
        place
    }

    /// Appends the mean over samples of an array's sum of squares.
    pub(super) fn mean_square(&mut self, place: &Place) -> Result<Operand> {
        let (samples, len) = (place.shape[0], place.len());
        let square = self.binary(BinaryOp::Mul, place.operand, place.operand, len)?;
        let sum = self.total(square, samples, len);
        Ok(self.scaled(sum, 1, 1.0 / samples as f64))
    }

    /// Appends the mean over samples of the squared error, divided by the teacher's mean square.
    ///
    /// That is element `at` of the array `powers` of `count` elements, so that the error of every sample has the same
    /// weight, whatever the batch.
    pub(super) fn relative_error(
        &mut self,
        student: &Place,
        teacher: &Place,
        (powers, count, at): (Operand, usize, usize),
    ) -> Result<Operand> {
        let len = student.len();
        let operand = self.binary(BinaryOp::Sub, student.operand, teacher.operand, len)?;
        let error = self.mean_square(&Place { operand, shape: student.shape.clone() })?;
        let index = self.number(at as f64);
        let one = GatherKernel { outer: 1, axis: count, count: 1, inner: 1, own: false };
        let power = self.call(one, vec![powers, index]);
        self.binary(BinaryOp::Div, error, power, 1)
    }

    /// Appends the mean of numbers.
    pub(super) fn mean(&mut self, numbers: &[Operand]) -> Result<Operand> {
        let share = 1.0 / numbers.len().max(1) as f64;
        self.weighted_sum(&numbers.iter().map(|&number| (number, share)).collect::<Vec<_>>())
    }

    /// Appends the cross-entropy of class scores with the probabilities `labels`, averaged over samples.
    pub(super) fn cross_entropy(&mut self, student: &Place, labels: Operand) -> Result<Operand> {
        let (outer, axis, inner) = student.classes();
        let len = student.len();
        let log = self.call(SoftmaxKernel { outer, axis, inner, log: true }, vec![student.operand]);
        let product = self.binary(BinaryOp::Mul, log, labels, len)?;
        let sum = self.total(product, outer, len);
        Ok(self.scaled(sum, 1, -1.0 / (outer * inner) as f64))
    }

    /// Appends the sum of numbers with weights.
    pub(super) fn weighted_sum(&mut self, parts: &[(Operand, f64)]) -> Result<Operand> {
        let mut sum: Option<Operand> = None;
        for &(part, weight) in parts {
            let part = self.scaled(part, 1, weight);
            sum = Some(match sum {
                None => part,
                Some(sum) => self.binary(BinaryOp::Add, sum, part, 1)?,
            });
        }
        sum.ok_or_else(|| Error::new("a training has no loss").internal())
    }
}
