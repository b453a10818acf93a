//! Quantization: ranges of values, and the networks that use them.

pub mod range;
