//! The words of the command line, which errors and reports repeat.

use std::ffi::OsString;
use std::sync::OnceLock;

static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Sets the words, of which the first is the program; later calls change nothing.
pub(super) fn set(words: Vec<OsString>) {
    let _ = WORDS.set(words);
}

/// Returns all words, or none before they are set.
pub(super) fn all() -> &'static [OsString] {
    WORDS.get().map_or(&[], Vec::as_slice)
}
