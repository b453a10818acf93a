//! The names that most programs need: `use secateur::prelude::*`.

pub use crate::error::{Error, ErrorKind};
pub use crate::observer::{Observer, Silent};
pub use crate::pipeline::{
    Budget, Calibration, DataOptions, Device, Evidence, Model, Network, Origin, Outcome, PlanOptions,
    PruneOptions, Pruned, Repair, Target, open_calibration, prune,
};
