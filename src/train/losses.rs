//! The losses of a training step, from the values of the network and its teacher.

use super::imitation::Feature;
use super::objective::{Calls, Objective, Place};
use super::plan::{input, output};
use super::trainer::TrainerOptions;
use crate::error::{Error, Result};
use crate::plan::{Operand, Plan};

/// A loss of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// The name.
    pub name: &'static str,
    /// The weight in the sum that is minimized.
    pub weight: f64,
}

/// The values of a network that losses compare.
pub(super) struct Values {
    pub(super) outputs: Vec<Place>,
    pub(super) features: Vec<(Feature, Place)>,
}

/// The losses in a plan.
pub(super) struct Losses {
    pub(super) losses: Vec<Loss>,
    /// The number of the teacher's arrays whose mean squares are inputs and outputs.
    pub(super) powers: usize,
    /// The shape of the class probabilities, if labels are used.
    pub(super) classes: Option<Vec<usize>>,
    /// The weighted sum.
    pub(super) total: Operand,
}

impl Losses {
    /// Appends the losses, and the inputs and outputs that belong to them.
    pub(super) fn append(
        plan: &mut Plan,
        student: &Values,
        teacher: Option<Values>,
        options: &TrainerOptions,
    ) -> Result<Self> {
        let Objective { soft, temperature, features, outputs, labels } = options.objective;
        let mut classes = None;
        if labels > 0.0 {
            let shape = student.outputs.first().map(|place| place.shape.clone()).unwrap_or_default();
            classes = Some((input(plan, "labels", shape.clone()), shape));
        }
        let alike = |pairs: Vec<(Place, Place)>| -> Vec<(Place, Place)> {
            pairs.into_iter().filter(|(student, teacher)| student.shape == teacher.shape).collect()
        };
        let pairs = |weight: f64, find: &dyn Fn(&Values) -> Vec<(Place, Place)>| {
            teacher.as_ref().filter(|_| weight > 0.0).map_or_else(Vec::new, |teacher| alike(find(teacher)))
        };
        let compared_outputs = pairs(outputs, &|teacher| {
            student.outputs.iter().cloned().zip(teacher.outputs.iter().cloned()).collect()
        });
        let compared_features = pairs(features, &|teacher| {
            let of = |(feature, place): &(Feature, Place)| {
                let wanted = teacher.features.iter().find(|(other, _)| other == feature)?;
                Some((place.clone(), wanted.1.clone()))
            };
            student.features.iter().filter_map(of).collect()
        });
        let arrays: Vec<&(Place, Place)> = compared_outputs.iter().chain(&compared_features).collect();
        let given = (!arrays.is_empty()).then(|| input(plan, "mean squares", vec![arrays.len()]));
        let mut calls = Calls { plan, node: "loss" };
        let mut errors = Vec::new();
        let mut powers = Vec::new();
        for (at, (student, teacher)) in arrays.iter().enumerate() {
            let Some(given) = given else { continue };
            errors.push(calls.relative_error(student, teacher, (given, arrays.len(), at))?);
            powers.push(calls.mean_square(teacher)?);
        }
        let (mut parts, mut losses): (Vec<Operand>, Vec<Loss>) = (vec![], vec![]);
        let mut add = |name, weight, operand| {
            losses.push(Loss { name, weight });
            parts.push(operand);
        };
        if let Some(teacher) = teacher.as_ref().filter(|_| soft > 0.0) {
            add("soft", soft, calls.soft(&student.outputs[0], &teacher.outputs[0], temperature)?);
        }
        let (of_outputs, of_features) = errors.split_at(compared_outputs.len());
        for (name, weight, errors) in [("outputs", outputs, of_outputs), ("features", features, of_features)]
        {
            if !errors.is_empty() {
                add(name, weight, calls.mean(errors)?);
            }
        }
        if let Some((labels_at, _)) = classes {
            add("labels", labels, calls.cross_entropy(&student.outputs[0], labels_at)?);
        }
        if parts.is_empty() {
            return Err(Error::new("no loss compares the network with its teacher")
                .expected("outputs, or features of equal shapes")
                .got("features of other shapes")
                .remedy("set `cut` to the cut by which the network was made, or add the loss outputs"));
        }
        let weighted: Vec<(Operand, f64)> =
            parts.iter().zip(&losses).map(|(&part, loss)| (part, loss.weight)).collect();
        let total = calls.weighted_sum(&weighted)?;
        for (loss, &part) in losses.iter().zip(&parts) {
            output(plan, loss.name, part);
        }
        for &power in &powers {
            output(plan, "mean square", power);
        }
        Ok(Self { losses, powers: powers.len(), classes: classes.map(|(_, shape)| shape), total })
    }
}
