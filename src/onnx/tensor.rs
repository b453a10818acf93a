//! ONNX tensors: validation, decoding, encoding, and removal of slices in the original encoding.
//!
//! A tensor stores elements in `raw_data` (little-endian) or in the field of its type, as a sequence of *units* (bytes,
//! or entries of that field). [`shape`] validates the dimensions against the number of units; all other functions here
//! depend on it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Data, Tensor, show};

use super::proto::{DataLocation, TensorProto};

// The data types of `TensorProto` that `DType` does not have.
const STRING: i32 = 8;
const COMPLEX64: i32 = 14;
const COMPLEX128: i32 = 15;

/// Returns the ONNX name of an element type, for messages.
pub fn type_name(code: i32) -> String {
    const NAMES: &str = "undefined float uint8 int8 uint16 int16 int32 int64 string bool float16 double \
        uint32 uint64 complex64 complex128 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz \
        uint4 int4 float4e2m1 float8e8m0 uint2 int2 float6e2m3 float6e3m2";
    let name = usize::try_from(code).ok().and_then(|code| NAMES.split_ascii_whitespace().nth(code));
    name.map_or_else(|| format!("unknown type {code}"), str::to_owned)
}

/// Returns the bits of an element; `None` for strings and undefined types.
fn bits(code: i32) -> Option<usize> {
    Some(match code {
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | COMPLEX64 => 64,
        COMPLEX128 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        27 | 28 => 6,
        _ => return None,
    })
}

/// The field of a [`TensorProto`] that contains the elements.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    Raw,
    Float,
    Int32,
    Int64,
    Double,
    Uint64,
    String,
}

impl Field {
    fn of(tensor: &TensorProto) -> Self {
        match tensor.data_type() {
            STRING => Self::String,
            _ if tensor.raw_data.is_some() => Self::Raw,
            1 | COMPLEX64 => Self::Float,
            7 => Self::Int64,
            11 | COMPLEX128 => Self::Double,
            12 | 13 => Self::Uint64,
            _ => Self::Int32,
        }
    }

    /// Returns the number of units of a tensor in this field.
    fn units(self, tensor: &TensorProto) -> usize {
        match self {
            Self::Raw => tensor.raw_data().len(),
            Self::Float => tensor.float_data.len(),
            Self::Int32 => tensor.int32_data.len(),
            Self::Int64 => tensor.int64_data.len(),
            Self::Double => tensor.double_data.len(),
            Self::Uint64 => tensor.uint64_data.len(),
            Self::String => tensor.string_data.len(),
        }
    }

    /// Returns the number of units of `elements` elements of type `code`; `None` on overflow.
    fn units_for(self, code: i32, elements: usize) -> Option<usize> {
        let packed = |bits: usize, unit: usize| elements.checked_mul(bits).map(|n| n.div_ceil(unit));
        match (self, bits(code)) {
            (Self::Raw, Some(bits)) => packed(bits, 8),
            (Self::Int32, Some(bits @ (2 | 4))) => packed(bits, 8),
            (Self::Float | Self::Double, Some(_)) if matches!(code, COMPLEX64 | COMPLEX128) => {
                elements.checked_mul(2)
            }
            _ => Some(elements),
        }
    }
}

fn failure(tensor: &TensorProto, what: &str) -> Error {
    let name = if tensor.name().is_empty() { "without a name" } else { tensor.name() };
    Error::new(format!("tensor {name}: {what}")).with_kind(ErrorKind::InvalidModel)
}

/// Returns the dimensions and the number of elements that the message declares.
///
/// # Errors
/// A negative dimension, or a product that overflows.
fn claimed(tensor: &TensorProto) -> Result<(Vec<usize>, usize)> {
    let bad = |what| failure(tensor, what).got(format!("dimensions {:?}", tensor.dims));
    let dims: Vec<usize> = tensor
        .dims
        .iter()
        .map(|&d| usize::try_from(d))
        .collect::<Result<_, _>>()
        .map_err(|_| bad("a dimension is negative or too large"))?;
    // Zeros are skipped, so that a later zero does not hide an overflow.
    let product = dims.iter().filter(|&&d| d != 0).try_fold(1usize, |n, &d| n.checked_mul(d));
    let product = product.ok_or_else(|| bad("it declares more elements than can be addressed"))?;
    let count = if dims.contains(&0) { 0 } else { product };
    Ok((dims, count))
}

/// Returns the bytes of the tensor as raw data, by dimensions and type.
///
/// # Errors
/// Invalid dimensions, and types whose elements have no size (strings).
pub(super) fn raw_len(tensor: &TensorProto) -> Result<usize> {
    let (_, count) = claimed(tensor)?;
    let code = tensor.data_type();
    bits(code)
        .and_then(|_| Field::Raw.units_for(code, count))
        .ok_or_else(|| failure(tensor, "it cannot be stored as bytes").got(type_name(code)))
}

/// Returns the dimensions of a tensor, after checking that the number of elements matches.
///
/// Nothing is allocated before the check.
///
/// # Errors
/// A negative dimension, a product that overflows, another number of elements, an undefined element type, and elements
/// in another file or message.
pub fn shape(tensor: &TensorProto) -> Result<Vec<usize>> {
    let (dims, count) = claimed(tensor)?;
    if tensor.data_location() == DataLocation::External {
        return Err(failure(tensor, "its elements are in another file, which was not read").internal());
    }
    if tensor.segment.is_some() {
        let error = failure(tensor, "tensors split over several messages are not supported");
        return Err(error.with_kind(ErrorKind::Unsupported));
    }
    let (code, field) = (tensor.data_type(), Field::of(tensor));
    let have = field.units(tensor);
    if bits(code).is_none() && code != STRING {
        return Err(failure(tensor, "ONNX does not define its element type").got(type_name(code)));
    }
    let want = field.units_for(code, count);
    if want != Some(have) {
        let unit = if field == Field::Raw { "bytes" } else { "entries" };
        return Err(failure(tensor, "its data does not match its dimensions")
            .expected(want.map_or_else(
                || "a size that can be addressed".to_owned(),
                |want| format!("{want} {unit} for {} of {}", show(&dims), type_name(code)),
            ))
            .got(format!("{have} {unit}")));
    }
    Ok(dims)
}

/// Decodes the elements of a tensor; doubles are rounded to `f32`.
///
/// # Errors
/// The conditions of [`shape`], unsupported element types, and `uint64` elements beyond `i64`.
pub fn decode(tensor: &TensorProto) -> Result<Tensor> {
    let shape = shape(tensor)?;
    let code = tensor.data_type();
    let dtype = DType::from_onnx(code).ok_or_else(|| {
        failure(tensor, "its element type is not supported")
            .with_kind(ErrorKind::Unsupported)
            .got(type_name(code))
            .remedy("convert the tensor to a float or integer type of 4 to 64 bits")
    })?;
    let data = match Field::of(tensor) {
        _ if matches!(dtype, DType::U4 | DType::I4) => {
            let sign = if dtype == DType::I4 { 8 } else { 0 };
            Some(ints(&nibbles(tensor)?, |v| (i64::from(v) ^ sign) - sign))
        }
        Field::Raw => from_raw(dtype, tensor.raw_data()),
        Field::Float => Some(floats(&tensor.float_data, |v| v)),
        Field::Double => Some(floats(&tensor.double_data, |v| v as f32)),
        Field::Int64 => Some(ints(&tensor.int64_data, |v| v)),
        Field::Uint64 => wide(tensor.uint64_data.iter().copied()),
        Field::Int32 => Some(from_int32(dtype, &tensor.int32_data)),
        Field::String => None,
    };
    let data = data.ok_or_else(|| {
        failure(tensor, "an element exceeds the range of int64")
            .with_kind(ErrorKind::Unsupported)
            .remedy("store it as int64 or float")
    })?;
    Ok(Tensor { dtype, shape, data })
}

/// Returns the elements of a tensor of 4-bit integers, the lower half of each byte first.
fn nibbles(tensor: &TensorProto) -> Result<Vec<u8>> {
    let (_, count) = claimed(tensor)?;
    Ok(raw(tensor)?.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(count).collect())
}

/// Packs 4-bit integers, two in a byte.
fn packed(nibbles: &[u8]) -> Bytes {
    let byte = |pair: &[u8]| pair[0] & 15 | pair.get(1).map_or(0, |high| high << 4);
    nibbles.chunks(2).map(byte).collect::<Vec<u8>>().into()
}

fn floats<T: Copy>(units: &[T], value: impl Fn(T) -> f32) -> Data {
    Data::Float(Arc::new(units.iter().map(|&v| value(v)).collect()))
}

fn ints<T: Copy>(units: &[T], value: impl Fn(T) -> i64) -> Data {
    Data::Int(Arc::new(units.iter().map(|&v| value(v)).collect()))
}

fn wide(units: impl Iterator<Item = u64>) -> Option<Data> {
    let values: Option<Vec<i64>> = units.map(|v| i64::try_from(v).ok()).collect();
    values.map(|v| Data::Int(Arc::new(v)))
}

/// Decodes small integers and 16-bit floats, one per `int32` entry, from the low bits as other readers do.
fn from_int32(dtype: DType, units: &[i32]) -> Data {
    match dtype {
        DType::F16 => floats(units, |v| f16::from_bits(v as u16).to_f32()),
        DType::BF16 => floats(units, |v| bf16::from_bits(v as u16).to_f32()),
        DType::U8 => ints(units, |v| i64::from(v as u8)),
        DType::I8 => ints(units, |v| i64::from(v as i8)),
        DType::U16 => ints(units, |v| i64::from(v as u16)),
        DType::I16 => ints(units, |v| i64::from(v as i16)),
        DType::Bool => ints(units, |v| i64::from(v != 0)),
        _ => ints(units, i64::from),
    }
}

fn from_raw(dtype: DType, raw: &[u8]) -> Option<Data> {
    fn each<const N: usize>(raw: &[u8]) -> &[[u8; N]] {
        raw.as_chunks::<N>().0
    }
    Some(match dtype {
        DType::F32 => floats(each(raw), f32::from_le_bytes),
        DType::F64 => floats(each(raw), |b| f64::from_le_bytes(b) as f32),
        DType::F16 => floats(each(raw), |b| f16::from_le_bytes(b).to_f32()),
        DType::BF16 => floats(each(raw), |b| bf16::from_le_bytes(b).to_f32()),
        DType::U8 => ints(raw, i64::from),
        DType::Bool => ints(raw, |b| i64::from(b != 0)),
        DType::I8 => ints(each(raw), |b| i64::from(i8::from_le_bytes(b))),
        DType::U16 => ints(each(raw), |b| i64::from(u16::from_le_bytes(b))),
        DType::I16 => ints(each(raw), |b| i64::from(i16::from_le_bytes(b))),
        DType::U32 => ints(each(raw), |b| i64::from(u32::from_le_bytes(b))),
        DType::I32 => ints(each(raw), |b| i64::from(i32::from_le_bytes(b))),
        DType::I64 => ints(each(raw), i64::from_le_bytes),
        // Two elements share a byte; `decode` unpacks them before it calls this function.
        DType::U4 | DType::I4 => return None,
        DType::U64 => return wide(each(raw).iter().map(|&b| u64::from_le_bytes(b))),
    })
}

/// Returns the elements as raw data, whatever field contains them.
///
/// # Errors
/// The conditions of [`shape`], and tensors of strings.
pub fn raw(tensor: &TensorProto) -> Result<Bytes> {
    fn low<const N: usize>(bytes: impl Iterator<Item = [u8; N]>, size: usize) -> Bytes {
        bytes.flat_map(|unit| unit.into_iter().take(size)).collect::<Vec<u8>>().into()
    }
    shape(tensor)?;
    // A field may have wider units than the elements; elements of less than a byte are packed in units alike.
    let size = bits(tensor.data_type()).map_or(0, |bits| bits.div_ceil(8));
    Ok(match Field::of(tensor) {
        Field::Raw => tensor.raw_data.clone().unwrap_or_default(),
        Field::Float => low(tensor.float_data.iter().map(|x| x.to_le_bytes()), 4),
        Field::Double => low(tensor.double_data.iter().map(|x| x.to_le_bytes()), 8),
        Field::Int32 => low(tensor.int32_data.iter().map(|x| x.to_le_bytes()), size),
        Field::Int64 => low(tensor.int64_data.iter().map(|x| x.to_le_bytes()), size),
        Field::Uint64 => low(tensor.uint64_data.iter().map(|x| x.to_le_bytes()), size),
        Field::String => return Err(failure(tensor, "strings have no size").internal()),
    })
}

/// Encodes a tensor as raw data in its element type.
///
/// Values are rounded to the type; integers beyond its range keep their low bits.
pub fn encode(name: &str, tensor: &Tensor) -> TensorProto {
    fn bytes<T: Copy, const N: usize>(values: &[T], le: impl Fn(T) -> [u8; N]) -> Bytes {
        values.iter().flat_map(|&v| le(v)).collect::<Vec<u8>>().into()
    }
    let raw = match &tensor.data {
        Data::Float(v) => match tensor.dtype {
            DType::F64 => bytes(v, |x| f64::from(x).to_le_bytes()),
            DType::F16 => bytes(v, |x| f16::from_f32(x).to_le_bytes()),
            DType::BF16 => bytes(v, |x| bf16::from_f32(x).to_le_bytes()),
            _ => bytes(v, f32::to_le_bytes),
        },
        Data::Int(v) => match tensor.dtype {
            DType::Bool => bytes(v, |x| [u8::from(x != 0)]),
            DType::U4 | DType::I4 => packed(&v.iter().map(|&x| x as u8).collect::<Vec<u8>>()),
            DType::U8 | DType::I8 => bytes(v, |x| (x as u8).to_le_bytes()),
            DType::U16 | DType::I16 => bytes(v, |x| (x as u16).to_le_bytes()),
            DType::U32 | DType::I32 => bytes(v, |x| (x as u32).to_le_bytes()),
            _ => bytes(v, i64::to_le_bytes),
        },
    };
    TensorProto {
        dims: tensor.shape.iter().map(|&d| d as i64).collect(),
        data_type: Some(tensor.dtype.to_onnx()),
        name: Some(name.to_owned()),
        raw_data: Some(raw),
        ..TensorProto::default()
    }
}

/// Returns a tensor with only the indices whose mask is true.
///
/// `masks[axis]` selects indices of that axis; `None` keeps all. Element type, encoding, name, doc string and metadata
/// are kept.
///
/// # Errors
/// The conditions of [`shape`], masks of the wrong number or length, and element types smaller than a byte but integers of 4 bits.
pub fn keep(tensor: &TensorProto, masks: &[Option<Vec<bool>>]) -> Result<TensorProto> {
    let dims = shape(tensor)?;
    let fits = masks.len() == dims.len()
        && masks.iter().zip(&dims).all(|(mask, &d)| mask.as_ref().is_none_or(|mask| mask.len() == d));
    if !fits {
        let lens: Vec<_> = masks.iter().map(|mask| mask.as_ref().map(Vec::len)).collect();
        return Err(failure(tensor, "the masks do not match its dimensions")
            .internal()
            .expected(show(&dims))
            .got(format!("{lens:?}")));
    }
    let kept = |mask: &Option<Vec<bool>>, d: i64| {
        mask.as_ref().map_or(d, |mask| mask.iter().filter(|&&kept| kept).count() as i64)
    };
    let new_dims: Vec<i64> = masks.iter().zip(&tensor.dims).map(|(mask, &d)| kept(mask, d)).collect();
    let mut cut = edit(tensor, &Keep { dims: &dims, masks })?;
    cut.dims = new_dims;
    Ok(cut)
}

/// Returns a tensor with every slice along `axis` whose mask is true set to zero.
///
/// # Errors
/// The conditions of [`shape`], an axis or mask of the wrong length, and element types smaller than a byte but integers of 4 bits.
pub fn zero(tensor: &TensorProto, axis: usize, mask: &[bool]) -> Result<TensorProto> {
    let dims = shape(tensor)?;
    if dims.get(axis) != Some(&mask.len()) {
        return Err(failure(tensor, "the mask does not match its dimensions")
            .internal()
            .expected(show(&dims))
            .got(format!("{} on axis {axis}", mask.len())));
    }
    let mut masks = vec![None; dims.len()];
    masks[axis] = Some(mask.to_vec());
    edit(tensor, &Zero(Keep { dims: &dims, masks: &masks }))
}

/// A change of the elements of a tensor, independent of the field that contains them.
trait TensorEdit {
    /// Returns the new units; an element has `per` units.
    fn apply<T: Clone + Default>(&self, units: &[T], per: usize) -> Vec<T>;
}

fn edit(tensor: &TensorProto, change: &impl TensorEdit) -> Result<TensorProto> {
    let (code, field) = (tensor.data_type(), Field::of(tensor));
    let bits = bits(code).unwrap_or(8);
    if matches!(code, 21 | 22) {
        let (raw_data, int32_data) = (Some(packed(&change.apply(&nibbles(tensor)?, 1))), vec![]);
        return Ok(TensorProto { raw_data, int32_data, ..tensor.clone() });
    }
    if bits < 8 {
        return Err(failure(tensor, "elements smaller than a byte cannot be removed")
            .with_kind(ErrorKind::Unsupported)
            .got(type_name(code)));
    }
    let per = match field {
        Field::Raw => bits / 8,
        _ if matches!(code, COMPLEX64 | COMPLEX128) => 2,
        _ => 1,
    };
    let mut new = tensor.clone();
    match field {
        Field::Raw => new.raw_data = Some(change.apply(tensor.raw_data(), per).into()),
        Field::Float => new.float_data = change.apply(&tensor.float_data, per),
        Field::Int32 => new.int32_data = change.apply(&tensor.int32_data, per),
        Field::Int64 => new.int64_data = change.apply(&tensor.int64_data, per),
        Field::Double => new.double_data = change.apply(&tensor.double_data, per),
        Field::Uint64 => new.uint64_data = change.apply(&tensor.uint64_data, per),
        Field::String => new.string_data = change.apply(&tensor.string_data, per),
    }
    Ok(new)
}

struct Keep<'a> {
    dims: &'a [usize],
    masks: &'a [Option<Vec<bool>>],
}

impl TensorEdit for Keep<'_> {
    fn apply<T: Clone + Default>(&self, units: &[T], per: usize) -> Vec<T> {
        // Exact capacity, because the largest tensor may be most of the network.
        let left = self
            .dims
            .iter()
            .zip(self.masks)
            .map(|(&d, mask)| mask.as_ref().map_or(d, |mask| mask.iter().filter(|&&kept| kept).count()));
        let mut kept = Vec::with_capacity(left.product::<usize>() * per);
        selected(self.dims, self.masks, 0, &mut |run| {
            kept.extend_from_slice(&units[run.start * per..run.end * per]);
        });
        kept
    }
}

/// Zeroes the elements that the inner [`Keep`] selects.
struct Zero<'a>(Keep<'a>);

impl TensorEdit for Zero<'_> {
    fn apply<T: Clone + Default>(&self, units: &[T], per: usize) -> Vec<T> {
        let mut new = units.to_vec();
        selected(self.0.dims, self.0.masks, 0, &mut |run| {
            new[run.start * per..run.end * per].fill(T::default());
        });
        new
    }
}

/// Calls `take` with the ranges of element indices that the masks select, in order.
///
/// The dimensions are validated, so that no index overflows or exceeds the tensor.
fn selected(dims: &[usize], masks: &[Option<Vec<bool>>], start: usize, take: &mut impl FnMut(Range<usize>)) {
    let size: usize = dims.iter().product();
    let ([_, inner @ ..], [mask, inner_masks @ ..]) = (dims, masks) else {
        return take(start..start + 1);
    };
    if masks.iter().all(Option::is_none) || size == 0 {
        return take(start..start + size);
    }
    let step: usize = inner.iter().product();
    for index in 0..dims[0] {
        if mask.as_ref().is_none_or(|mask| mask[index]) {
            selected(inner, inner_masks, start + index * step, take);
        }
    }
}
