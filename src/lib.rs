//! Secateur makes trained convolutional networks smaller on whatever GPU a person has.
//!
//! The street, in one direction:
//!
//! ```text
//! file ─onnx→ Model ─graph→ Graph ─plan→ Plan ─exec→ tensors ─stats→ Profile ─prune→ Cut ─rewrite→ Model ─onnx→ file
//! ```

pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod coupling;
pub mod data;
pub mod error;
pub mod exec;
pub mod fact;
pub mod file;
pub mod graph;
pub mod ids;
pub mod kernels;
pub mod lsq;
pub mod observer;
pub mod onnx;
pub mod ops;
pub mod pipeline;
pub mod plan;
pub mod prune;
pub mod repair;
pub mod report;
pub mod stats;
pub mod tensor;

pub use error::{Error, ErrorKind, Result};

/// The example of the library's page runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct Library;
