//! Sources of a data set as they are given: folders, files, patterns, and lists of files.

use std::fmt;
use std::path::{Path, PathBuf};

use super::folder::Listing;

/// Sources of a data set, in order: folders, files, patterns, or `random:N`.
///
/// Several sources are one data set. An array or split of an archive follows a colon: `mnist.npz:test`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataSources(Vec<String>);

impl DataSources {
    /// Returns whether there is no source.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the sources as text, in order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Returns the files and folders that are named, without the arrays or splits of archives.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().map(|text| split_part(text).0)
    }
}

impl fmt::Display for DataSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl From<&str> for DataSources {
    fn from(source: &str) -> Self {
        Self(vec![source.to_owned()])
    }
}

impl From<&String> for DataSources {
    fn from(source: &String) -> Self {
        Self::from(source.as_str())
    }
}

impl From<String> for DataSources {
    fn from(source: String) -> Self {
        Self(vec![source])
    }
}

impl From<&[String]> for DataSources {
    fn from(sources: &[String]) -> Self {
        Self(sources.to_vec())
    }
}

impl From<Vec<String>> for DataSources {
    fn from(sources: Vec<String>) -> Self {
        Self(sources)
    }
}

impl From<&Self> for DataSources {
    fn from(sources: &Self) -> Self {
        sources.clone()
    }
}

/// One source, with its patterns and lists resolved.
#[derive(Debug)]
pub(super) enum Given {
    /// A folder, or one file with the array or split of an archive that was named.
    Path { path: PathBuf, part: Option<String> },
    /// The files of a pattern or of a list, with their labels.
    Files { from: PathBuf, listing: Listing },
}

impl Given {
    /// Returns the path that errors name.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Path { path, .. } | Self::Files { from: path, .. } => path,
        }
    }

    /// Returns the path, or the first file.
    pub(super) fn first_file(&self) -> &Path {
        match self {
            Self::Path { path, .. } => path,
            Self::Files { from, listing } => listing.files.first().unwrap_or(from),
        }
    }
}

/// Splits off the array or split of an archive that follows a colon.
pub(super) fn split_part(text: &str) -> (PathBuf, Option<String>) {
    match text.rsplit_once(':') {
        Some((path, part)) if !Path::new(text).exists() && Path::new(path).is_file() => {
            (PathBuf::from(path), Some(part.to_owned()))
        }
        _ => (PathBuf::from(text), None),
    }
}
