//! Encoded pictures of a data set, wherever they are stored.

use std::path::PathBuf;

use bytes::Bytes;
use rayon::prelude::*;

use super::source::Skipped;
use crate::error::Result;

/// One picture as it is stored, before decoding.
pub(super) struct EncodedPicture {
    /// File of the picture, or its archive's path and its name in it.
    pub(super) name: PathBuf,
    pub(super) bytes: Bytes,
}

/// The stored pictures of a set, in order.
#[derive(Debug)]
pub(super) enum Encoded {
    /// A file for each picture.
    Files(Vec<PathBuf>),
}

impl Encoded {
    /// Returns the number of pictures.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Files(files) => files.len(),
        }
    }

    /// Reads the pictures at these places, in their order; a picture that cannot be read is skipped.
    ///
    /// # Errors
    /// An archive that cannot be read at all.
    pub(super) fn read(&self, places: &[usize]) -> Result<Vec<Result<EncodedPicture, Skipped>>> {
        match self {
            Self::Files(files) => {
                let read = |&place: &usize| {
                    let name = files[place].clone();
                    match std::fs::read(&name) {
                        Ok(bytes) => Ok(EncodedPicture { name, bytes: bytes.into() }),
                        Err(error) => Err((name, error.to_string())),
                    }
                };
                Ok(places.par_iter().map(read).collect())
            }
        }
    }
}
