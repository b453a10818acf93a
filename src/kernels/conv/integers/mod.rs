//! Convolution of 8-bit integers with integer sums.

mod host;
pub(crate) mod kernel;
mod shape;
pub(crate) mod test_cases;

pub use self::shape::IntegerConv;
