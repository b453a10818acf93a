//! NumPy arrays, in `.npy` files and as members of archives.
//!
//! The length in an array's header is checked against that of the file or archive before a byte is allocated, so a
//! damaged or hostile file causes an error and takes no memory. Arrays in `.npy` files in C order stay on disk and are
//! read piece by piece.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;

use crate::error::{Error, ErrorKind, Result};
use crate::file::Pending;
use crate::tensor::{DType, Data, Tensor, elements, show, strides};

/// The best compression ratio of deflate; archives that claim more are invalid.
const BEST_DEFLATE: u64 = 1032;
/// The longest header accepted, in bytes; NumPy itself stops at 10,000.
const LONGEST_HEADER: usize = 1 << 16;

/// The type of an array's elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Element {
    pub(super) kind: Kind,
    /// Bytes of one element.
    pub(super) size: usize,
    big_endian: bool,
}

/// The numeric kind of an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Bool,
    Int,
    Uint,
    Float,
}

impl Element {
    pub(super) const U8: Self = Self { kind: Kind::Uint, size: 1, big_endian: false };

    /// Parses NumPy's notation of byte order, kind and size, such as `<f4`.
    fn parse(descr: &str) -> Option<Self> {
        let mut chars = descr.chars();
        let big_endian = match chars.next()? {
            '<' | '|' => false,
            '>' => true,
            '=' => cfg!(target_endian = "big"),
            _ => return None,
        };
        let kind = match chars.next()? {
            'b' => Kind::Bool,
            'i' => Kind::Int,
            'u' => Kind::Uint,
            'f' => Kind::Float,
            _ => return None,
        };
        let size = chars.as_str().parse().ok()?;
        let known = match kind {
            Kind::Bool => size == 1,
            Kind::Int | Kind::Uint => matches!(size, 1 | 2 | 4 | 8),
            Kind::Float => matches!(size, 2 | 4 | 8),
        };
        known.then_some(Self { kind, size, big_endian })
    }

    pub(super) fn name(self) -> String {
        match self.kind {
            Kind::Bool => "bool".to_owned(),
            Kind::Int => format!("i{}", 8 * self.size),
            Kind::Uint => format!("u{}", 8 * self.size),
            Kind::Float => format!("f{}", 8 * self.size),
        }
    }

    pub(super) fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        let big = self.big_endian;
        match (self.kind, self.size) {
            (Kind::Float, 2) => each(bytes, big, |b| f16::from_le_bytes(b).to_f32()),
            (Kind::Float, 4) => each(bytes, big, f32::from_le_bytes),
            (Kind::Float, _) => each(bytes, big, |b| f64::from_le_bytes(b) as f32),
            (Kind::Uint, 8) => each(bytes, big, |b| u64::from_le_bytes(b) as f32),
            _ => self.to_i64(bytes).into_iter().map(|v| v as f32).collect(),
        }
    }

    /// Converts elements to integers; floats are truncated, and callers exclude them.
    pub(super) fn to_i64(self, bytes: &[u8]) -> Vec<i64> {
        let big = self.big_endian;
        match (self.kind, self.size) {
            (Kind::Bool, _) => bytes.iter().map(|&b| i64::from(b != 0)).collect(),
            (Kind::Int, 1) => each(bytes, big, |b| i8::from_le_bytes(b).into()),
            (Kind::Int, 2) => each(bytes, big, |b| i16::from_le_bytes(b).into()),
            (Kind::Int, 4) => each(bytes, big, |b| i32::from_le_bytes(b).into()),
            (Kind::Int, _) => each(bytes, big, i64::from_le_bytes),
            (Kind::Uint, 1) => each(bytes, big, |b| u8::from_le_bytes(b).into()),
            (Kind::Uint, 2) => each(bytes, big, |b| u16::from_le_bytes(b).into()),
            (Kind::Uint, 4) => each(bytes, big, |b| u32::from_le_bytes(b).into()),
            (Kind::Uint, _) => each(bytes, big, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)),
            (Kind::Float, _) => self.to_f32(bytes).into_iter().map(|v| v as i64).collect(),
        }
    }
}

/// Returns the error for an array whose elements are no numbers.
fn unsupported(descr: &str) -> Error {
    Error::new("an array of an unsupported type")
        .expected("bool, integers or floats")
        .got(descr)
        .remedy("convert it with astype('float32') or astype('uint8')")
}

fn each<const N: usize, T>(bytes: &[u8], big_endian: bool, value: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks
        .iter()
        .map(|&chunk| {
            let mut chunk = chunk;
            if big_endian {
                chunk.reverse();
            }
            value(chunk)
        })
        .collect()
}

/// A reader of an array that a caller holds, by rows: its entries along the first axis.
pub trait RowReader: std::fmt::Debug + Send + Sync {
    /// Returns the elements of some rows as bytes, row-major.
    ///
    /// # Errors
    /// Rows that cannot be read.
    fn rows(&self, range: Range<usize>) -> Result<Vec<u8>>;
}

/// A row-major array whose length matches its header.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    store: Store,
}

#[derive(Debug, Clone)]
enum Store {
    Memory(Arc<Vec<u8>>),
    Disk { path: PathBuf, offset: u64 },
    Reader(Arc<dyn RowReader>),
}

impl Array {
    /// Creates an array whose rows a caller reads; `descr` is its type in NumPy's notation.
    pub(super) fn read_by(descr: &str, shape: Vec<usize>, reader: Arc<dyn RowReader>) -> Result<Self> {
        let element = Element::parse(descr).ok_or_else(|| unsupported(descr))?;
        Ok(Self { element, shape, store: Store::Reader(reader) })
    }

    /// Creates an array in memory; `descr` is its type in NumPy's notation.
    pub(super) fn of_bytes(descr: &str, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self> {
        let element = Element::parse(descr).ok_or_else(|| unsupported(descr))?;
        let got = format!("{} bytes", bytes.len());
        Self::new(element, shape.clone(), bytes).ok_or_else(|| {
            Error::new("an array that does not fill its shape")
                .expected(format!("{} of {}", show(&shape), element.name()))
                .got(got)
                .internal()
        })
    }

    /// Creates an array in memory; `None` if the bytes do not fill the shape.
    pub(super) fn new(element: Element, shape: Vec<usize>, bytes: Vec<u8>) -> Option<Self> {
        let expected = elements(&shape)?.checked_mul(element.size)?;
        (expected == bytes.len()).then(|| Self { element, shape, store: Store::Memory(Arc::new(bytes)) })
    }

    /// Returns the bytes of the entries `range` along the first axis.
    pub(super) fn rows(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>> {
        let row = self.shape.iter().skip(1).product::<usize>() * self.element.size;
        let bytes = range.start * row..range.end * row;
        match &self.store {
            Store::Memory(all) => Ok(Cow::Borrowed(&all[bytes])),
            Store::Disk { path, offset } => {
                let read = || -> std::io::Result<Vec<u8>> {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(offset + bytes.start as u64))?;
                    let mut buffer = vec![0; bytes.len()];
                    file.read_exact(&mut buffer)?;
                    Ok(buffer)
                };
                read().map(Cow::Owned).map_err(|e| Error::io("read the array", path, e))
            }
            Store::Reader(reader) => {
                let read = reader.rows(range.clone())?;
                if read.len() != bytes.len() {
                    return Err(Error::new("the rows of an array do not have its shape")
                        .expected(format!("{} bytes for {} rows", bytes.len(), range.len()))
                        .got(read.len().to_string())
                        .remedy("leave the array as it is while it is used"));
                }
                Ok(Cow::Owned(read))
            }
        }
    }

    fn whole(&self) -> Result<Cow<'_, [u8]>> {
        // A scalar has one row.
        self.rows(0..self.shape.first().copied().unwrap_or(1))
    }

    /// Returns whether the array may be one of images: N×H×W or N×C×H×W, with N from 1.
    pub(super) fn is_of_images(&self) -> bool {
        matches!(self.shape[..], [images, _, _] | [images, _, _, _] if images > 0)
    }

    /// Returns the elements as class indices: integers, or rows with a single 1.
    ///
    /// # Errors
    /// Floats that are not whole, and several labels in a row.
    pub(super) fn class_indices(&self) -> Result<Vec<i64>> {
        let bytes = self.whole()?;
        let mut values = self.element.to_i64(&bytes);
        if self.element.kind == Kind::Float && !self.is_whole()? {
            return Err(Error::new("the labels are not integers")
                .got(self.element.name())
                .remedy("convert them with astype('int64')"));
        }
        let columns: usize = self.shape.iter().skip(1).product();
        if columns > 1 {
            let one_hot = |row: &[i64]| {
                let ones = row.iter().filter(|&&v| v == 1).count();
                let zeros = row.iter().filter(|&&v| v == 0).count();
                row.iter().position(|&v| v == 1).filter(|_| ones == 1 && zeros + 1 == row.len())
            };
            let classes = values.chunks_exact(columns).map(|row| one_hot(row).map(|class| class as i64));
            values = classes.collect::<Option<_>>().ok_or_else(|| {
                Error::new("several labels for an image")
                    .expected("N class indices, or N×classes with a single 1 in each row")
                    .got(show(&self.shape))
                    .remedy("save one class index for each image")
            })?;
        }
        Ok(values)
    }

    /// Returns whether all elements are whole numbers.
    pub(super) fn is_whole(&self) -> Result<bool> {
        let whole = |values: Vec<f32>| values.iter().all(|v| v.fract() == 0.0);
        Ok(self.element.kind != Kind::Float || whole(self.element.to_f32(&self.whole()?)))
    }
}

/// The header of an array in a file or archive.
pub(super) struct NpyHeader {
    element: Element,
    column_major: bool,
    shape: Vec<usize>,
    /// Number of bytes before the first element.
    offset: u64,
    /// Number of bytes of all elements.
    payload: u64,
}

impl NpyHeader {
    pub(super) fn read(reader: &mut impl Read) -> Result<Self> {
        let broken =
            |what: &str| Error::new(format!("not a NumPy array: {what}")).remedy("write it with numpy.save");
        let mut start = [0; 8];
        reader.read_exact(&mut start).map_err(|_| broken("the file is too short"))?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(broken("it does not start with \\x93NUMPY"));
        }
        let wide = start[6] >= 2;
        let mut length = [0; 4];
        reader
            .read_exact(&mut length[..if wide { 4 } else { 2 }])
            .map_err(|_| broken("the file ends in the header"))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST_HEADER {
            return Err(broken("its header is too long"));
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(|_| broken("the file ends in the header"))?;
        let text = String::from_utf8_lossy(&text);
        let fields = Self::fields(&text).ok_or_else(|| broken("its header cannot be read"));
        let (descr, column_major, shape) = fields?;
        let element = Element::parse(descr).ok_or_else(|| unsupported(descr))?;
        let payload = elements(&shape)
            .and_then(|n| n.checked_mul(element.size))
            .ok_or_else(|| broken("its shape is larger than memory can be"))? as u64;
        let offset = (if wide { 12 } else { 10 }) + length as u64;
        Ok(Self { element, column_major, shape, offset, payload })
    }

    /// Extracts the three fields of the header's Python dictionary: type, order and shape.
    fn fields(text: &str) -> Option<(&str, bool, Vec<usize>)> {
        let after = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}'"))?;
            rest.trim_start().strip_prefix(':').map(str::trim_start)
        };
        let descr = after("descr")?;
        let descr = match descr.strip_prefix('\'') {
            Some(quoted) => quoted.split('\'').next()?,
            None => descr.split(']').next()?, // a structured type, which `Element` rejects
        };
        let column_major = match after("fortran_order")? {
            t if t.starts_with("True") => true,
            t if t.starts_with("False") => false,
            _ => return None,
        };
        let (shape, _) = after("shape")?.strip_prefix('(')?.split_once(')')?;
        let shape = shape.split(',').map(str::trim).filter(|d| !d.is_empty());
        let shape = shape.map(|d| d.trim_end_matches('L').parse().ok()).collect::<Option<Vec<usize>>>()?;
        Some((descr, column_major, shape))
    }

    pub(super) fn check_length(&self, actual: u64) -> Result<()> {
        let expected = self.offset + self.payload;
        if actual == expected {
            return Ok(());
        }
        Err(Error::new(format!("the array's length does not match its header's {}", show(&self.shape)))
            .expected(format!("{expected} bytes"))
            .got(format!("{actual} bytes"))
            .remedy("the file is damaged or was cut short; write or download it again"))
    }

    /// Reads the elements into row-major order.
    pub(super) fn load(self, reader: &mut impl Read, doing: &str, path: &Path) -> Result<Array> {
        let bytes = read_exactly(reader, self.payload, doing, path)?;
        let bytes = if self.column_major { row_major(&bytes, &self.shape, self.element.size) } else { bytes };
        let array = Array::new(self.element, self.shape, bytes);
        array.ok_or_else(|| Error::new("an array that does not fill its shape").file(path).internal())
    }
}

/// Reads exactly `length` bytes; callers have checked that the source can hold them.
pub(super) fn read_exactly(reader: &mut impl Read, length: u64, doing: &str, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let room = usize::try_from(length).ok().is_some_and(|n| bytes.try_reserve_exact(n).is_ok());
    if !room {
        return Err(Error::new(format!("no memory for an array of {length} bytes"))
            .with_kind(ErrorKind::OutOfMemory)
            .file(path)
            .remedy("save it as .npy in C order, which is read piece by piece"));
    }
    // One byte more than expected: gzip and zip verify their checksums only at the end.
    let read = reader.take(length + 1).read_to_end(&mut bytes).map_err(|e| Error::io(doing, path, e))?;
    if read as u64 != length {
        let got = if read as u64 > length { "more".to_owned() } else { format!("{read} bytes") };
        return Err(Error::new(format!("cannot {doing}: its length does not match its header"))
            .file(path)
            .expected(format!("{length} bytes"))
            .got(got)
            .remedy("the file is damaged or was cut short; write or download it again"));
    }
    Ok(bytes)
}

/// Returns whether `packed` bytes of deflate can hold `unpacked` bytes, with room for the container.
pub(super) fn plausible(packed: u64, unpacked: u64) -> bool {
    unpacked <= packed.saturating_mul(BEST_DEFLATE).saturating_add(1024)
}

fn row_major(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let from: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &d| {
            let this = *stride;
            *stride *= d;
            Some(this)
        })
        .collect();
    let to = strides(shape);
    let mut out = Vec::with_capacity(bytes.len());
    for index in 0..bytes.len() / size {
        let mut rest = index;
        let mut at = 0;
        for (&stride, &step) in to.iter().zip(&from) {
            at += rest / stride as usize * step;
            rest %= stride as usize;
        }
        out.extend_from_slice(&bytes[at * size..(at + 1) * size]);
    }
    out
}

/// Opens a `.npy` file, which stays on disk if it is in C order.
pub(super) fn open_npy(path: &Path) -> Result<Array> {
    let file = File::open(path).map_err(|e| Error::io("open the array", path, e))?;
    let actual = file.metadata().map_err(|e| Error::io("open the array", path, e))?.len();
    let mut reader = BufReader::new(file);
    let header = NpyHeader::read(&mut reader).map_err(|e| e.file(path))?;
    header.check_length(actual).map_err(|e| e.file(path))?;
    if header.column_major {
        return header.load(&mut reader, "read the array", path);
    }
    let store = Store::Disk { path: path.to_path_buf(), offset: header.offset };
    Ok(Array { element: header.element, shape: header.shape, store })
}

/// Reads a `.npy` file of any numeric type, in C or Fortran order.
///
/// Returns the shape, and the elements in row-major order, rounded to `f32`.
///
/// # Errors
/// A file that cannot be read, is not a NumPy array, or is not as long as its header says.
pub fn read_npy_f32(path: impl AsRef<Path>) -> Result<(Vec<usize>, Vec<f32>)> {
    let array = open_npy(path.as_ref())?;
    let data = array.element.to_f32(&array.whole()?);
    Ok((array.shape, data))
}

/// Writes row-major `data` of a shape as a `.npy` file of `f32`.
///
/// The file appears whole or not at all.
///
/// # Errors
/// Data that does not fill the shape, and a file that cannot be written.
pub fn write_npy_f32(path: impl AsRef<Path>, shape: &[usize], data: &[f32]) -> Result<()> {
    let bytes = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    write_npy_bytes(path.as_ref(), "<f4", shape, (data.len(), bytes))
}

/// Writes a tensor as a `.npy` file of its own type, or of `f32` for bfloat16, which NumPy lacks.
///
/// The file appears whole or not at all.
///
/// # Errors
/// A file that cannot be written.
pub fn write_npy(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let bytes = match &tensor.data {
        Data::Float(v) => match tensor.dtype {
            DType::F16 => v.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            DType::F64 => v.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
            _ => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        },
        // Narrow integers are the low bytes of wide ones.
        Data::Int(v) => {
            let size = tensor.dtype.size();
            v.iter().flat_map(|x| x.to_le_bytes().into_iter().take(size)).collect()
        }
    };
    let kind = match tensor.dtype {
        DType::F16 => "<f2",
        DType::F32 | DType::BF16 => "<f4",
        DType::F64 => "<f8",
        DType::Bool => "|b1",
        DType::U8 | DType::U4 => "|u1",
        DType::I8 | DType::I4 => "|i1",
        DType::U16 => "<u2",
        DType::I16 => "<i2",
        DType::U32 => "<u4",
        DType::I32 => "<i4",
        DType::U64 => "<u8",
        DType::I64 => "<i8",
    };
    write_npy_bytes(path.as_ref(), kind, &tensor.shape, (tensor.len(), bytes))
}

fn write_npy_bytes(path: &Path, kind: &str, shape: &[usize], (count, data): (usize, Vec<u8>)) -> Result<()> {
    if elements(shape) != Some(count) {
        return Err(Error::new("an array that does not fill its shape")
            .file(path)
            .expected(show(shape))
            .got(format!("{count} elements")));
    }
    let dims: String = shape.iter().map(|d| format!("{d}, ")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({dims}), }}");
    // The elements start at a multiple of 64 bytes: 10 bytes precede the text, and a line feed follows.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let length = u16::try_from(header.len())
        .map_err(|_| Error::new("an array of too many dimensions").with_kind(ErrorKind::Unsupported))?;
    let pending = Pending::write(path, "write the array", |out| {
        out.write_all(b"\x93NUMPY\x01\x00")?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        out.write_all(&data)
    })?;
    pending.commit()
}
