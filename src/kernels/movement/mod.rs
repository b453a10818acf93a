//! Kernels that move, fill or resample data.

pub(crate) mod copy;
pub(crate) mod fill;
pub(crate) mod gather;
pub(crate) mod relayout;
pub(crate) mod resample;
pub(crate) mod scatter;

pub use self::copy::Copy;
pub use self::fill::Fill;
pub use self::gather::GatherKernel;
pub use self::relayout::Relayout;
pub use self::resample::Resample;
pub use self::scatter::ScatterKernel;
