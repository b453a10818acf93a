//! Convolution on the host CPU.

pub(crate) mod blocks;
pub(crate) mod direct;
pub(crate) mod gemv;
pub(crate) mod implicit;
pub(crate) mod weight_sums;
