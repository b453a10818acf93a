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
    pub(super) fn read<P: AsRef<Path>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.read.extend(paths.into_iter().map(|path| path.as_ref().to_path_buf()));
        self
    }

    /// A model, and the files of its external tensors.
    pub(super) fn model(self, model: &Model) -> Self {
        self.read([&model.path]).read(&model.data_files)
    }

    /// A data set; the files of a folder are not looked at.
    pub(super) fn data(self, data: &DataArgs) -> Self {
        self.read(data.files().filter(|path| path.is_file()))
    }

    /// Files that are going to be written.
    ///
    /// # Errors
    /// One that is read, or written already, or cannot be written.
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

    /// A smaller kind of a model that is going to be written, with the file of its external tensors.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn write_model(self, model: &Model, path: &Path) -> Result<Self> {
        self.write(model.files_at(path)?, "write the model")
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
