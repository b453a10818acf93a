//! Training of networks on the device: distillation, fine-tuning, and statistics of filters along the way.
//!
//! A training step is a plan like any other (`plan`): the teacher's steps (`imitation`), the student's, the losses
//! ([`Objective`], `losses`), the gradients of all calls in reverse (`differentiate`), and updates in place (`update`). Parameters and
//! moments stay on the device as states of the plan. A step uploads samples and a few settings, and reads a few numbers
//! back.

mod batch_statistics;
mod checkpoint;
mod differentiate;
mod feed;
mod filter_statistics;
mod fit;
mod gate_options;
mod gate_plan;
mod gates;
mod gradient_plan;
mod imitation;
mod losses;
mod objective;
mod optimizer;
mod options;
mod parameters;
mod penalty;
mod plan;
mod quantization;
mod rounding;
mod schedule;
mod trainer;
mod update;

pub use crate::ops::KeptValues;
pub use checkpoint::{load_checkpoint, save_checkpoint};
pub use feed::TrainingData;
pub use filter_statistics::{FilterSteps, filter_layout};
pub use fit::{FitEnd, FitOptions, Progress, RANGE_STEPS, find_rate, fit};
pub use gate_options::{GateObjective, GateOptions};
pub use gates::{GatedImage, Gates};
pub use gradient_plan::GradientPlan;
pub use imitation::check_teacher;
pub use losses::Loss;
pub use objective::Objective;
pub use optimizer::Optimizer;
pub use options::{FeatureLayers, TrainerOptions};
pub use parameters::{Parameter, parameters};
pub use penalty::{Penalty, PenaltyRule};
pub use quantization::Quantization;
pub use schedule::Schedule;
pub use trainer::{StepResult, TrainedWeights, Trainer};
