//! The proximal step of the group lasso: coupled filters shrink together, and weak ones become zero.

use bytemuck::bytes_of;
use rayon::prelude::*;

use super::{SETTINGS, clipping};
use crate::compare::Tolerance;
use crate::kernels::case::{Case, noise};
use crate::kernels::kernel::{Dispatch, Kernel, KernelRow};
use crate::kernels::shader::{grid, row, uniform, word};

/// Factors by which coupled filters shrink in a step (Yuan & Lin 2006; Parikh & Boyd 2014, section 6.5).
///
/// A group of n weights of norm ‖w‖ is multiplied by max(0, 1 − rate·λ·√n / ‖w‖). Inputs: sums of squares of all filters
/// `[filters]`; the first place of each filter in the list of coupled filters, and its end `[filters + 1]`; that list
/// `[coupled]`; number of weights of each filter's group `[filters]`; settings ([`super::StepSettings`]); norm of all
/// gradients `[1]`. Output: the factor of each filter, `[filters]`; 1 if nothing is updated.
#[derive(Clone, Debug, PartialEq)]
pub struct ShrinkFactors {
    /// Number of filters of all parameters.
    pub filters: usize,
    /// Number of elements of the list of coupled filters.
    pub coupled: usize,
    /// Strength λ of the penalty.
    pub strength: f64,
}

uniform! { filters: u32, strength: f32 }

pub(crate) static ROW: KernelRow = row! {
    name: "shrink_factors",
    file: "optimizer/shrink_factors",
    shared: ["updates"],
    doc: "factors by which coupled filters shrink in a step",
};

impl ShrinkFactors {
    fn factor<T: Copy + Into<f64>>(&self, inputs: &[&[T]], filter: usize) -> f64 {
        let at = |input: usize, i: usize| -> f64 { inputs[input][i].into() };
        let partners = at(1, filter) as usize..at(1, filter + 1) as usize;
        let square: f64 = partners.map(|i| at(0, at(2, i) as usize)).sum();
        let threshold = at(4, 0) * self.strength * at(3, filter).sqrt();
        if square > 0.0 { (1.0 - threshold / square.sqrt()).max(0.0) } else { 0.0 }
    }
}

impl Kernel for ShrinkFactors {
    fn row(&self) -> &'static KernelRow {
        &ROW
    }

    fn input_lens(&self) -> Vec<usize> {
        vec![self.filters, self.filters + 1, self.coupled, self.filters, SETTINGS, 1]
    }

    fn output_len(&self) -> usize {
        self.filters
    }

    fn reference(&self, inputs: &[&[f64]], output: &mut [f64]) {
        let updates = clipping(inputs[4][1], inputs[5][0]).is_some();
        for (filter, factor) in output.iter_mut().enumerate() {
            *factor = if updates { self.factor(inputs, filter) } else { 1.0 };
        }
    }

    fn cpu(&self, inputs: &[&[f32]], output: &mut [f32]) {
        let updates = clipping(inputs[4][1].into(), inputs[5][0].into()).is_some();
        output.par_iter_mut().with_min_len(64).enumerate().for_each(|(filter, factor)| {
            *factor = if updates { self.factor(inputs, filter) as f32 } else { 1.0 };
        });
    }

    fn dispatch(&self) -> Dispatch {
        let params = Params { filters: word(self.filters), strength: self.strength as f32 };
        Dispatch { overrides: vec![], params: bytes_of(&params).to_vec(), workgroups: grid(self.filters) }
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance::SUMS
    }
}

pub(crate) fn cases() -> Vec<Case> {
    // Groups {0, 3}, {1}, {2, 4, 5}; the second is weak, the last is zero.
    let groups: [&[usize]; 3] = [&[0, 3], &[1], &[2, 4, 5]];
    let of =
        |filter: usize| groups.iter().find(|group| group.contains(&filter)).expect("every filter has one");
    let mut starts = vec![0.0];
    let mut list = Vec::new();
    for filter in 0..6 {
        list.extend(of(filter).iter().map(|&partner| partner as f32));
        starts.push(list.len() as f32);
    }
    let sizes: Vec<f32> = (0..6).map(|filter| 9.0 * of(filter).len() as f32).collect();
    let squares: Vec<f32> = noise(6, 3)
        .iter()
        .map(|x| x * x)
        .zip([1.0, 1e-6, 0.0, 1.0, 0.0, 0.0])
        .map(|(x, by)| x * by)
        .collect();
    let case = |label: &str, strength: f64, (most, norm): (f32, f32)| Case {
        label: label.to_owned(),
        kernel: std::sync::Arc::new(ShrinkFactors { filters: 6, coupled: list.len(), strength }),
        inputs: vec![
            squares.clone(),
            starts.clone(),
            list.clone(),
            sizes.clone(),
            vec![0.02, most, 0.1, 1.0, 1.0, 1.0, 0.0],
            vec![norm],
        ],
    };
    vec![
        case("three groups", 0.5, (2.0, 1.0)),
        case("a strong penalty", 50.0, (2.0, 1.0)),
        case("a step without a norm", 0.5, (2.0, f32::INFINITY)),
        case("a run without an update", 0.5, (0.0, 1.0)),
    ]
}
