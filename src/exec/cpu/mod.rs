//! The CPU interpreter: buffers are vectors, and a step is a call of a kernel's host version.

mod micro_batch;
mod program;
mod step_runner;

pub use self::program::CpuProgram;

#[cfg(test)]
mod tests;
