//! Kernels that read images at computed positions between their elements.

pub(crate) mod deform;
pub(crate) mod grid_sample;
pub(crate) mod roi_align;

pub use self::deform::DeformUnfold;
pub use self::grid_sample::{GridPadding, GridSample, GridSampling};
pub use self::roi_align::RoiAlign;
