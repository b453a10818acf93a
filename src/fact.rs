//! Facts of values before the network runs: type, shape, and the value of constants.

use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, Tensor};

/// The type and shape of a value, and the elements if it is constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The element type of the value.
    pub dtype: DType,
    /// The dimensions, which are all numbers because facts are inferred for one batch size.
    pub shape: Vec<usize>,
    /// The elements, if they do not depend on the inputs of the network.
    pub value: Option<Tensor>,
    /// True if the value was computed from a shape, and so may change with the batch size or by pruning.
    pub from_shape: bool,
}

impl Fact {
    /// Returns the fact of a value that is computed at run time.
    pub fn new(dtype: DType, shape: &[usize]) -> Self {
        Self { dtype, shape: shape.to_vec(), value: None, from_shape: false }
    }

    /// Returns the fact of a constant.
    pub fn constant(value: Tensor) -> Self {
        Self { dtype: value.dtype, shape: value.shape.clone(), value: Some(value), from_shape: false }
    }

    /// Returns the fact of a computed value of this type with another shape.
    #[must_use]
    pub fn with_shape(&self, shape: &[usize]) -> Self {
        Self::new(self.dtype, shape)
    }

    /// Returns whether the value has no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// The facts of the inputs of a node, by position.
#[derive(Clone, Debug, Default)]
pub struct Inputs<'a> {
    /// The facts; `None` for an absent optional input.
    pub facts: Vec<Option<&'a Fact>>,
}

impl<'a> Inputs<'a> {
    /// Returns the fact of input `i`.
    ///
    /// # Errors
    /// An absent input.
    pub fn get(&self, i: usize) -> Result<&'a Fact> {
        self.optional(i).ok_or_else(|| {
            Error::new(format!("input {i} is missing"))
                .got(format!("{} in all", self.facts.len()))
                .invalid_model()
        })
    }

    /// Returns the fact of input `i`, if present.
    pub fn optional(&self, i: usize) -> Option<&'a Fact> {
        self.facts.get(i).copied().flatten()
    }

    /// Returns the constant value of input `i`; `None` if absent. `what` names the input in messages.
    ///
    /// # Errors
    /// An input that is not constant.
    pub fn constant(&self, i: usize, what: &str) -> Result<Option<&'a Tensor>> {
        let Some(fact) = self.optional(i) else { return Ok(None) };
        match &fact.value {
            Some(value) => Ok(Some(value)),
            None => Err(Error::new(format!("{what} must be constant"))
                .with_kind(ErrorKind::Unsupported)
                .expected("a constant")
                .remedy("fold constants before export, or export with fixed shapes")),
        }
    }

    /// Returns the constant integers of input `i`; `None` if absent.
    ///
    /// # Errors
    /// An input that is not constant, or not of integers.
    pub fn ints(&self, i: usize, what: &str) -> Result<Option<Vec<i64>>> {
        let Some(value) = self.constant(i, what)? else { return Ok(None) };
        value.ints().map(|v| Some(v.to_vec())).map_err(|e| e.context(what))
    }

    /// Returns the constant number of input `i`; `None` if absent.
    ///
    /// # Errors
    /// An input that is not constant, or not a single number.
    pub fn float(&self, i: usize, what: &str) -> Result<Option<f64>> {
        let Some(value) = self.constant(i, what)? else { return Ok(None) };
        match value.to_f64()[..] {
            [v] => Ok(Some(v)),
            ref other => {
                let error = Error::new(format!("{what} must be one number")).invalid_model();
                Err(error.got(format!("{} numbers", other.len())))
            }
        }
    }
}

/// Returns a possibly negative axis as a nonnegative one.
///
/// # Errors
/// An axis out of range.
pub fn axis(axis: i64, rank: usize) -> Result<usize> {
    within(axis, rank, "an axis")
}

/// Returns a possibly negative index as a nonnegative one.
///
/// # Errors
/// An index out of range.
pub fn index(index: i64, size: usize) -> Result<usize> {
    within(index, size, "an index")
}

fn within(at: i64, size: usize, what: &str) -> Result<usize> {
    let end = size as i64;
    if (-end..end).contains(&at) {
        Ok((if at < 0 { at + end } else { at }) as usize)
    } else {
        Err(Error::new(format!("{what} is out of range"))
            .expected(format!("{} to {}", -end, end - 1))
            .got(at.to_string())
            .invalid_model())
    }
}

/// Returns the broadcast of two shapes by NumPy's rule.
///
/// # Errors
/// Shapes that do not broadcast.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(Error::new("the shapes do not broadcast")
                .expected("equal dimensions, or 1")
                .got(format!("{} and {}", crate::tensor::show(a), crate::tensor::show(b)))
                .with_kind(ErrorKind::InvalidModel)),
        })
        .collect()
}
