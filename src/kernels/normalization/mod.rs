//! Normalization kernels and softmax.

pub(crate) mod lrn;
pub(crate) mod normalize;
pub(crate) mod softmax;

pub use self::lrn::LrnKernel;
pub use self::normalize::Normalize;
pub use self::softmax::SoftmaxKernel;
