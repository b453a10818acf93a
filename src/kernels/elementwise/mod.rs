//! Elementwise kernels, with broadcasting if there are several inputs.

pub(crate) mod affine;
pub(crate) mod binary;
pub(crate) mod roofline;
pub(crate) mod select;
pub(crate) mod unary;

pub use self::affine::Affine;
pub use self::binary::{BinaryKernel, BinaryOp};
pub use self::roofline::Roofline;
pub use self::select::Select;
pub use self::unary::Unary;
