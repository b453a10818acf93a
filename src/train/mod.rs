//! Training of networks on the device: distillation, fine-tuning, and statistics of filters along the way.
//!
//! A training step is a plan like any other (`plan`): the teacher's steps, the student's, the losses
//! ([`Objective`]), the gradients of all calls in reverse (`differentiate`), and updates in place. Parameters and
//! moments stay on the device as states of the plan. A step uploads samples and a few settings, and reads a few numbers
//! back.

mod checkpoint;
mod differentiate;
mod feed;
mod fit;
mod gradient_plan;
mod objective;
mod parameters;
mod plan;
mod schedule;
mod trainer;

pub use checkpoint::{load_checkpoint, save_checkpoint};
pub use feed::TrainingData;
pub use fit::{FitEnd, FitOptions, Progress, RANGE_STEPS, find_rate, fit};
pub use gradient_plan::GradientPlan;
pub use objective::Objective;
pub use parameters::{Parameter, parameters};
pub use plan::{KeptValues, Optimizer, check_teacher};
pub use schedule::Schedule;
pub use trainer::{StepResult, Trainer, TrainerOptions};
