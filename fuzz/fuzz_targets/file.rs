//! A file that holds what the fuzzer made, for readers that take a path. One a process.

use std::path::PathBuf;

/// Writes the bytes to a file of this name; where it stands.
pub fn of(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("secateur-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}
