//! Elementwise kernels, with broadcasting if there are several inputs.

pub(crate) mod activation_gradient;
pub(crate) mod affine;
pub(crate) mod binary;
mod broadcast_gradient;
pub(crate) mod calls;
pub(crate) mod channel_sums;
pub(crate) mod roofline;
pub(crate) mod select;
pub(crate) mod unary;

pub use self::activation_gradient::ActivationGradient;
pub use self::affine::Affine;
pub use self::binary::{BinaryKernel, BinaryOp};
pub use self::channel_sums::ChannelSums;
pub use self::roofline::Roofline;
pub use self::select::Select;
pub use self::unary::Unary;
