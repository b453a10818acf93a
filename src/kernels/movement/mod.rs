//! Kernels that move, fill or resample data.

pub(crate) mod copy;
pub(crate) mod fill;
pub(crate) mod gather;
pub(crate) mod resample;

pub use self::copy::Copy;
pub use self::fill::Fill;
pub use self::gather::GatherKernel;
pub use self::resample::Resample;
