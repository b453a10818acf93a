//! Kernels: what the engine computes with, one file each, three faces of one definition.
//!
//! A kernel is plain data (its parameters) with
//! * [`Kernel::reference`]: the definition, in `f64`, slow and obviously right;
//! * [`Kernel::cpu`]: the fast host version, on all cores;
//! * [`Kernel::dispatch`]: how its shader is launched. The shader is `shaders/NAME.wgsl`.
//!
//! A device may have a better way to compute a call than the kernel's own shader: [`algorithms`].
//!
//! Every shader binds `@binding(0)` a uniform `Params`, `@binding(1)` the output (read_write storage),
//! and `@binding(2 + i)` input `i` (read-only storage, or a texture: [`Kernel::view`]), all in `@group(0)`, entry point `main`.
//! What their elements are is said by [`source`].
//! The table [`KERNELS`] is what tests iterate: every row has cases, and every shader a row.

pub mod activation;
pub mod algorithm;
pub mod algorithms;
pub mod binding;
mod case;
pub mod conv;
pub mod depthwise;
pub mod elementwise;
pub(crate) mod f16_storage;
pub mod gemm;
mod host;
mod kernel;
pub mod layout;
pub mod moments;
pub mod movement;
pub mod normalization;
pub mod reduction;
mod shader;
pub mod source;
mod table;
pub mod window;
mod winograd;

pub use self::case::Case;
pub use self::kernel::{Dispatch, Kernel, Prepared, Row};
pub use self::shader::grid;
pub use self::table::{CASES, KERNELS, cases_of};
