//! Atomic writing of files.
//!
//! A file is written under a temporary name in the target's folder and then renamed, so that readers see either the old
//! content or the new.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, ErrorKind, Result};

/// Returns the folder that contains a file.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Returns whether two paths refer to one file, which need not exist.
pub fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let inside = |folder: PathBuf| Some(folder.join(path.file_name()?));
        path.canonicalize().ok().or_else(|| folder_of(path).canonicalize().ok().and_then(inside))
    };
    a == b || matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

/// A complete file under a temporary name; dropping it deletes it.
#[derive(Debug)]
pub struct Pending<'a> {
    file: NamedTempFile,
    path: &'a Path,
    /// The operation for error messages, such as "write the model".
    doing: &'a str,
}

/// A buffered writer to a pending file.
pub type Sink<'a> = BufWriter<&'a mut NamedTempFile>;

impl<'a> Pending<'a> {
    /// Writes `content` to a temporary file for `path`; `doing` names the operation, such as "write the model".
    ///
    /// # Errors
    /// A path that cannot be written, or a full disk. The temporary file is removed.
    pub fn write(
        path: &'a Path,
        doing: &'a str,
        content: impl FnOnce(&mut Sink<'_>) -> io::Result<()>,
    ) -> Result<Self> {
        check_target(path, doing)?;
        let fill = || {
            let mut file = temporary(&folder_of(path))?;
            let mut out = BufWriter::new(&mut file);
            content(&mut out)?;
            out.flush()?;
            drop(out);
            file.as_file().sync_all()?;
            Ok(Self { file, path, doing })
        };
        fill().map_err(|e| Error::io(doing, path, e))
    }

    /// Renames the file to its final path.
    ///
    /// # Errors
    /// A rename that fails; an existing file is kept.
    pub fn commit(self) -> Result<()> {
        let renamed = self.file.persist(self.path);
        renamed.map(drop).map_err(|e| Error::io(self.doing, self.path, e.error))
    }
}

/// Writes a whole file atomically.
///
/// # Errors
/// The conditions of [`Pending::write`] and [`Pending::commit`].
pub fn write_whole(path: &Path, doing: &str, bytes: &[u8]) -> Result<()> {
    Pending::write(path, doing, |out| out.write_all(bytes))?.commit()
}

/// Checks that a file can be written, before work whose result is written there.
///
/// # Errors
/// A folder that does not exist or is not writable, or a target that is not a regular file.
pub fn check_writable(path: &Path, doing: &str) -> Result<()> {
    check_target(path, doing)?;
    temporary(&folder_of(path)).map(drop).map_err(|e| Error::io(doing, path, e))
}

/// Refuses targets that a rename would destroy (a device such as /dev/null) or cannot replace.
fn check_target(path: &Path, doing: &str) -> Result<()> {
    let got = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => "a folder",
        Ok(meta) if !meta.is_file() => "a device or pipe",
        _ if path.file_name().is_none() => "a path without a file name",
        _ if !folder_of(path).is_dir() => {
            return Err(Error::new(format!("cannot {doing}: its folder does not exist"))
                .with_kind(ErrorKind::Io)
                .file(path)
                .remedy("create the folder, or write elsewhere"));
        }
        _ => return Ok(()),
    };
    Err(Error::new(format!("cannot {doing}"))
        .with_kind(ErrorKind::Io)
        .file(path)
        .expected("the name of a file to write")
        .got(got)
        .remedy("choose the name of a file"))
}

/// Creates a temporary file with the permissions of an ordinary new file, not the private ones of `tempfile`.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".secateur-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The system subtracts the umask.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_written_completely_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_whole(&path, "write", b"old").unwrap();
        let pending = Pending::write(&path, "write", |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(pending);
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), 1));
        let failed = Pending::write(&path, "write the model", |out| {
            out.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let error = failed.unwrap_err();
        assert!(error.message().contains("write the model") && error.remedy_text().unwrap().contains("disk"));
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), 1));
        write_whole(&path, "write", b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"new".to_vec(), 1));
    }

    #[test]
    fn paths_are_compared_by_the_files_they_refer_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("there"), "").unwrap();
        for name in ["there", "not there"] {
            assert!(same_place(&at(name), &at(".").join(name)), "{name}");
            assert!(!same_place(&at(name), &at("other")), "{name}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("there"), at("link")).unwrap();
            assert!(same_place(&at("there"), &at("link")));
        }
        assert!(same_place(Path::new("no/such"), Path::new("no/such")));
    }

    #[test]
    fn targets_that_are_not_regular_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut targets = vec![folder.path().to_path_buf(), folder.path().join("no/a"), PathBuf::from("..")];
        if cfg!(unix) {
            targets.push(PathBuf::from("/dev/null"));
        }
        for path in targets {
            assert!(check_writable(&path, "write").is_err(), "{}", path.display());
            assert!(write_whole(&path, "write", b"x").is_err(), "{}", path.display());
        }
        check_writable(&folder.path().join("a"), "write").unwrap();
        assert_eq!(names(folder.path()), 0);
    }
}
