//! Quantized networks: ranges of values, fewer bits for each weight, and the size of a file under entropy coding.

pub mod coding;
pub mod palette;
pub mod range;
