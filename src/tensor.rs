//! Host tensors: element types, shapes and values as the engine computes with them.
//!
//! The engine computes in `f32` (every float type) and `i64` (every integer type and bool). The
//! [`DType`] remembers what the file said, so that values go back in their own type.

use std::sync::Arc;

use crate::error::{Error, Result};

/// The element type of a value, with ONNX's numbering.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    U16 = 4,
    I16 = 5,
    I32 = 6,
    I64 = 7,
    Bool = 9,
    F16 = 10,
    F64 = 11,
    U32 = 12,
    U64 = 13,
    BF16 = 16,
}

impl DType {
    /// From ONNX's `TensorProto.DataType`; `None` for types that the engine does not know.
    pub fn from_onnx(code: i32) -> Option<Self> {
        use DType::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
        [F32, U8, I8, U16, I16, I32, I64, Bool, F16, F64, U32, U64, BF16]
            .into_iter()
            .find(|d| *d as i32 == code)
    }

    /// ONNX's number for it.
    pub fn to_onnx(self) -> i32 {
        self as i32
    }

    /// Bytes of one element in a file.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Whether it is a floating-point type, which the engine computes in `f32`.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::F64 | Self::BF16)
    }
}

/// What a device keeps numbers as, whatever the file said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits: eleven binary digits, up to 65,504.
    F16,
}

impl Precision {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// WGSL's name of it, and people's.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// The elements of a tensor, shared.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Every float type.
    Float(Arc<Vec<f32>>),
    /// Every integer type, and bool as 0 and 1.
    Int(Arc<Vec<i64>>),
}

/// A tensor on the host: row-major elements, cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// What the file calls its elements.
    pub dtype: DType,
    /// Its dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its elements, `shape.iter().product()` of them.
    pub data: Data,
}

impl Tensor {
    /// A float tensor. Panics when the length does not fit the shape: that is the caller's bug.
    pub fn float(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "tensor length and shape {shape:?}");
        Self { dtype: DType::F32, shape: shape.to_vec(), data: Data::Float(Arc::new(data)) }
    }

    /// An `int64` tensor. Panics when the length does not fit the shape: that is the caller's bug.
    pub fn int(shape: &[usize], data: Vec<i64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "tensor length and shape {shape:?}");
        Self { dtype: DType::I64, shape: shape.to_vec(), data: Data::Int(Arc::new(data)) }
    }

    /// From `f64` elements, rounded to what `dtype` computes in.
    pub fn from_f64(dtype: DType, shape: &[usize], data: &[f64]) -> Self {
        let mut tensor = if dtype.is_float() {
            Self::float(shape, data.iter().map(|&v| v as f32).collect())
        } else {
            Self::int(shape, data.iter().map(|&v| v as i64).collect())
        };
        tensor.dtype = dtype;
        tensor
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every element as `f64` (exact for floats, and for integers up to 2^53).
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::Float(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::Int(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }

    /// The elements as floats, or an error that says what came.
    pub fn floats(&self) -> Result<&Arc<Vec<f32>>> {
        match &self.data {
            Data::Float(v) => Ok(v),
            Data::Int(_) => Err(Error::new("a tensor of the wrong type")
                .expected("floats")
                .got(format!("{:?}", self.dtype))
                .invalid_model()),
        }
    }

    /// The elements as integers, or an error that says what came.
    pub fn ints(&self) -> Result<&Arc<Vec<i64>>> {
        match &self.data {
            Data::Int(v) => Ok(v),
            Data::Float(_) => Err(Error::new("a tensor of the wrong type")
                .expected("integers")
                .got(format!("{:?}", self.dtype))
                .invalid_model()),
        }
    }
}

/// The number of elements of a shape, or `None` where it overflows.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// Row-major strides of a shape.
pub fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1] as isize;
    }
    strides
}

/// `1×3×32×32`: a shape as people write it.
pub fn show(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}
