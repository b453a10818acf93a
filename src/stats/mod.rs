//! Statistics of every layer: of its weights, and of its outputs over a calibration set.
//!
//! All statistics come from one pass. Beside the forward pass, a kernel reduces each layer's output, before and after
//! its activation, to sums over tiles of 256 elements. The tiling depends on the layer only. The host merges them in
//! `f64`, in image order (Chan's formula), so that a profile does not depend on the batch size. Images are the units of
//! the sample: the variation from image to image determines the standard error of every statistic.

mod activity;
mod file;
mod filters;
mod gates;
mod gather;
mod gradients;
mod gram;
mod histogram;
mod image_variation;
mod layer_input;
mod layers;
mod moments;
mod profile;
mod samples;
mod second_moments;
mod trajectory;
mod value_histogram;
mod value_pass;
mod value_targets;
mod weights;

pub use activity::{Activity, DERIVED, DerivedStatistic};
pub use filters::Filters;
pub use gates::{GATE_BATCH, GateLoss, GateSums, GradientHeader};
pub use gather::{GatherOptions, Gatherer, gather};
pub use gradients::ImageGates;
pub use gram::{GramKind, GramMatrix};
pub use histogram::{BINS, Histogram};
pub use image_variation::ImageVariation;
pub use layer_input::{InputView, LayerInput, input_view, visible_share};
pub use layers::{LayerTaps, layers};
pub(crate) use layers::{gram_input, place, positions};
pub use moments::Moments;
pub use profile::{GramHeader, Header, LayerProfile, Profile, Sensitivity, VERSION};
pub use samples::Samples;
pub(crate) use samples::mixed_value;
pub use trajectory::{GradientTrajectory, Trajectory, trajectories};
pub use value_histogram::{ValueBin, ValueHistogram};
pub use value_pass::value_histograms;
pub use value_targets::value_targets;
pub(crate) use weights::filters;
pub use weights::{Distances, WeightStats};
