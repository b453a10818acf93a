//! Statistics of every layer: of its weights, and of its outputs over a calibration set.
//!
//! One pass. Beside the forward pass a kernel reduces each layer's output, before and after its
//! activation, to sums of tiles of 256 elements; the tiling depends on the layer only. The host merges them in `f64`, in
//! image order (Chan's formula), so that a profile does not depend on the batch size.

pub mod gather;
pub mod moments;
pub mod profile;

pub use gather::{LayerTaps, gather, layers};
pub use moments::Moments;
pub use profile::{Header, LayerProfile, Profile, WeightStats};
