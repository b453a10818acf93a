//! Writing a model so that whoever looks sees the old file or the new one, never half of it.
//!
//! Everything goes to a temporary file in the target's folder first and is renamed at the end, the
//! data file before the model that names it.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

use super::proto::TensorProto;
use super::{Model, external, folder_of};

/// Protobuf readers stop at 2 GiB; the margin is for those that stop a little before.
pub(super) const PROTOBUF_LIMIT: usize = (2 << 30) - (1 << 20);
/// The least size that is moved out of a model which is over the limit.
const WORTH_MOVING: usize = 1 << 10;

/// Writes the model to `path`, with external data where it had some or where its encoding would
/// exceed `limit` bytes.
pub(super) fn save(model: &Model, path: &Path, limit: usize) -> Result<()> {
    check_target(path)?;
    let over = model.proto.encoded_len() > limit;
    if !over && model.external.is_empty() {
        return Pending::write(path, |out| out.write_all(&model.proto.encode_to_vec()))?.commit();
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".data");
    let location = name
        .to_str()
        .ok_or_else(|| Error::new("a model with external data needs a file name in Unicode").file(path))?;
    let data_path = folder_of(path).join(location);
    check_target(&data_path)?;

    let choose = |tensor: &TensorProto| {
        model.external.contains(tensor.name()) || (over && tensor.raw_data().len() >= WORTH_MOVING)
    };
    // Shares the tensors' bytes with the model.
    let mut proto = model.proto.clone();
    let data = Pending::write(&data_path, |out| external::detach(&mut proto, location, &choose, out))?;
    let size = proto.encoded_len();
    if size > limit {
        return Err(Error::new("the model is too large for one file even without its large tensors")
            .file(path)
            .expected(format!("at most {limit} bytes"))
            .got(format!("{size} bytes")));
    }
    let main = Pending::write(path, |out| out.write_all(&proto.encode_to_vec()))?;
    let is_new = !data_path.exists();
    data.commit()?;
    main.commit().inspect_err(|_| {
        if is_new {
            // The error that is on its way says more than a failure to tidy up.
            let _ = fs::remove_file(&data_path);
        }
    })
}

/// Refuses what a rename would destroy (a device such as /dev/null) or could not replace.
fn check_target(path: &Path) -> Result<()> {
    let wrong = |what| Err(Error::new(what).file(path).remedy("give the name of a file to write"));
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => wrong("cannot write the model: the path is a folder"),
        Ok(meta) if !meta.is_file() => wrong("cannot write the model: the path is not a regular file"),
        _ if path.file_name().is_none() => wrong("cannot write the model: the path has no file name"),
        _ => Ok(()),
    }
}

/// A complete file under a temporary name; dropping it deletes it.
struct Pending<'a> {
    file: NamedTempFile,
    path: &'a Path,
}

impl<'a> Pending<'a> {
    fn write(
        path: &'a Path,
        content: impl FnOnce(&mut BufWriter<&mut NamedTempFile>) -> io::Result<()>,
    ) -> Result<Self> {
        let fill = || {
            let mut file = temporary(&folder_of(path))?;
            let mut out = BufWriter::new(&mut file);
            content(&mut out)?;
            out.flush()?;
            drop(out);
            file.as_file().sync_all()?;
            Ok(Self { file, path })
        };
        fill().map_err(|e| Error::io("write the model", path, &e))
    }

    fn commit(self) -> Result<()> {
        let renamed = self.file.persist(self.path);
        renamed.map(drop).map_err(|e| Error::io("write the model", self.path, &e.error))
    }
}

/// A temporary file with the permissions that any new file gets, not the private ones of `tempfile`.
fn temporary(folder: &PathBuf) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".secateur-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The system takes the umask off it.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
