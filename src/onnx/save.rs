//! Atomic writing of a model: first the data file, then the model that refers to it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;

use crate::error::{Error, ErrorKind, Result};
use crate::file::{Pending, folder_of, write_whole};

use super::proto::TensorProto;
use super::{Model, external};

/// The largest message: 2 GiB, the limit of protobuf, less a margin for strict readers.
pub(super) const PROTOBUF_LIMIT: usize = (2 << 30) - (1 << 20);
/// The smallest tensor that is moved out of a model beyond the limit, in bytes.
const WORTH_MOVING: usize = 1 << 10;
const DOING: &str = "write the model";

/// Returns whether some tensors are written to a data file.
pub(super) fn needs_data(model: &Model, limit: usize) -> bool {
    !model.external.is_empty() || model.proto.encoded_len() > limit
}

/// Returns the name of the data file as the model refers to it, and the path.
pub(super) fn data_file(path: &Path) -> Result<(String, PathBuf)> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".data");
    let location = name.into_string().map_err(|_| {
        Error::new("a model with external data needs a file name in Unicode")
            .file(path)
            .remedy("choose such a name")
    })?;
    let path = folder_of(path).join(&location);
    Ok((location, path))
}

/// Writes the model to `path`, with external data if it had any or if the message exceeds `limit` bytes.
pub(super) fn save(model: &Model, path: &Path, limit: usize) -> Result<()> {
    if !needs_data(model, limit) {
        return write_whole(path, DOING, &model.proto.encode_to_vec());
    }
    let over = model.proto.encoded_len() > limit;
    let (location, data_path) = data_file(path)?;
    let choose = |tensor: &TensorProto| {
        model.external.contains(tensor.name()) || (over && tensor.raw_data().len() >= WORTH_MOVING)
    };
    // The clone shares the bytes of tensors with the model.
    let mut proto = model.proto.clone();
    let data =
        Pending::write(&data_path, DOING, |out| external::detach(&mut proto, &location, &choose, out))?;
    let size = proto.encoded_len();
    if size > limit {
        return Err(Error::new("the model is too large for one file even without its large tensors")
            .with_kind(ErrorKind::Unsupported)
            .file(path)
            .expected(format!("at most {limit} bytes"))
            .got(format!("{size} bytes"))
            .remedy("store its large constants as initializers"));
    }
    let main = Pending::write(path, DOING, |out| out.write_all(&proto.encode_to_vec()))?;
    let is_new = !data_path.exists();
    data.commit()?;
    main.commit().inspect_err(|_| {
        if is_new {
            // A failed cleanup must not replace the original error.
            let _ = fs::remove_file(&data_path);
        }
    })
}
