//! The extents of a tensor before, along and after an axis.

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::show;

/// The length of the longest axis whose indices an `f32` represents exactly.
pub(super) const MOST_INDICES: usize = 1 << 24;

/// Returns the extents (outer, axis, inner) of a shape around axis `at`.
///
/// # Errors
/// An axis longer than [`MOST_INDICES`].
pub(super) fn split_at_axis(shape: &[usize], at: usize) -> Result<(usize, usize, usize)> {
    if shape[at] > MOST_INDICES {
        return Err(Error::new("an axis that is too long for its indices")
            .expected(format!("at most {MOST_INDICES}"))
            .got(show(shape))
            .unsupported());
    }
    Ok((shape[..at].iter().product(), shape[at], shape[at + 1..].iter().product()))
}

/// Returns the extents (batch, channels, inner) of a tensor with channels on axis 1.
///
/// # Errors
/// A tensor of rank 0 or 1.
pub(super) fn split_at_channels(shape: &[usize]) -> Result<(usize, usize, usize)> {
    match shape {
        [n, c, rest @ ..] => Ok((*n, *c, rest.iter().product())),
        _ => Err(Error::new("a tensor without a channel axis")
            .expected("N×C×…")
            .got(show(shape))
            .with_kind(ErrorKind::InvalidModel)),
    }
}
