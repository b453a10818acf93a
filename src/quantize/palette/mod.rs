//! Shared weights: each layer's weights take one of few values, stored as a codebook and an index for each weight.

mod assign;
pub mod codebook;
mod detect;
pub mod packing;
mod share;
mod write;

pub use codebook::Codebook;
pub use detect::{SharedWeight, shared_weights};
pub use packing::PaletteBits;
pub use share::{Shared, share_weights};
pub use write::write;
