//! What a command writes, held against what it reads before the work: nothing that was read is replaced, and no result
//! takes the place of another.

use std::path::{Path, PathBuf};

use super::args::DataArgs;
use crate::error::{Error, Result};
use crate::file::{check_writable, same_place};
use crate::onnx::Model;

/// The files of a command.
#[derive(Debug, Default)]
pub(super) struct Targets {
    read: Vec<PathBuf>,
    written: Vec<PathBuf>,
}

impl Targets {
    /// Files that are read.
    pub(super) fn read<'a>(mut self, paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        self.read.extend(paths.into_iter().cloned());
        self
    }

    /// A data set; the files of a folder are not looked at.
    pub(super) fn data(mut self, data: &DataArgs) -> Self {
        self.read.extend(data.files().filter(|path| path.is_file()));
        self
    }

    /// A file that is going to be written.
    ///
    /// # Errors
    /// One that is read, or written already, or cannot be written.
    pub(super) fn write(mut self, path: &Path, doing: &str) -> Result<Self> {
        self.free(path)?;
        check_writable(path, doing)?;
        self.written.push(path.to_path_buf());
        Ok(self)
    }

    /// A smaller kind of a model that is going to be written, with the file of its external tensors.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn write_model(self, model: &Model, path: &Path) -> Result<Self> {
        model.files_at(path)?.iter().try_fold(self, |targets, path| targets.write(path, "write the model"))
    }

    fn free(&self, path: &Path) -> Result<()> {
        let among = |paths: &[PathBuf]| paths.iter().any(|other| same_place(path, other));
        if among(&self.read) {
            return Err(Error::new("the output is an input: nothing is lost here")
                .file(path)
                .remedy("write to another file"));
        }
        if among(&self.written) {
            return Err(Error::new("two outputs would be one file: nothing is lost here")
                .file(path)
                .remedy("give each a name of its own"));
        }
        Ok(())
    }
}
