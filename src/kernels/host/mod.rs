//! Shared parts of host kernels: padded rows, vector copies and scratch memory.

pub(crate) mod padded_rows;
pub(crate) mod scratch;
pub(crate) mod vectors;
