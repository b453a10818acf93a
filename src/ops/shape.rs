//! Constants and shape arithmetic: Constant, Shape, Size, ConstantOfShape, Range.

use super::lower::Lowering;
use super::{Build, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::tensor::{Tensor, elements};

/// The largest number of elements of a computed constant.
const MOST_ELEMENTS: usize = 1 << 28;

/// The operators whose value depends only on shapes and constants.
#[derive(Debug)]
enum ShapeValue {
    Constant(Tensor),
    Shape { start: i64, end: Option<i64> },
    Size,
    ConstantOfShape(Tensor),
    Range,
}

/// Builds Constant: a tensor stored in the node.
pub(super) fn constant(build: &Build) -> Result<Box<dyn Operator>> {
    let attrs = &build.attrs;
    let value = if let Some(tensor) = attrs.tensor("value")? {
        tensor
    } else if let Some(values) = attrs.floats("value_floats")? {
        Tensor::float(&[values.len()], values)
    } else if let Some(values) = attrs.ints("value_ints")? {
        Tensor::int(&[values.len()], values)
    } else if let Some(value) = attrs.int("value_int")? {
        Tensor::int(&[], vec![value])
    } else if let Some(value) = attrs.float("value_float")? {
        Tensor::float(&[], vec![value])
    } else {
        return Err(Error::new("a Constant whose value is not numbers")
            .expected("one of value, value_float, value_floats, value_int, value_ints")
            .unsupported());
    };
    Ok(Box::new(ShapeValue::Constant(value)))
}

/// Builds Shape: the dimensions of a tensor.
pub(super) fn shape(build: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(ShapeValue::Shape { start: build.attrs.int_or("start", 0)?, end: build.attrs.int("end")? }))
}

/// Builds Size: the number of elements.
pub(super) fn size(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(ShapeValue::Size))
}

/// Builds ConstantOfShape: a tensor of one value, in a computed shape.
pub(super) fn constant_of_shape(build: &Build) -> Result<Box<dyn Operator>> {
    let value = build.attrs.tensor("value")?.unwrap_or_else(|| Tensor::float(&[1], vec![0.0]));
    Ok(Box::new(ShapeValue::ConstantOfShape(value)))
}

/// Builds Range: numbers from start to limit in equal steps.
pub(super) fn range(_: &Build) -> Result<Box<dyn Operator>> {
    Ok(Box::new(ShapeValue::Range))
}

impl ShapeValue {
    fn value(&self, inputs: &Inputs) -> Result<Tensor> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Shape { start, end } => {
                let shape = &inputs.get(0)?.shape;
                let rank = shape.len() as i64;
                let clip = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
                let (start, end) = (clip(*start), clip(end.unwrap_or(rank)));
                let dims: Vec<i64> = shape[start..end.max(start)].iter().map(|&d| d as i64).collect();
                Ok(Tensor::int(&[dims.len()], dims))
            }
            Self::Size => {
                let count: usize = inputs.get(0)?.shape.iter().product();
                Ok(Tensor::int(&[], vec![count as i64]))
            }
            Self::ConstantOfShape(value) => {
                let dims = inputs.ints(0, "the shape of ConstantOfShape")?.ok_or_else(|| {
                    Error::new("the shape of ConstantOfShape is missing").with_kind(ErrorKind::InvalidModel)
                })?;
                let shape: Vec<usize> = dims.iter().filter_map(|&d| usize::try_from(d).ok()).collect();
                let count = elements(&shape).filter(|&n| n <= MOST_ELEMENTS && shape.len() == dims.len());
                let count = count.ok_or_else(|| {
                    Error::new("an impossible shape")
                        .expected("a shape that fits memory")
                        .got(format!("{dims:?}"))
                        .with_kind(ErrorKind::InvalidModel)
                })?;
                let fill = value.to_f64().first().copied().unwrap_or(0.0);
                Ok(Tensor::from_f64(value.dtype, &shape, &vec![fill; count]))
            }
            Self::Range => {
                let number = |i, what| {
                    inputs.float(i, what)?.ok_or_else(|| {
                        Error::new(format!("{what} is missing")).with_kind(ErrorKind::InvalidModel)
                    })
                };
                let (start, limit, delta) =
                    (number(0, "the start")?, number(1, "the limit")?, number(2, "the step")?);
                let count = ((limit - start) / delta).ceil().max(0.0);
                if !(count <= MOST_ELEMENTS as f64) {
                    return Err(Error::new("an impossible Range")
                        .got(format!("{start} to {limit} by {delta}"))
                        .with_kind(ErrorKind::InvalidModel));
                }
                let values: Vec<f64> = (0..count as usize).map(|i| start + i as f64 * delta).collect();
                Ok(Tensor::from_f64(inputs.get(0)?.dtype, &[values.len()], &values))
            }
        }
    }
}

impl Operator for ShapeValue {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let mut fact = Fact::constant(self.value(inputs)?);
        fact.from_shape = matches!(self, Self::Shape { .. } | Self::Size) && inputs.get(0)?.value.is_none();
        Ok(vec![fact])
    }

    fn lower(&self, _: &mut Lowering) -> Result<()> {
        // The fact contains the value, so no kernel computes it.
        Ok(())
    }

    fn propagate(&self, _: &mut Propagation) -> Result<()> {
        Ok(())
    }
}
