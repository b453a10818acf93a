//! Protection of files: no command writes over a file that it reads, nor one result over another.

use std::path::{Path, PathBuf};

use super::data_args::DataArgs;
use crate::error::{Error, Result};
use crate::file::{check_writable, same_place};
use crate::pipeline::Model;

/// The files that a command reads and writes.
#[derive(Debug, Default)]
pub(super) struct OutputGuard {
    read: Vec<PathBuf>,
    written: Vec<PathBuf>,
}

impl OutputGuard {
    /// Adds files that are read.
    pub(super) fn read<P: AsRef<Path>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.read.extend(paths.into_iter().map(|path| path.as_ref().to_path_buf()));
        self
    }

    /// Adds a model that is read, with the files of its external tensors.
    pub(super) fn model(self, model: &Model) -> Self {
        self.read([&model.path]).read(&model.data_files)
    }

    /// Adds a data set that is read; the files of a folder are not checked.
    pub(super) fn data(self, data: &DataArgs) -> Self {
        self.read(data.files().filter(|path| path.is_file()))
    }

    /// Adds files that are going to be written.
    ///
    /// # Errors
    /// A file that is read, is written already, or cannot be written.
    pub(super) fn write<P: AsRef<Path>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
        doing: &str,
    ) -> Result<Self> {
        for path in paths {
            let path = path.as_ref();
            self.free(path)?;
            check_writable(path, doing)?;
            self.written.push(path.to_path_buf());
        }
        Ok(self)
    }

    /// Adds a smaller version of a model that is going to be written, with the file of its external tensors.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn write_model(self, model: &Model, path: &Path) -> Result<Self> {
        self.write(model.files_at(path)?, "write the model")
    }

    fn free(&self, path: &Path) -> Result<()> {
        let among = |paths: &[PathBuf]| paths.iter().any(|other| same_place(path, other));
        if among(&self.read) {
            return Err(Error::new("the output is an input, and would replace it")
                .file(path)
                .remedy("write to another file"));
        }
        if among(&self.written) {
            return Err(Error::new("two outputs would be one file")
                .file(path)
                .remedy("give each its own name"));
        }
        Ok(())
    }
}
