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
mod byte_budget;
mod calibration;
mod channel_table;
mod collapse;
mod criteria_comparison;
mod cut_comparison;
mod cut_sizes;
mod data_notices;
mod decision;
pub mod demo;
mod evaluation;
mod evidence;
mod execution;
mod finetuning;
mod float_nodes;
mod gradients;
mod image_source;
mod integer_network;
mod iterative;
mod kept_outputs;
mod label_fit;
mod latency;
mod max_drop;
mod messages;
mod metric;
mod network;
mod norm_fit;
mod original_check;
mod other_recipes;
mod palettes;
mod penalties;
mod plan_context;
mod plan_options;
mod planning;
mod prediction_changes;
mod predictions;
mod preset_candidates;
mod preset_trial;
mod probe_images;
mod profiling;
mod pruning;
mod quality_curve;
mod quality_limit;
mod quality_loss;
mod quantized;
mod quantizing;
mod reformat;
mod repairing;
mod report_builder;
mod report_options;
mod report_predictions;
mod report_quality;
mod report_quantization;
mod report_rows;
mod report_training;
mod reporting;
mod schedule;
mod scored_channels;
mod summary;
mod sweep;
#[cfg(test)]
mod tests;
mod trained_rounds;
mod training;
mod training_record;
mod value_ranges;
mod whole_cut;

pub use benchmark::{Benchmark, BenchmarkOptions, Performance, autotune, benchmark};
pub use bindings::{InputOptions, InputValue, parse_shape};
pub use calibration::{Calibration, JudgedOn, Origin};
pub use channel_table::{ChannelTable, LayerMeans, layer_means};
pub use collapse::Collapse;
pub use criteria_comparison::{
    Comparison, ComparisonOptions, CriterionCurve, CriterionPoint, compare_criteria,
};
pub use cut_comparison::compare_cuts;
pub use cut_sizes::{CutSizes, LayerWidth};
pub use decision::{Attempt, Decision, FormatTrial, Latency, Outcome, Refusal, RefusalReason};
pub use evaluation::{Evaluation, evaluate, evaluate_by};
pub use evidence::{Evidence, load_profile};
pub use execution::{Array, check, input_names, read_array, run, write_array};
pub use finetuning::{Finetuned, TrainingLength, TrainingOptions, check_training, finetune};
pub use float_nodes::quantize_within;
pub use integer_network::{FloatTrial, IntegerNetwork, Sensitivity};
pub use label_fit::{LabelFit, Misfit};
pub use metric::{
    BoxColumns, FunctionMetric, JudgedImage, Measured, Meter, Metric, MetricKind, MetricOptions,
    MetricResult, NamedTensor,
};
pub use network::{Network, open_calibration, open_data, open_test, sample_spec};
pub use palettes::{SharedNetwork, share};
pub use plan_options::{DEFAULT_CRITERION, PlanOptions, Target};
pub use planning::plan;
pub use prediction_changes::{ChangedPrediction, ClassHits, Predictions};
pub use preset_trial::{OpenData, PresetTrial, TRIAL_IMAGES, TrialMeasure, TriedRecipe, try_presets};
pub use profiling::{ProfileOptions, Profiled, Resume, StopWhenConfident, profile};
pub use pruning::{PruneOptions, Pruned, apply, prune};
pub use quality_limit::QualityLimit;
pub use quantized::Quantized;
pub use quantizing::quantize;
pub use report_options::ReportOptions;
pub use report_quantization::quantization_page;
pub use report_training::training_page;
pub use reporting::{CutFiles, report};
pub use summary::{CoupledSummary, GroupSummary, LayerSummary, NetworkSummary};
pub use sweep::{Sweep, SweepBudget, SweptBudget, check_targets, sweep};
pub use training::{add_training, profile_checkpoints};
pub use training_record::{Round, TrainingPoint, TrainingRecord};
pub use value_ranges::{ValueRanges, value_ranges};

pub use crate::bench::layers::LayerRate;
pub use crate::bench::peak_rates::PeakRates;
pub use crate::bench::{BenchOptions, Quantiles};
pub use crate::data::augment::Augment;
pub use crate::data::metrics::{Accuracy, Agreement};
pub use crate::data::{
    DataOptions, DataSources, Dataset, ImagePlace, InputArray, LabelImages, RowReader, SampleStream,
    StreamBatch, StreamBatches,
};
pub use crate::exec::check::{Checks, first_failing};
pub use crate::exec::devices::{self, Device, DeviceChoice};
pub use crate::graph::Graph;
pub use crate::observer::{Doubt, ExpectedStage, Notice, Observer, Silent, Stage};
pub use crate::onnx::Model;
pub use crate::prune::{
    Budget, CRITERIA, Counted, Criterion, CustomCriterion, CustomLayer, Cut, FoldedConstants, Needs, Proof,
    Scope, ScoreNormalization, Stamp,
};
pub use crate::quantize::NumberFormat;
pub use crate::quantize::coding::{CodedSize, CodedTensor};
pub use crate::quantize::integer::{ActivationScale, IntegerOptions, Runtime};
pub use crate::quantize::palette::PaletteBits;
pub use crate::quantize::range::RangeMethod;
pub use crate::repair::Repair;
pub use crate::report::{Cost, Page, render};
pub use crate::stats::{Distances, GramKind, Profile};
pub use crate::tensor::Precision;
pub use crate::train::{FeatureLayers, KeptValues, Objective, Optimizer, PenaltyRule, Schedule};
