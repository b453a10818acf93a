//! Products of computed matrices, and the microkernel of all host products.

pub(crate) mod matmul;
pub(crate) mod microkernel;

pub use self::matmul::MatMulKernel;
