//! Compute kernels, each with one definition and three implementations.
//!
//! A kernel is plain data (its parameters) with
//! * [`Kernel::reference`]: the definition, in `f64`, slow and simple;
//! * [`Kernel::cpu`]: the fast host version, on all cores;
//! * [`Kernel::dispatch`]: the launch of its shader, `shaders/FAMILY/NAME.wgsl`.
//!
//! On a device, other [`algorithms`] may replace the kernel's own shader.
//!
//! Every shader has the entry point `main` and binds, in `@group(0)`, a uniform `Params` at `@binding(0)`, the output
//! (read_write storage) at `@binding(1)`, and input `i` at `@binding(2 + i)`: read-only storage or a texture
//! ([`Kernel::binding`]). Module [`source`] declares the element types.
//!
//! Tests iterate over the table [`KERNELS`]: every kernel has test cases, and every shader a row.

pub mod activation;
pub mod algorithm;
pub mod algorithms;
pub mod binding;
pub(crate) mod case;
pub mod conv;
pub mod depthwise;
pub(crate) mod derivative;
pub mod elementwise;
pub(crate) mod f16_storage;
pub mod gemm;
pub mod gradient;
mod host;
pub(crate) mod instructions;
mod kernel;
pub mod layout;
pub mod moments;
pub mod movement;
pub mod normalization;
pub mod optimizer;
pub mod recurrent;
pub mod reduction;
pub mod sampling;
mod shader;
pub mod source;
mod table;
pub mod volume;
pub mod window;

pub use self::case::Case;
pub use self::kernel::{Dispatch, Kernel, KernelRow, Prepared};
pub use self::shader::grid;
pub use self::table::{CASES, KERNELS, cases_of};
