//! Host tensors: element types, shapes and elements.
//!
//! The engine computes in `f32` for all float types, and in `i64` for all integer types and bool. [`DType`] records the
//! type in the file, in which values are written back.

use std::sync::Arc;

use crate::error::{Error, Result};

/// The element type of a value, with the numbering of ONNX.
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
    U4 = 21,
    I4 = 22,
}

impl DType {
    /// Returns the type of a `TensorProto.DataType` of ONNX; `None` if it is unsupported.
    pub fn from_onnx(code: i32) -> Option<Self> {
        use DType::{BF16, Bool, F16, F32, F64, I4, I8, I16, I32, I64, U4, U8, U16, U32, U64};
        [F32, U8, I8, U16, I16, I32, I64, Bool, F16, F64, U32, U64, BF16, U4, I4]
            .into_iter()
            .find(|d| *d as i32 == code)
    }

    /// Returns the `TensorProto.DataType` of ONNX.
    pub fn to_onnx(self) -> i32 {
        self as i32
    }

    /// Returns the bytes of one element alone; a file has two elements of 4 bits in a byte.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool | Self::U4 | Self::I4 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Returns whether the type is a floating-point type, which the engine computes in `f32`.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::F64 | Self::BF16)
    }
}

/// The precision in which a device stores values between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Precision {
    /// Single precision, 32 bits.
    #[default]
    F32,
    /// Half precision, 16 bits: eleven binary digits, up to 65,504.
    F16,
}

impl Precision {
    /// Returns the bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Returns the name, which is also that of the WGSL type.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

/// The elements of a tensor, with shared ownership.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Elements of any float type.
    Float(Arc<Vec<f32>>),
    /// Elements of any integer type, and booleans as 0 and 1.
    Int(Arc<Vec<i64>>),
}

/// A tensor on the host with row-major elements, which is cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The element type in the file.
    pub dtype: DType,
    /// The dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, whose number is the product of the dimensions.
    pub data: Data,
}

impl Tensor {
    /// Creates a tensor of `f32` elements.
    ///
    /// # Panics
    /// If the number of elements does not match the shape.
    pub fn float(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "tensor length and shape {shape:?}");
        Self { dtype: DType::F32, shape: shape.to_vec(), data: Data::Float(Arc::new(data)) }
    }

    /// Creates a tensor of `int64` elements.
    ///
    /// # Panics
    /// If the number of elements does not match the shape.
    pub fn int(shape: &[usize], data: Vec<i64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "tensor length and shape {shape:?}");
        Self { dtype: DType::I64, shape: shape.to_vec(), data: Data::Int(Arc::new(data)) }
    }

    /// Creates a tensor from `f64` elements, converted to `f32` or `i64` depending on `dtype`.
    ///
    /// # Panics
    /// If the number of elements does not match the shape.
    pub fn from_f64(dtype: DType, shape: &[usize], data: &[f64]) -> Self {
        let mut tensor = if dtype.is_float() {
            Self::float(shape, data.iter().map(|&v| v as f32).collect())
        } else {
            Self::int(shape, data.iter().map(|&v| v as i64).collect())
        };
        tensor.dtype = dtype;
        tensor
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }

    /// Returns whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements as `f64`, exact for floats and for integers up to 2^53.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::Float(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::Int(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }

    /// Returns the elements of a float tensor.
    ///
    /// # Errors
    /// A tensor of integers.
    pub fn floats(&self) -> Result<&Arc<Vec<f32>>> {
        match &self.data {
            Data::Float(v) => Ok(v),
            Data::Int(_) => Err(Error::new("a tensor has the wrong type")
                .expected("floats")
                .got(format!("{:?}", self.dtype))
                .invalid_model()),
        }
    }

    /// Returns the elements of an integer tensor.
    ///
    /// # Errors
    /// A tensor of floats.
    pub fn ints(&self) -> Result<&Arc<Vec<i64>>> {
        match &self.data {
            Data::Int(v) => Ok(v),
            Data::Float(_) => Err(Error::new("a tensor has the wrong type")
                .expected("integers")
                .got(format!("{:?}", self.dtype))
                .invalid_model()),
        }
    }
}

/// The shapes of a sample's arrays, without a batch axis: one for each input that data sets feed.
///
/// The elements of a sample are stored array after array.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleShape(pub Vec<Vec<usize>>);

impl SampleShape {
    /// Returns the shape of samples of one array.
    pub fn of_one(shape: &[usize]) -> Self {
        Self(vec![shape.to_vec()])
    }

    /// Returns the number of elements of a sample.
    pub fn elements(&self) -> usize {
        self.0.iter().map(|shape| shape.iter().product::<usize>()).sum()
    }

    /// Returns each array of consecutive samples, of which the last is repeated to fill up a batch.
    ///
    /// # Panics
    /// Panics if `samples` is empty.
    pub fn arranged(&self, samples: &[f32], batch: usize) -> Vec<Vec<f32>> {
        let rows: Vec<&[f32]> = samples.chunks_exact(self.elements().max(1)).collect();
        let last = rows.len() - 1;
        let mut first = 0;
        let lens = self.0.iter().map(|shape| shape.iter().product::<usize>());
        lens.map(|len| {
            let range = first..first + len;
            first += len;
            (0..batch).flat_map(|at| rows[at.min(last)][range.clone()].iter().copied()).collect()
        })
        .collect()
    }

    /// Returns the shape of the only array; `None` if there are several.
    pub fn only(&self) -> Option<&[usize]> {
        match self.0.as_slice() {
            [shape] => Some(shape),
            _ => None,
        }
    }
}

/// Returns the shapes of a sample as text: `3×32×32, 2`.
impl std::fmt::Display for SampleShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shapes: Vec<String> = self.0.iter().map(|shape| show(shape)).collect();
        f.write_str(&shapes.join(", "))
    }
}

/// Returns the number of elements of a shape; `None` on overflow.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// Returns the row-major strides of a shape, in elements.
pub fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1] as isize;
    }
    strides
}

/// Returns a shape as text, such as `1×3×32×32`.
pub fn show(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".to_owned();
    }
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}
