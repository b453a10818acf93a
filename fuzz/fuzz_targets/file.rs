//! Writes fuzzer input to a file, for parsers that take a path. Each process has one folder.

use std::path::PathBuf;

/// Writes the bytes to a file with this name, and returns the path.
pub fn of(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("secateur-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}
