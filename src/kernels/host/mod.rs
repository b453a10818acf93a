//! What host kernels share: padded rows, vector copies, scratch memory.

pub(crate) mod padded_rows;
pub(crate) mod scratch;
pub(crate) mod vectors;
