//! Convolution on the host.

pub(crate) mod blocks;
pub(crate) mod direct;
pub(crate) mod gemv;
