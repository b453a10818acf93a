//! Products of computed matrices, and the microkernel of all host products.

pub(crate) mod matmul;
pub(crate) mod microkernel;
pub(crate) mod pairs;

pub use self::matmul::MatMulKernel;
