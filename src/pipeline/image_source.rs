//! The images of a pass: a data set, or a calibration set that may be in memory.

use super::calibration::Calibration;
use crate::data::{Batch, Dataset};
use crate::error::Result;
use crate::tensor::SampleShape;

/// The images of a pass: of a data set, or of a calibration set that may be in memory.
#[derive(Clone, Copy)]
pub(super) enum ImageSource<'a> {
    Dataset(&'a Dataset),
    Calibration(&'a Calibration),
}

impl<'a> ImageSource<'a> {
    pub(super) fn dataset(self) -> &'a Dataset {
        match self {
            Self::Dataset(data) => data,
            Self::Calibration(calibration) => &calibration.fit,
        }
    }

    pub(super) fn batches_from(
        self,
        start: usize,
        size: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        match self {
            Self::Dataset(data) => Box::new(data.batches_from(start, size)),
            Self::Calibration(calibration) => calibration.batches_from(start, size),
        }
    }

    pub(super) fn sample(self) -> Result<SampleShape> {
        match self {
            Self::Dataset(data) => data.sample(),
            Self::Calibration(calibration) => calibration.sample(),
        }
    }
}
