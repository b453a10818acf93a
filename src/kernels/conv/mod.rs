//! Convolution, which includes products with a constant matrix.

pub(crate) mod gemv;
pub(crate) mod gradient;
pub(crate) mod host;
pub(crate) mod host_algorithm;
pub(crate) mod integers;
pub(crate) mod kernel;
pub(crate) mod lanes;
pub(crate) mod pooled;
pub(crate) mod shape;
pub(crate) mod test_cases;
pub(crate) mod tiled;
pub(crate) mod unfold;
pub(crate) mod weight_gradient;
pub(crate) mod winograd;

pub use self::integers::IntegerConv;
pub use self::pooled::PooledConv;
pub use self::shape::ConvKernel;
