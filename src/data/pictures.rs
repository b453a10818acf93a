//! Pictures of a data set, in files, archives or tables.

use std::path::PathBuf;

use rayon::prelude::*;

use super::encoded::{EncodedPicture, Skipped};
use super::parquet::Tables;
use super::webdataset::Archives;
use crate::error::Result;

/// The stored pictures of a set, in order.
#[derive(Debug)]
pub(super) enum Pictures {
    /// A file for each picture.
    Files(Vec<PathBuf>),
    /// Entries of WebDataset archives.
    Archives(Archives),
    /// Cells of parquet tables.
    Tables(Tables),
}

impl Pictures {
    /// Returns the number of pictures.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Files(files) => files.len(),
            Self::Archives(archives) => archives.len(),
            Self::Tables(tables) => tables.len(),
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
                    let file = &files[place];
                    EncodedPicture::of_file(file).map_err(|reason| (file.clone(), reason))
                };
                Ok(places.par_iter().map(read).collect())
            }
            Self::Archives(archives) => Ok(archives.read(places)),
            Self::Tables(tables) => tables.read(places),
        }
    }
}
