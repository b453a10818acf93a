//! Convolution of 8-bit integers with integer sums.

mod host;
pub(crate) mod kernel;
pub(crate) mod test_cases;

pub use self::kernel::IntegerConv;
