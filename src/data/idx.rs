//! The idx file format of MNIST, plain or gzipped.
//!
//! A file has two zero bytes, the element type, the number of dimensions, the dimensions as big-endian `u32`, and the
//! elements.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::arrays::{Array, Element, plausible, read_exactly};
use crate::error::{Error, Result};
use crate::tensor::{elements, show};

const REMEDY: &str = "give an idx file of u8, such as t10k-images-idx3-ubyte.gz";

/// Opens an idx file of unsigned bytes.
pub(super) fn open(path: &Path) -> Result<Array> {
    let io = |e: std::io::Error| Error::io("read the idx file", path, e);
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut reader = BufReader::new(file);
    let gzipped = std::io::BufRead::fill_buf(&mut reader).map_err(io)?.starts_with(&[0x1f, 0x8b]);
    if gzipped {
        read(&mut GzDecoder::new(reader), path, |size| plausible(length, size))
    } else {
        read(&mut reader, path, |size| size == length)
    }
}

/// Reads an array; `possible` returns whether the source can hold a number of bytes, header included.
fn read(reader: &mut impl Read, path: &Path, possible: impl Fn(u64) -> bool) -> Result<Array> {
    let short = |_| Error::new("the idx file ends in its header").file(path).remedy(REMEDY);
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(short)?;
    let [0, 0, kind, dims] = magic else {
        return Err(Error::new("not an idx file").file(path).remedy(REMEDY));
    };
    if kind != 8 {
        let got = format!("element type 0x{kind:02x}");
        return Err(Error::new("an idx file of an unsupported type")
            .file(path)
            .expected("0x08")
            .got(got)
            .remedy(REMEDY));
    }
    let mut shape = Vec::new();
    for _ in 0..dims {
        let mut dim = [0; 4];
        reader.read_exact(&mut dim).map_err(short)?;
        shape.push(u32::from_be_bytes(dim) as usize);
    }
    let header = 4 + 4 * u64::from(dims);
    let payload = elements(&shape).map(|n| n as u64).filter(|&n| possible(n.saturating_add(header)));
    let claim = format!("the idx header's {}", show(&shape));
    let payload = payload.ok_or_else(|| {
        Error::new(format!("{claim} does not match the file's length"))
            .file(path)
            .remedy("the file is damaged or was cut short; download it again")
    })?;
    let bytes = read_exactly(reader, payload, "read the idx file", path)?;
    Array::new(Element::U8, shape, bytes).ok_or_else(|| Error::new(claim).file(path).internal())
}

/// Returns whether the file's name is one of idx images.
pub(super) fn is_images(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.contains("-images") && name.contains("idx")
}

/// Finds the file of labels beside one of images: `images` becomes `labels`, and `idx3` becomes `idx1`.
pub(super) fn labels_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels).to_owned();
    let candidates = [labels, format!("{plain}.gz"), plain];
    candidates.iter().filter(|c| c.as_str() != name).map(|c| path.with_file_name(c)).find(|p| p.is_file())
}
