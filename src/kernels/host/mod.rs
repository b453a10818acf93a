//! Shared parts of host kernels: padded rows and planes, vector copies and scratch memory.

pub(crate) mod padded_planes;
pub(crate) mod padded_rows;
pub(crate) mod scratch;
pub(crate) mod vectors;
