//! Coded size: the bytes of a model's tensors under entropy coding, as the last step of Deep Compression (Han 2016).
//!
//! [`coded_size`] encodes every tensor with [`huffman`] and [`rans`], in the forms of [`form`], and counts the bytes. The
//! encoders have decoders and pass round trips, and code tables are part of the bytes, so that the sizes are real.

pub mod bits;
pub mod form;
pub mod huffman;
pub mod rans;
mod size;

pub use size::{CodedSize, CodedTensor, coded_size};
