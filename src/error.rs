//! The error type of the whole library.
//!
//! An error has a kind, a sentence, and up to five labelled details: file, node, expected, got, remedy. A remedy names
//! an option in backticks by its name in the library (`batch`), a function as a call (`profile()`); an interface may
//! replace these by its own terms, as the command line does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of every fallible function of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The remedy for a model that violates the ONNX standard.
const NOT_ONNX: &str = "the file does not follow the ONNX standard; export it again";
/// The remedy for a node that needs more than the engine supports.
const LEAVE_OUT: &str = "export the network with other operators, or leave these parts out of the file";
/// The remedy for a bug in this program.
pub const OUR_FAULT: &str = "this is a fault of this program: please report it with the model";

/// The category of an [`Error`], for callers that react differently to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument, data set, profile or cut that does not fit.
    #[default]
    InvalidInput,
    /// A model file that violates the ONNX standard.
    InvalidModel,
    /// A valid model that uses an operator or shape that the engine does not support.
    Unsupported,
    /// A budget that cannot be met within the limits.
    BudgetInfeasible,
    /// A pruned network whose outputs differ from the masked reference.
    ProofFailed,
    /// A GPU, driver or adapter that fails or is missing.
    Device,
    /// Memory of the device or the host that does not suffice.
    OutOfMemory,
    /// A file operation that fails; [`std::error::Error::source`] has the system's error.
    Io,
    /// An operation that an observer ended ([`crate::observer::Observer`]).
    Interrupted,
    /// A bug in this program.
    Internal,
}

/// An error with its kind, place and remedy.
///
/// [`Error::new`] creates one, and labelled setters add details.
#[derive(Debug, Clone, Default)]
pub struct Error {
    inner: Box<Details>,
}

#[derive(Debug, Clone, Default)]
struct Details {
    kind: ErrorKind,
    what: String,
    file: Option<PathBuf>,
    node: Option<String>,
    expected: Option<String>,
    got: Option<String>,
    remedy: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Creates an error of the kind [`ErrorKind::InvalidInput`] from a sentence without a full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { inner: Box::new(Details { what: what.into(), ..Details::default() }) }
    }

    /// Creates an error for a failed operation on a file, with the system's error as source.
    pub fn io(doing: &str, path: &Path, error: std::io::Error) -> Self {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path",
            std::io::ErrorKind::IsADirectory => "give the name of a file",
            std::io::ErrorKind::AlreadyExists => "there is something else of this name: give another one",
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
                "the file is damaged; copy or download it again"
            }
            std::io::ErrorKind::PermissionDenied => "check the permissions of the file and its folder",
            std::io::ErrorKind::StorageFull => "free some disk space, or write elsewhere",
            _ => "check that the path exists and can be used",
        };
        let error_text = error.to_string();
        let what = Self::new(format!("cannot {doing}")).with_kind(ErrorKind::Io).with_source(error);
        what.file(path).got(error_text).remedy(remedy)
    }

    /// Creates the error of an operation that an observer ended.
    pub fn interrupted() -> Self {
        Self::new("interrupted").with_kind(ErrorKind::Interrupted).remedy("run the command again")
    }

    /// Sets the kind of the error.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.inner.kind = kind;
        self
    }

    /// Sets the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.inner.source = Some(Arc::new(source));
        self
    }

    /// Marks a model file that violates the ONNX standard, with the remedy for it.
    #[must_use]
    pub fn invalid_model(self) -> Self {
        self.with_kind(ErrorKind::InvalidModel).remedy(NOT_ONNX)
    }

    /// Marks a valid model that the engine does not support, with the remedy for it.
    #[must_use]
    pub fn unsupported(self) -> Self {
        self.with_kind(ErrorKind::Unsupported).remedy(LEAVE_OUT)
    }

    /// Marks a bug in this program, with the remedy for it.
    #[must_use]
    pub fn internal(self) -> Self {
        self.with_kind(ErrorKind::Internal).remedy(OUR_FAULT)
    }

    /// Names the file, unless an inner call has named one. An empty path is that of data in memory, and is left out.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        if !path.as_os_str().is_empty() {
            self.inner.file.get_or_insert_with(|| path.to_path_buf());
        }
        self
    }

    /// Names the node, unless an inner call has named one.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.inner.node.get_or_insert_with(|| node.into());
        self
    }

    /// Adds the expected value.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.inner.expected = Some(expected.into());
        self
    }

    /// Adds the value that came instead.
    #[must_use]
    pub fn got(mut self, got: impl Into<String>) -> Self {
        self.inner.got = Some(got.into());
        self
    }

    /// Adds what the user can do, unless an inner call has.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.inner.remedy.get_or_insert_with(|| remedy.into());
        self
    }

    /// Replaces the remedy, if there is one.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.inner.remedy = Some(remedy.into());
        self
    }

    /// Adds a remedy for a mistyped name: the nearest of `names` if one is near, else `otherwise`.
    #[must_use]
    pub fn meant<'a>(
        self,
        given: &str,
        names: impl IntoIterator<Item = &'a str>,
        otherwise: impl Into<String>,
    ) -> Self {
        // One edit changes a large part of a short name.
        let most = (given.chars().count() / 2).clamp(1, 2);
        match names.into_iter().min_by_key(|name| distance(name, given)) {
            Some(near) if near != given && distance(near, given) <= most => {
                self.remedy(format!("did you mean {near}?"))
            }
            _ => self.remedy(otherwise),
        }
    }

    /// Names a node, and prepends its operator to a sentence that lacks it.
    #[must_use]
    pub fn at(self, op: &str, node: impl Into<String>) -> Self {
        let named = self.inner.what.contains(op);
        if named { self.node(node) } else { self.context(op).node(node) }
    }

    /// Prepends a context to the sentence.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.inner.what = format!("{doing}: {}", self.inner.what);
        self
    }

    /// Replaces the texts that name options and functions: sentence, expected and remedy.
    #[must_use]
    pub fn map_texts(&self, replace: impl Fn(&str) -> String) -> Self {
        let mut mapped = self.clone();
        let Details { what, expected, remedy, .. } = &mut *mapped.inner;
        for text in std::iter::once(what).chain(expected).chain(remedy) {
            *text = replace(text);
        }
        mapped
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns the sentence without the labelled details.
    pub fn what(&self) -> &str {
        &self.inner.what
    }

    /// Returns the file concerned.
    pub fn file_path(&self) -> Option<&Path> {
        self.inner.file.as_deref()
    }

    /// Returns the name of the node concerned.
    pub fn node_name(&self) -> Option<&str> {
        self.inner.node.as_deref()
    }

    /// Returns the remedy, if there is one.
    pub fn remedy_text(&self) -> Option<&str> {
        self.inner.remedy.as_deref()
    }

    /// Returns sentence, expected and got in one line.
    pub fn message(&self) -> String {
        let mut text = self.inner.what.clone();
        if let Some(expected) = &self.inner.expected {
            text.push_str(&format!(", expected {expected}"));
        }
        if let Some(got) = &self.inner.got {
            text.push_str(&format!(", got {got}"));
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.what)?;
        let details = &self.inner;
        let rows = [
            ("file", details.file.as_ref().map(|p| p.display().to_string())),
            ("node", details.node.clone()),
            ("expected", details.expected.clone()),
            ("got", details.got.clone()),
            ("remedy", details.remedy.clone()),
        ];
        for (label, value) in rows {
            if let Some(value) = value {
                write!(f, "\n  {label:>8}: {value}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

/// Returns the Levenshtein distance of two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let change = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
