//! Notes about notices, refusals and interruptions, in the command line's terms.

use std::path::Path;

use super::terms::translate;
use crate::pipeline::{Notice, Refusal};

/// Returns the note for a training that Ctrl-C ended.
pub(super) fn interrupted_training(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!(
            "interrupted: the same command with --resume continues from {}; nothing was written",
            path.display()
        ),
        None => "interrupted: nothing was written (with --checkpoint a training can be continued)".to_owned(),
    }
}

/// Returns the note for a notice.
pub(super) fn text(notice: &Notice) -> String {
    translate(&notice.to_string())
}

/// Returns the note for a refusal.
pub(super) fn refusal(refusal: &Refusal) -> String {
    translate(&refusal.to_string())
}

/// Returns the note after Ctrl-C.
pub(super) fn interrupted(profile: Option<&Path>) -> String {
    match profile {
        Some(file) if file.exists() => {
            format!("interrupted: {} keeps what was measured; the same command continues", file.display())
        }
        _ => "interrupted".to_owned(),
    }
}
