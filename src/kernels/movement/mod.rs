//! Kernels that move, fill or resample data.

pub(crate) mod copy;
pub(crate) mod copy_gradient;
pub(crate) mod fill;
pub(crate) mod gather;
pub(crate) mod gather_gradient;
pub(crate) mod relayout;
pub(crate) mod resample;
pub(crate) mod resample_gradient;
pub(crate) mod scatter;
pub(crate) mod scatter_gradient;

pub use self::copy::Copy;
pub use self::copy_gradient::CopyGradient;
pub use self::fill::Fill;
pub use self::gather::GatherKernel;
pub use self::gather_gradient::GatherGradient;
pub use self::relayout::Relayout;
pub use self::resample::Resample;
pub use self::resample_gradient::ResampleGradient;
pub use self::scatter::ScatterKernel;
pub use self::scatter_gradient::ScatterGradient;
