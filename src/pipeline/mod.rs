//! The operations of the program: what the command line and other bindings call.
//!
//! ```text
//! Network ─┐
//!          ├─ profile ─→ Profile ─┐
//! images ──┤                      ├─ plan ─→ Decision ─┐
//!          └──────────────────────┘                    ├─ prune ─→ Pruned (proved), Page
//!                                    repair, cut, prove ┘
//! ```
//!
//! Options and results are plain data. Long operations report to an [`Observer`], which may end them. Nothing here
//! prints, reads the environment, or handles signals.

mod benchmark;
mod bindings;
mod calibration;
mod channel_table;
mod collapse;
mod criteria_comparison;
mod decision;
pub mod demo;
mod evaluation;
mod evidence;
mod execution;
mod iterative;
mod label_fit;
mod latency;
mod max_drop;
mod metric;
mod network;
mod original_check;
mod plan_context;
mod plan_options;
mod planning;
mod profiling;
mod pruning;
mod repairing;
mod report_builder;
mod reporting;
mod summary;
#[cfg(test)]
mod tests;
mod training;

pub use benchmark::{Benchmark, BenchmarkOptions, Performance, autotune, benchmark};
pub use bindings::{InputOptions, InputValue, parse_shape};
pub use calibration::{Calibration, JudgedOn, Origin};
pub use channel_table::{ChannelTable, LayerMeans, layer_means};
pub use collapse::Collapse;
pub use criteria_comparison::{
    Comparison, ComparisonOptions, CriterionCurve, CriterionPoint, compare_criteria,
};
pub use decision::{Attempt, Decision, Latency, Outcome, Refusal, RefusalReason};
pub use evaluation::{Evaluation, evaluate, evaluate_by};
pub use evidence::{Evidence, load_profile};
pub use execution::{Array, check, input_names, read_array, run, write_array};
pub use label_fit::{LabelFit, Misfit};
pub use metric::{
    FunctionMetric, JudgedImage, Measured, Meter, Metric, MetricKind, MetricOptions, MetricResult,
    NamedTensor,
};
pub use network::{Network, open_calibration, open_data, open_test, sample_spec};
pub use plan_options::{DEFAULT_CRITERION, PlanOptions, Target};
pub use planning::plan;
pub use profiling::{ProfileOptions, Profiled, Resume, StopWhenConfident, profile};
pub use pruning::{PruneOptions, Pruned, apply, prune};
pub use report_builder::ReportOptions;
pub use reporting::{CutFiles, report};
pub use summary::{CoupledSummary, GroupSummary, LayerSummary, NetworkSummary};
pub use training::{add_training, profile_checkpoints};

pub use crate::bench::layers::LayerRate;
pub use crate::bench::peak_rates::PeakRates;
pub use crate::bench::{BenchOptions, Quantiles};
pub use crate::data::metrics::{Accuracy, Agreement};
pub use crate::data::{
    DataOptions, Dataset, ImagePlace, InputArray, LabelImages, RowReader, SampleStream, StreamBatch,
    StreamBatches,
};
pub use crate::exec::check::{Checks, first_failing};
pub use crate::exec::devices::{self, Device, DeviceChoice};
pub use crate::graph::Graph;
pub use crate::observer::{Notice, Observer, Silent, Stage};
pub use crate::onnx::Model;
pub use crate::prune::{
    Budget, CRITERIA, Counted, Criterion, CustomCriterion, CustomLayer, Cut, FoldedConstants, Needs, Proof,
    Scope, ScoreNormalization,
};
pub use crate::repair::Repair;
pub use crate::report::{Cost, Page, render};
pub use crate::stats::{Distances, GramKind, Profile};
pub use crate::tensor::Precision;
