//! Statistics of every layer: of its weights, and of its outputs over a calibration set.
//!
//! One pass. Beside the forward pass a kernel reduces each layer's output, before and after its
//! activation, to sums of tiles of 256 elements; the tiling depends on the layer only. The host merges them in `f64`, in
//! image order (Chan's formula), so that a profile does not depend on the batch size. An image is the unit of the
//! sample: what varies from image to image gives every statistic its standard error.

mod activity;
mod file;
mod filters;
mod gather;
mod gram;
mod histogram;
mod image_variation;
mod layer_input;
mod layers;
mod moments;
mod profile;
mod second_moments;
mod trajectory;
mod weights;

pub use activity::{Activity, Column, DERIVED};
pub use filters::Filters;
pub use gather::{GatherOptions, Gatherer, gather};
pub use gram::{Gram, GramKind};
pub use histogram::{BINS, Histogram};
pub use image_variation::ImageVariation;
pub use layer_input::{InputView, LayerInput, input_view, share_seen};
pub use layers::{LayerTaps, layers};
pub(crate) use layers::{gram_input, images_mix, place};
pub use moments::Moments;
pub use profile::{GramHeader, Header, LayerProfile, Profile, Sensitivity, VERSION};
pub use trajectory::{Trajectory, trajectories};
pub(crate) use weights::filters;
pub use weights::{Distances, WeightStats, weights_only};
