//! External data: tensors whose bytes are in files beside the model.
//!
//! New exporters write them by default, and protobuf is limited to 2 GiB. [`attach`] reads them into the message at
//! load, so that no other module handles external tensors; [`detach`] moves tensors out again at save. Models are
//! untrusted: a location outside the model's folder is refused, and every range is checked against the file's size
//! before memory is allocated.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

use super::proto::{DataLocation, ModelProto, StringStringEntryProto, TensorProto};
use super::tensor;
use super::visit::visit_tensors;

/// Tensors of this size or more start at a multiple of [`ALIGNMENT`], so that they can be memory-mapped.
const LARGE: usize = 64 << 10;
const ALIGNMENT: usize = 4096;

/// The external tensors that [`attach`] has read.
#[derive(Default)]
pub(super) struct Attached {
    /// The names of the external tensors.
    pub(super) names: BTreeSet<String>,
    /// The bytes of each tensor, in the order of the model.
    pub(super) contents: Vec<Bytes>,
    /// The total size of the data files.
    pub(super) file_bytes: u64,
    /// The paths of the data files.
    pub(super) files: Vec<PathBuf>,
}

/// A data file with the range that its tensors cover.
struct DataFile {
    path: PathBuf,
    size: u64,
    claimed: Range<u64>,
}

/// The range of a tensor in a data file, given by index.
struct Claim {
    file: usize,
    range: Range<u64>,
}

/// Reads the bytes of every external tensor into the message.
pub(super) fn attach(proto: &mut ModelProto, folder: &Path) -> Result<Attached> {
    let mut files = Files { folder, by_location: HashMap::new(), files: Vec::new() };
    let mut claims = Vec::new();
    visit_tensors(proto, &mut |tensor| {
        if is_external(tensor) {
            claims.push(files.claim(tensor).map_err(|e| e.context(place(tensor)))?);
        }
        Ok(())
    })?;
    // One buffer per file bounds the memory by the size on disk, however many tensors share a range.
    let buffers = files.files.iter().map(DataFile::read).collect::<Result<Vec<Bytes>>>()?;
    let mut attached = Attached {
        file_bytes: files.files.iter().map(|file| file.size).sum(),
        files: files.files.iter().map(|file| file.path.clone()).collect(),
        ..Attached::default()
    };
    let mut claims = claims.into_iter();
    visit_tensors(proto, &mut |tensor| {
        if is_external(tensor)
            && let Some(Claim { file, range }) = claims.next()
        {
            // An empty tensor may have any offset, also outside the range that is read.
            let at = |position: u64| (position - files.files[file].claimed.start) as usize;
            let bytes = match range.is_empty() {
                true => Bytes::new(),
                false => buffers[file].slice(at(range.start)..at(range.end)),
            };
            attached.contents.push(bytes.clone());
            if !tensor.name().is_empty() {
                attached.names.insert(tensor.name().to_owned());
            }
            tensor.raw_data = Some(bytes);
            tensor.external_data.clear();
            tensor.data_location = None;
        }
        Ok(())
    })?;
    Ok(attached)
}

/// Moves the raw data of the tensors selected by `choose` to `out`.
///
/// `location` is the name of this file beside the model, which the messages then refer to.
pub(super) fn detach(
    proto: &mut ModelProto,
    location: &str,
    choose: &dyn Fn(&TensorProto) -> bool,
    out: &mut impl Write,
) -> Result<(), io::Error> {
    let mut end = 0;
    let mut failed = Ok(());
    let visited = visit_tensors(proto, &mut |tensor| {
        if failed.is_err() || !choose(tensor) {
            return Ok(());
        }
        let Some(bytes) = tensor.raw_data.take() else { return Ok(()) };
        let start = if bytes.len() >= LARGE { usize::next_multiple_of(end, ALIGNMENT) } else { end };
        failed = out.write_all(&[0; ALIGNMENT][..start - end]).and_then(|()| out.write_all(&bytes));
        end = start + bytes.len();
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        tensor.external_data = vec![
            entry("location", location.to_owned()),
            entry("offset", start.to_string()),
            entry("length", bytes.len().to_string()),
        ];
        tensor.data_location = Some(DataLocation::External as i32);
        Ok(())
    });
    debug_assert!(visited.is_ok(), "the visitor never fails");
    failed
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location() == DataLocation::External
}

fn place(tensor: &TensorProto) -> String {
    format!("external data of tensor {}", tensor.name())
}

/// The data files of one model, each listed once.
struct Files<'a> {
    folder: &'a Path,
    by_location: HashMap<String, usize>,
    files: Vec<DataFile>,
}

impl Files<'_> {
    /// Returns the range of a tensor, after checking it against the sizes of file and tensor.
    fn claim(&mut self, tensor: &TensorProto) -> Result<Claim> {
        let entry = |key: &str| {
            tensor.external_data.iter().find(|e| e.key() == key).map(StringStringEntryProto::value)
        };
        let number = |key: &str| {
            entry(key).map(str::parse::<u64>).transpose().map_err(|_| {
                Error::new(format!("its {key} is not a number")).got(entry(key).unwrap_or_default())
            })
        };
        let location = entry("location").ok_or_else(|| Error::new("it has no location"))?;
        let index = self.file(location)?;
        let file = &mut self.files[index];

        let start = number("offset")?.unwrap_or(0);
        let rest = file.size.checked_sub(start);
        // Some writers omit the length, or write 0, for the rest of the file.
        let length = number("length")?.filter(|&length| length > 0);
        let wanted = tensor::raw_len(tensor)? as u64;
        let length = if wanted == 0 { 0 } else { length.or(rest).unwrap_or(0) };
        if rest.is_none_or(|rest| rest < length) {
            return Err(Error::new("it reaches beyond the end of the file")
                .file(&file.path)
                .expected(format!("at least {} bytes", u128::from(start) + u128::from(length)))
                .got(format!("{} bytes", file.size))
                .remedy("the file is damaged or belongs to another model: copy it again"));
        }
        if length != wanted {
            return Err(Error::new("its length does not fit its dimensions")
                .file(&file.path)
                .expected(format!("{wanted} bytes"))
                .got(format!("{length} bytes")));
        }
        let range = start..start + length;
        file.claimed = match (file.claimed.is_empty(), range.is_empty()) {
            (true, _) => range.clone(),
            (false, true) => file.claimed.clone(),
            (false, false) => file.claimed.start.min(range.start)..file.claimed.end.max(range.end),
        };
        Ok(Claim { file: index, range })
    }

    /// Returns the index of the file at `location`, which must be in the model's folder.
    fn file(&mut self, location: &str) -> Result<usize> {
        if let Some(&index) = self.by_location.get(location) {
            return Ok(index);
        }
        let outside = || {
            Error::new("its location is outside the model's folder")
                .expected("a relative path inside the model's folder")
                .got(location)
                .remedy("put the data file beside the model, as a file and not as a link")
        };
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(location).components().all(inside) {
            return Err(outside());
        }
        let full = self.folder.join(location);
        let unreadable = |e: io::Error| {
            Error::new("its file cannot be read")
                .with_kind(ErrorKind::Io)
                .file(&full)
                .got(e.to_string())
                .with_source(e)
                .remedy("keep the data file beside the model, under the name that it was written with")
        };
        let folder = self.folder.canonicalize().map_err(unreadable)?;
        let path = full.canonicalize().map_err(unreadable)?;
        if !path.starts_with(&folder) {
            return Err(outside());
        }
        let meta = fs::metadata(&path).map_err(unreadable)?;
        if !meta.is_file() {
            return Err(Error::new("its location is not a file")
                .file(&full)
                .remedy("keep the data file beside the model, under the name that it was written with"));
        }
        let index = self.files.iter().position(|file| file.path == path).unwrap_or_else(|| {
            self.files.push(DataFile { path, size: meta.len(), claimed: 0..0 });
            self.files.len() - 1
        });
        self.by_location.insert(location.to_owned(), index);
        Ok(index)
    }
}

impl DataFile {
    /// Reads the range that tensors cover.
    fn read(&self) -> Result<Bytes> {
        let failed = |e| Error::io("read the model's external data", &self.path, e);
        let length = self.claimed.end - self.claimed.start;
        let mut bytes = Vec::new();
        let reserved = usize::try_from(length).is_ok_and(|length| bytes.try_reserve_exact(length).is_ok());
        if !reserved {
            return Err(failed(io::ErrorKind::OutOfMemory.into()).with_kind(ErrorKind::OutOfMemory));
        }
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.claimed.start)).map_err(failed)?;
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != length {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes.into())
    }
}
