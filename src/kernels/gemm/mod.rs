//! Matrix products of computed operands, and the microkernel of the host's products.

pub(crate) mod matmul;
pub(crate) mod microkernel;

pub use self::matmul::MatMul;
