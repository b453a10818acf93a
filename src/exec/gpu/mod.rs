//! The GPU interpreter: an open device ([`Gpu`]) that loads and runs plans.

mod adapter;
mod autotune;
mod autotune_cache;
mod device;
mod encoding;
mod loader;
mod lowering;
mod pipeline;
mod program;
mod texture;
mod transfer;

pub use wgpu::Adapter;

pub(super) use self::adapter::adapters;
pub use self::device::Gpu;

/// Why there is no GPU: `None`, as this build can drive one.
pub(super) const WHY: Option<&str> = None;
