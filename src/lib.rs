//! Prunes trained convolutional networks: an ONNX file and images in, a smaller ONNX file out.
//!
//! Secateur runs a network on the local GPU (Vulkan, Metal or DX12 through wgpu) or on the CPU, and gathers statistics of
//! every convolution kernel. It scores channels by a criterion, removes those that matter least from all tensors, and
//! refits the layers behind the cut by least squares, without labels and without training. Before the smaller file is
//! written, its outputs are checked against the original network with the removed channels masked to zero.
//!
//! ```no_run
//! use secateur::prelude::*;
//!
//! # fn main() -> secateur::Result<()> {
//! let network = Network::open("net.onnx")?;
//! let images = DataOptions { preset: Some("imagenet".parse()?), ..DataOptions::default() };
//! let data = open_calibration(&network.graph, "images/", &images, false)?;
//! let origin = Origin::new("images/", &images);
//! let calibration = Calibration::hold_out(data, origin, None, None)?;
//! let evidence = Evidence::images(&calibration);
//! let outcome = prune(network, &Device::Cpu, evidence, &PruneOptions::default(), &mut Silent)?;
//! if let Some(pruned) = outcome.done() {
//!     pruned.model.save("small.onnx".as_ref())?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`pipeline`] holds the operations: profile, plan, prune, evaluate, compare criteria, benchmark, report. [`prelude`]
//! has the names that most programs need. The modules below them are the parts:
//!
//! ```text
//! file ─onnx→ Model ─graph→ Graph ─plan→ Plan ─exec→ tensors ─stats→ Profile ─prune→ Cut ─rewrite→ Model ─onnx→ file
//! ```
//!
//! With the feature `gpu` (default) networks run on GPUs; with `cli` (default) the crate has the program `secateur`.

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
pub mod prelude;
pub mod prune;
pub mod quantize;
pub mod repair;
pub mod report;
pub mod stats;
pub mod tensor;
pub mod train;

pub use error::{Error, ErrorKind, Result};

/// Runs the example of the library's page as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct Library;
