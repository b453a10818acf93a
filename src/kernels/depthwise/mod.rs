//! Depthwise convolution, whose filters each read one channel.

pub(crate) mod host;
pub(crate) mod kernel;
pub(crate) mod shape;
pub(crate) mod texels;

pub use self::shape::Depthwise;
