//! Quantized networks: integers in place of floats, shared weights, and the size of a file under entropy coding.

pub mod coding;
mod format;
pub mod integer;
mod nodes;
pub mod palette;
pub mod range;
mod rounding;

pub use format::NumberFormat;
