//! Shared weights: each layer's weights take one of few values, stored as a codebook and an index for each weight.

mod assign;
pub mod codebook;
pub mod packing;
mod read;
mod share;
mod write;

pub use codebook::Codebook;
pub use packing::PaletteBits;
pub use read::{SharedWeight, shared_weights};
pub use share::{Shared, share_weights};
pub use write::write;
