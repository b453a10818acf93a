//! Updates of trained parameters, and the norm of their gradients.
//!
//! A parameter's state is one buffer: its value, the optimizer's moments and the moving average of the value, one after
//! the other. Layers read the value, which stands first. An update that sees a gradient that is not finite changes
//! nothing. Gradients of several runs can be summed before ([`Accumulate`]).

pub(crate) mod accumulate;
pub(crate) mod adamw;
pub(crate) mod filter_squares;
pub(crate) mod filter_sums;
mod filters;
pub(crate) mod group_shrink;
pub(crate) mod moving_average;
pub(crate) mod scale_filters;
pub(crate) mod sgd;
pub(crate) mod sum_squares;

pub use self::accumulate::Accumulate;
pub use self::adamw::AdamW;
pub use self::filter_squares::FilterSquares;
pub use self::filter_sums::{FILTER_SUMS, FilterSums};
pub use self::filters::FilterLayout;
pub use self::group_shrink::ShrinkFactors;
pub use self::moving_average::MovingAverage;
pub use self::scale_filters::ScaleFilters;
pub use self::sgd::Sgd;
pub use self::sum_squares::SumSquares;

use crate::kernels::shader::{WORKGROUP, grid};

/// The settings of one step, which the updates read from a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSettings {
    /// The learning rate of the step.
    pub rate: f32,
    /// The largest norm of all gradients; longer ones are shortened to it. If it is 0, nothing is updated.
    pub max_norm: f32,
    /// The share of the new value in the moving average.
    pub average: f32,
    /// The number of the step, from 1, which corrects the bias of AdamW's moments.
    pub step: u32,
    /// The share of the run's samples in the step, if gradients are summed over several runs.
    pub share: f32,
    /// True for the first run of a step, whose gradients start the sum.
    pub is_first: bool,
}

/// The number of elements of the buffer of settings.
pub const SETTINGS: usize = 7;

impl StepSettings {
    /// Returns the settings of a run that updates nothing.
    pub fn nothing() -> Self {
        Self { rate: 0.0, max_norm: 0.0, average: 0.0, step: 1, share: 1.0, is_first: true }
    }

    /// Returns the elements of the buffer, with the factors that correct AdamW's moments for `betas`.
    pub fn elements(&self, betas: [f64; 2]) -> [f32; SETTINGS] {
        let correction = |beta: f64| (1.0 / (1.0 - beta.powi(self.step.max(1) as i32))) as f32;
        let following = if self.is_first { 0.0 } else { 1.0 };
        let [first, second] = betas.map(correction);
        [self.rate, self.max_norm, self.average, first, second, self.share, following]
    }
}

/// Returns the grid of a shader with one workgroup for each of `count` results.
fn workgroup_each(count: usize) -> [u32; 3] {
    grid(WORKGROUP * count)
}

/// Returns the factor of a gradient under clipping by the norm; `None` if nothing is updated.
fn clipping(max_norm: f64, norm: f64) -> Option<f64> {
    let updates = norm.is_finite() && max_norm > 0.0;
    updates.then(|| if norm > max_norm { max_norm / norm } else { 1.0 })
}
