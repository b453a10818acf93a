//! Encoded pictures, as files and archives store them.

use std::path::PathBuf;

use bytes::Bytes;

/// An image that could not be decoded: its file and the reason.
pub(super) type Skipped = (PathBuf, String);

/// One picture as it is stored, before decoding.
pub(super) struct EncodedPicture {
    /// File of the picture, or its archive's path and its name in it.
    pub(super) name: PathBuf,
    pub(super) bytes: Bytes,
}
