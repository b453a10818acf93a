//! Encoded pictures, as files and archives store them.

use std::path::{Path, PathBuf};

use bytes::Bytes;

/// An image that could not be decoded: its file and the reason.
pub(super) type Skipped = (PathBuf, String);

/// One picture as it is stored, before decoding.
pub(super) struct EncodedPicture {
    /// File of the picture, or its archive's path and its name in it.
    pub(super) name: PathBuf,
    pub(super) bytes: Bytes,
}

impl EncodedPicture {
    /// Reads a file of one picture; the error is one line.
    pub(super) fn of_file(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
        Ok(Self { name: path.to_path_buf(), bytes: bytes.into() })
    }
}
