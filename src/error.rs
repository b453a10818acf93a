//! One error type for the whole street.
//!
//! Every error is a sentence with up to five labelled facts: which file, which node, what was
//! expected, what came, and what to do about it. The command line prints them in one voice; `--json`
//! prints them as fields.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The remedy for a model that breaks the rules.
pub const NOT_ONNX: &str = "the file does not follow the ONNX standard; export it again";
/// The remedy for a node that asks more than the engine does.
pub const LEAVE_OUT: &str = "export the network with other operators, or leave these parts out of the file";
/// The remedy for what nobody can provoke.
pub const OUR_FAULT: &str = "this is a fault of this program: please report it with the model";

/// What went wrong, where, and what to do. Built with [`Error::new`] and the labelled setters.
#[derive(Debug, Clone, Default)]
pub struct Error {
    inner: Box<Details>,
}

#[derive(Debug, Clone, Default)]
struct Details {
    what: String,
    file: Option<PathBuf>,
    node: Option<String>,
    expected: Option<String>,
    got: Option<String>,
    remedy: Option<String>,
}

impl Error {
    /// An error that says `what` went wrong, in a few words without a full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { inner: Box::new(Details { what: what.into(), ..Details::default() }) }
    }

    /// An operation on a file failed: names the file and the system's own words.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
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
        Self::new(format!("cannot {doing}")).file(path).got(error.to_string()).remedy(remedy)
    }

    /// Names the file, unless one is named already (the innermost place knows best).
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.inner.file.get_or_insert_with(|| path.as_ref().to_path_buf());
        self
    }

    /// Names the node, unless one is named already.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.inner.node.get_or_insert_with(|| node.into());
        self
    }

    /// Says what was expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.inner.expected = Some(expected.into());
        self
    }

    /// Says what came instead.
    #[must_use]
    pub fn got(mut self, got: impl Into<String>) -> Self {
        self.inner.got = Some(got.into());
        self
    }

    /// Says what the user can do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.inner.remedy.get_or_insert_with(|| remedy.into());
        self
    }

    /// Says that `given` is none of `names`: asks whether the nearest was meant, else says `otherwise`.
    #[must_use]
    pub fn meant<'a>(
        self,
        given: &str,
        names: impl IntoIterator<Item = &'a str>,
        otherwise: impl Into<String>,
    ) -> Self {
        // In a short name one edit is much.
        let most = (given.chars().count() / 2).clamp(1, 2);
        match names.into_iter().min_by_key(|name| distance(name, given)) {
            Some(near) if distance(near, given) <= most => self.remedy(format!("did you mean {near}?")),
            _ => self.remedy(otherwise),
        }
    }

    /// Names a node, and its operator in front of a sentence that does not name it.
    #[must_use]
    pub fn at(self, op: &str, node: impl Into<String>) -> Self {
        let named = self.inner.what.contains(op);
        if named { self.node(node) } else { self.context(op).node(node) }
    }

    /// Puts what was being done in front of the sentence.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.inner.what = format!("{doing}: {}", self.inner.what);
        self
    }

    /// The sentence without the labelled facts.
    pub fn what(&self) -> &str {
        &self.inner.what
    }

    /// The file it is about.
    pub fn file_path(&self) -> Option<&Path> {
        self.inner.file.as_deref()
    }

    /// The node it is about.
    pub fn node_name(&self) -> Option<&str> {
        self.inner.node.as_deref()
    }

    /// What to do about it.
    pub fn remedy_text(&self) -> Option<&str> {
        self.inner.remedy.as_deref()
    }

    /// Expected and got, in one line, for outputs that print the other facts apart.
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
        let facts = &self.inner;
        let rows = [
            ("file", facts.file.as_ref().map(|p| p.display().to_string())),
            ("node", facts.node.clone()),
            ("expected", facts.expected.clone()),
            ("got", facts.got.clone()),
            ("remedy", facts.remedy.clone()),
        ];
        for (label, value) in rows {
            if let Some(value) = value {
                write!(f, "\n  {label:>8}: {value}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Edits between two names (Levenshtein).
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
