//! The repository's own text files, for tests that read them.

use std::path::{Path, PathBuf};

/// Returns the repository's root: the package that Cargo runs the tests of, or else was compiled for.
pub(crate) fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Reads all files under `place`, a file or a folder below `root`, whose extension is among `extensions`.
///
/// Returns pairs of path, relative to `root` with `/` between its parts, and text, sorted by path; nothing for a
/// `place` that does not exist.
pub(crate) fn read(root: &Path, place: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let (mut open, mut found) = (vec![root.join(place)], Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("the folder can be listed");
            open.extend(entries.map(|entry| entry.expect("the entry can be read").path()));
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let inside = path.strip_prefix(root).expect("it lies below the root");
            let parts: Vec<_> = inside.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            found.push((parts.join("/"), text));
        }
    }
    found.sort();
    found
}
