//! Notices about a data set and its preprocessing, before it is used.

use super::calibration::Calibration;
use crate::data::Dataset;
use crate::error::Result;
use crate::observer::{Notice, Observer};

/// Reports the preprocessing of a data set.
///
/// # Errors
/// Samples that do not fit the network.
pub(super) fn notice_data(data: &Dataset, observer: &mut dyn Observer) -> Result<()> {
    observer.notice(Notice::Preprocessing(data.describe()?));
    Ok(())
}

/// Reports the preprocessing of calibration images, if there are any.
///
/// # Errors
/// As [`notice_data`].
pub(super) fn notice_calibration(
    calibration: Option<&Calibration>,
    observer: &mut dyn Observer,
) -> Result<()> {
    calibration.map_or(Ok(()), |calibration| notice_data(&calibration.fit, observer))
}
