//! Depthwise convolution.

pub(crate) mod host;
pub(crate) mod kernel;
pub(crate) mod shape;
pub(crate) mod texels;

pub use self::shape::Depthwise;
