//! Updates of trained parameters, and the norm of their gradients.
//!
//! A parameter's state is one buffer: its value, the optimizer's moments and the moving average of the value, one after
//! the other. Layers read the value, which stands first. An update that sees a gradient that is not finite changes
//! nothing.

pub(crate) mod adamw;
pub(crate) mod sgd;
pub(crate) mod sum_squares;

pub use self::adamw::AdamW;
pub use self::sgd::Sgd;
pub use self::sum_squares::SumSquares;

/// The settings of one step, which the updates read from a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSettings {
    /// The learning rate of the step.
    pub rate: f32,
    /// The largest norm of all gradients; longer ones are shortened to it.
    pub max_norm: f32,
    /// The share of the new value in the moving average.
    pub average: f32,
    /// The number of the step, from 1, which corrects the bias of AdamW's moments.
    pub step: u32,
}

/// The number of elements of the buffer of settings.
pub const SETTINGS: usize = 5;

impl StepSettings {
    /// Returns the elements of the buffer, with the factors that correct AdamW's moments for `betas`.
    pub fn elements(&self, betas: [f64; 2]) -> [f32; SETTINGS] {
        let correction = |beta: f64| (1.0 / (1.0 - beta.powi(self.step.max(1) as i32))) as f32;
        [self.rate, self.max_norm, self.average, correction(betas[0]), correction(betas[1])]
    }
}

/// Returns the factor of a gradient under clipping by the norm; `None` if the norm is not finite.
fn clipping(max_norm: f64, norm: f64) -> Option<f64> {
    norm.is_finite().then(|| if norm > max_norm { max_norm / norm } else { 1.0 })
}
