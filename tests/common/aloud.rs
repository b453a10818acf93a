//! Words that a test run prints even where the test passes: `eprintln!` would be captured and thrown away.

use std::io::Write as _;

/// Says what a test leaves out.
pub(crate) fn left_out(what: &str) {
    // A closed stderr has no reader to tell.
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}
