//! Errors in both directions: the library's as exceptions, and exceptions of callers through the library.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use secateur::{Error, ErrorKind};

/// The module of the package that defines the exceptions.
const EXCEPTIONS: &str = "secateur._errors";

/// Carries an exception of the caller's code through the library, to be raised again by [`exception`].
pub(crate) fn raised(error: PyErr) -> Error {
    Error::new("code of the caller raised an exception").with_source(error)
}

/// Returns the exception for an error: the caller's own, or one of the package's.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    if let Some(own) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<PyErr>()) {
        return own.clone_ref(py);
    }
    let kind = match error.kind() {
        ErrorKind::InvalidInput => "input",
        ErrorKind::InvalidModel => "model",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::BudgetInfeasible => "budget",
        ErrorKind::ProofFailed => "proof",
        ErrorKind::Device => "device",
        ErrorKind::OutOfMemory => "memory",
        ErrorKind::Io => "file",
        ErrorKind::Interrupted => "interrupted",
        _ => "internal",
    };
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    let made = || -> PyResult<PyErr> {
        let details = PyDict::new(py);
        details.set_item("kind", kind)?;
        details.set_item("text", error.to_string())?;
        details.set_item("file", error.file_path())?;
        details.set_item("node", error.node_name())?;
        details.set_item("remedy", error.remedy_text())?;
        details.set_item("errno", io.and_then(std::io::Error::raw_os_error))?;
        let exception = py.import(EXCEPTIONS)?.getattr("of_library")?.call((), Some(&details))?;
        Ok(PyErr::from_value(exception))
    };
    made().unwrap_or_else(|_| PyRuntimeError::new_err(error.to_string()))
}

/// Returns the exception for a result that the options refuse.
pub(crate) fn refused(py: Python<'_>, text: &str, attempts: Py<PyAny>) -> PyErr {
    let exception = py.import(EXCEPTIONS).and_then(|m| m.getattr("refused")?.call1((text, attempts)));
    exception.map_or_else(|failed| failed, PyErr::from_value)
}

/// Results whose error becomes an exception.
pub(crate) trait OrRaise<T> {
    /// Converts the error to an exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for secateur::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| exception(py, &error))
    }
}
