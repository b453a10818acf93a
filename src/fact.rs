//! What is known of a value before the network runs: type, shape, and for constants the value.

use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Element type.
    pub dtype: DType,
    /// Dimensions, all known: facts are made for one batch size.
    pub shape: Vec<usize>,
    /// The value, where it does not depend on the network's inputs.
    pub value: Option<Tensor>,
    /// Whether the value was computed from the shape of something that the inputs decide, so that
    /// it may change with the batch size or with a cut.
    pub from_shape: bool,
}

impl Fact {
    /// A value that only the run will tell.
    pub fn new(dtype: DType, shape: &[usize]) -> Self {
        Self { dtype, shape: shape.to_vec(), value: None, from_shape: false }
    }

    /// A constant.
    pub fn constant(value: Tensor) -> Self {
        Self { dtype: value.dtype, shape: value.shape.clone(), value: Some(value), from_shape: false }
    }

    /// The same type with another shape, not constant.
    #[must_use]
    pub fn with_shape(&self, shape: &[usize]) -> Self {
        Self::new(self.dtype, shape)
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// The facts of a node's inputs, by position.
#[derive(Clone, Debug, Default)]
pub struct Inputs<'a> {
    /// `None` where an optional input is absent.
    pub facts: Vec<Option<&'a Fact>>,
}

impl<'a> Inputs<'a> {
    /// The fact of input `i`, or an error when it is absent.
    pub fn get(&self, i: usize) -> Result<&'a Fact> {
        self.optional(i).ok_or_else(|| {
            Error::new(format!("input {i} is missing"))
                .got(format!("{} in all", self.facts.len()))
                .invalid_model()
        })
    }

    /// The fact of input `i`, if it is there.
    pub fn optional(&self, i: usize) -> Option<&'a Fact> {
        self.facts.get(i).copied().flatten()
    }

    /// The constant value of input `i`; `what` says what for. Absent gives `None`, not constant an error.
    pub fn constant(&self, i: usize, what: &str) -> Result<Option<&'a Tensor>> {
        let Some(fact) = self.optional(i) else { return Ok(None) };
        match &fact.value {
            Some(value) => Ok(Some(value)),
            None => Err(Error::new(format!("{what} must not be computed while the network runs"))
                .expected("a constant")
                .remedy("fold constants before export, or export with fixed shapes")),
        }
    }

    /// Constant integers of input `i`; `None` when absent.
    pub fn ints(&self, i: usize, what: &str) -> Result<Option<Vec<i64>>> {
        let Some(value) = self.constant(i, what)? else { return Ok(None) };
        value.ints().map(|v| Some(v.to_vec())).map_err(|e| e.context(what))
    }

    /// A constant float scalar of input `i`; `None` when absent.
    pub fn float(&self, i: usize, what: &str) -> Result<Option<f64>> {
        let Some(value) = self.constant(i, what)? else { return Ok(None) };
        match value.to_f64()[..] {
            [v] => Ok(Some(v)),
            ref other => {
                Err(Error::new(format!("{what} must be one number")).got(format!("{} numbers", other.len())))
            }
        }
    }
}

/// An axis that may be negative, made positive.
pub fn axis(axis: i64, rank: usize) -> Result<usize> {
    within(axis, rank, "an axis")
}

/// An index that may be negative, made positive.
pub fn index(index: i64, size: usize) -> Result<usize> {
    within(index, size, "an index")
}

fn within(at: i64, size: usize, what: &str) -> Result<usize> {
    let end = size as i64;
    if (-end..end).contains(&at) {
        Ok((if at < 0 { at + end } else { at }) as usize)
    } else {
        Err(Error::new(format!("{what} out of range"))
            .expected(format!("{} to {}", -end, end - 1))
            .got(at.to_string())
            .invalid_model())
    }
}

/// The broadcast of two shapes by NumPy's rule.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(Error::new("shapes that do not broadcast")
                .expected("equal dimensions, or 1")
                .got(format!("{} and {}", crate::tensor::show(a), crate::tensor::show(b)))),
        })
        .collect()
}
