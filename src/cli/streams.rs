//! Standard input and output in place of files: a path that is `-`.

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tempfile::TempDir;

use super::output::Output;
use crate::error::{Error, Result};
use crate::pipeline::Model;

/// The path that stands for standard input or output.
const STREAM: &str = "-";

/// Loads a model from a file, or from standard input.
pub(super) fn load_model(path: &Path) -> Result<Model> {
    if path != Path::new(STREAM) {
        return Model::load(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(|e| Error::io("read the model", path, e))?;
    Model::from_bytes(bytes, path)
}

/// The file that a command writes its result to, or standard output.
///
/// For standard output, the result is written to a temporary file first, so that it comes whole or not at all.
#[derive(Clone, Debug)]
pub(super) struct OutputFile {
    given: PathBuf,
    /// Path of the file to write.
    file: PathBuf,
    /// Folder of a temporary file, removed with the last copy.
    folder: Option<Arc<TempDir>>,
}

impl From<OsString> for OutputFile {
    fn from(text: OsString) -> Self {
        let given = PathBuf::from(text);
        Self { file: given.clone(), given, folder: None }
    }
}

impl OutputFile {
    /// Returns whether the result goes to standard output.
    pub(super) fn is_stdout(&self) -> bool {
        self.given == Path::new(STREAM)
    }

    /// Prepares a temporary file if the result goes to standard output.
    pub(super) fn prepare(&mut self) -> Result<()> {
        if self.is_stdout() {
            let io = |e| Error::io("make a temporary folder", &std::env::temp_dir(), e);
            let folder = tempfile::tempdir().map_err(io)?;
            self.file = folder.path().join("output");
            self.folder = Some(Arc::new(folder));
        }
        Ok(())
    }

    /// Returns the path of the file to write.
    pub(super) fn path(&self) -> &Path {
        &self.file
    }

    /// Checks that the result is one file, if it goes to standard output.
    pub(super) fn check_single(&self, model: &Model) -> Result<()> {
        if self.is_stdout() && model.files_at(&self.file)?.len() > 1 {
            return Err(Error::new("standard output cannot take a model with external data")
                .file(&model.path)
                .expected("the name of a file")
                .remedy("write to a file with -o"));
        }
        Ok(())
    }

    /// Copies the file to standard output, if the result goes there and was written.
    pub(super) fn finish(&self, output: &Output) -> Result<()> {
        if self.is_stdout() && self.file.exists() {
            let mut file =
                std::fs::File::open(&self.file).map_err(|e| Error::io("read the result", &self.file, e))?;
            output.copy(&mut file);
        }
        Ok(())
    }
}

impl fmt::Display for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.given.display())
    }
}

impl Serialize for OutputFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.given.serialize(serializer)
    }
}
