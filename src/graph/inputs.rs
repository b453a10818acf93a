//! Inputs of a graph: declared dimensions, bound values and sizes, and the batch axis.

use std::collections::HashMap;

use super::{Graph, ValueId};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{DType, SampleShape, Tensor, show};

/// The default size of free spatial dimensions of images.
pub const FREE_SIZE: usize = 224;

/// A dimension of an input as declared in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A size that the file fixes.
    Fixed(usize),
    /// A free size with its symbolic name, which may be empty.
    Free(String),
}

/// An input of a network with its declared shape.
#[derive(Debug, Clone)]
pub struct GraphInput {
    /// The value in the graph.
    pub value: ValueId,
    /// The element type of the input.
    pub dtype: DType,
    /// The dimensions as declared.
    pub dims: Vec<Dim>,
    /// Sizes of free dimensions that a user gave, or that weights determine.
    pub sizes: Vec<Option<usize>>,
    /// The value, if a user fixed it.
    pub bound: Option<Tensor>,
    /// True if the first axis holds the samples of a batch.
    pub batched: bool,
}

/// The sizes of input dimensions that the file leaves free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sizes {
    /// The default sizes, see [`FREE_SIZE`].
    #[default]
    Own,
    /// The shape of a sample of a data set, see [`Graph::sample_inputs`].
    Sample(SampleShape),
    /// Whole shapes by the names of inputs, including the batch axis.
    Whole(HashMap<String, Vec<usize>>),
}

impl GraphInput {
    /// Creates an input with a batch axis and without bindings.
    pub fn new(value: ValueId, dtype: DType, dims: Vec<Dim>) -> Self {
        let sizes = vec![None; dims.len()];
        Self { value, dtype, batched: !dims.is_empty(), dims, sizes, bound: None }
    }

    /// Returns the dimensions as text: `N×3×32×32`.
    pub fn show(&self) -> String {
        let dim = |d: &Dim| match d {
            Dim::Fixed(n) => n.to_string(),
            Dim::Free(name) if name.is_empty() => "?".to_owned(),
            Dim::Free(name) => name.clone(),
        };
        if self.dims.is_empty() {
            return "scalar".to_owned();
        }
        self.dims.iter().map(dim).collect::<Vec<_>>().join("×")
    }

    /// Returns the size of an axis, if the file, a user or the weights determine it.
    pub fn size(&self, axis: usize) -> Option<usize> {
        match self.dims.get(axis)? {
            Dim::Fixed(n) => Some(*n),
            Dim::Free(_) => self.sizes[axis],
        }
    }

    /// Returns the sizes of a sample's axes, without the batch axis; `None` for a free axis.
    pub fn sample(&self) -> Vec<Option<usize>> {
        (usize::from(self.batched)..self.dims.len()).map(|axis| self.size(axis)).collect()
    }

    /// Returns whether nothing determines the size of an axis behind the batch.
    fn guesses(&self) -> bool {
        self.sample().contains(&None)
    }

    /// Returns the default size of a free axis: of an image whose channels are known.
    fn default_size(&self) -> Option<usize> {
        let sample = self.sample();
        let known = sample.first().zip(sample.last());
        (sample.len() == 3 && known.is_some_and(|(a, b)| a.is_some() || b.is_some())).then_some(FREE_SIZE)
    }

    /// Returns the bound value for a whole shape: repeated for each sample of a batch.
    pub(super) fn bound_at(&self, shape: &[usize]) -> Option<Tensor> {
        let bound = self.bound.as_ref()?;
        let (len, own) = (shape.iter().product::<usize>(), bound.len());
        let repeated: Vec<f64> = bound.to_f64().into_iter().cycle().take(len).collect();
        (own > 0 && len.is_multiple_of(own)).then(|| Tensor::from_f64(self.dtype, shape, &repeated))
    }
}

impl Graph {
    /// Returns the inputs that data sets feed: those that a node takes and no user fixed, in order.
    pub fn sample_inputs(&self) -> impl Iterator<Item = &GraphInput> {
        self.inputs.iter().filter(|input| self.is_fed(input))
    }

    /// Returns whether a node takes a value, or it is an output.
    pub fn is_used(&self, value: ValueId) -> bool {
        !self.values[value].consumers.is_empty() || self.outputs.contains(&value)
    }

    pub(super) fn is_fed(&self, input: &GraphInput) -> bool {
        self.is_used(input.value) && input.bound.is_none()
    }

    /// Returns whether the size of an axis other than the batch is neither declared, given nor derived.
    pub fn has_free_sizes(&self) -> bool {
        self.sample_inputs().any(GraphInput::guesses)
    }

    /// Returns the shapes of the inputs for a batch size.
    ///
    /// `None` keeps the declared batch, with 1 for a free one. Other free sizes are those of `sizes`, then bound or
    /// derived ones, then [`FREE_SIZE`] for images.
    ///
    /// # Errors
    /// A name in `sizes` that is not an input, a shape that contradicts the declared one, or a size that nothing
    /// determines.
    pub fn input_shapes(&self, batch: Option<usize>, sizes: &Sizes) -> Result<Vec<Vec<usize>>> {
        if let Sizes::Whole(given) = sizes {
            self.are_inputs(given.keys())?;
        }
        let mut samples = match sizes {
            Sizes::Sample(sample) => sample.0.iter(),
            Sizes::Own | Sizes::Whole(_) => [].iter(),
        };
        let mut shapes = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let sample = if self.is_fed(input) { samples.next() } else { None };
            let given = match (sizes, sample) {
                (_, Some(sample)) => {
                    let first = input.batched.then(|| self.own_batch(input, batch));
                    Some(first.into_iter().chain(sample.iter().copied()).collect())
                }
                (Sizes::Whole(given), _) => given.get(self.name(input.value)).cloned(),
                _ => None,
            };
            let shape = match given {
                Some(shape) if fits(&shape, input) => shape,
                Some(shape) => return Err(self.misfit(input, &shape)),
                None => self.own_shape(input, batch)?,
            };
            shapes.push(shape);
        }
        Ok(shapes)
    }

    fn own_batch(&self, input: &GraphInput, batch: Option<usize>) -> usize {
        batch.or(input.size(0)).unwrap_or(1)
    }

    pub(super) fn own_shape(&self, input: &GraphInput, batch: Option<usize>) -> Result<Vec<usize>> {
        let default = input.default_size();
        let size = |axis: usize| {
            if axis == 0 && input.batched {
                return Some(self.own_batch(input, batch));
            }
            // An input that no node takes may have any size.
            input.size(axis).or(default).or_else(|| (!self.is_fed(input)).then_some(1))
        };
        let shape: Option<Vec<usize>> = (0..input.dims.len()).map(size).collect();
        shape.ok_or_else(|| {
            let name = self.name(input.value);
            let example = (0..input.dims.len()).map(|axis| size(axis).unwrap_or(100).to_string());
            Error::new(format!("the size of input \"{name}\" is not known"))
                .file(&self.path)
                .expected("sizes of all axes")
                .got(format!("{}, which the file leaves free", input.show()))
                .remedy(format!(
                    "give its whole shape with your sizes, as in `size` {name}={}",
                    example.collect::<Vec<_>>().join("x")
                ))
        })
    }

    pub(super) fn misfit(&self, input: &GraphInput, got: &[usize]) -> Error {
        Error::new(format!("the shape of input \"{}\" does not fit", self.name(input.value)))
            .file(&self.path)
            .expected(input.show())
            .got(show(got))
            .remedy("give an array of the expected shape")
    }

    /// Checks that all names are inputs.
    pub(super) fn are_inputs<'a>(&self, mut names: impl Iterator<Item = &'a String>) -> Result<()> {
        let own: Vec<&str> = self.inputs.iter().map(|i| self.name(i.value)).collect();
        match names.find(|name| !own.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Error::new(format!("the network has no input \"{name}\""))
                .file(&self.path)
                .expected(own.join(", "))
                .meant(name, own, "give the inputs by these names")),
        }
    }
}

impl GraphInput {
    /// Sets the free axes of an image to a height and width.
    pub(super) fn resize(&mut self, height: usize, width: usize) {
        let first = usize::from(self.batched);
        if self.dims.len() != first + 3 {
            return;
        }
        let channels_last = self.size(first).is_none() && self.size(first + 2).is_some_and(|n| n <= 4);
        let axis = if channels_last { first } else { first + 1 };
        for (axis, size) in [(axis, height), (axis + 1, width)] {
            if matches!(self.dims[axis], Dim::Free(_)) {
                self.sizes[axis] = Some(size);
            }
        }
    }
}

/// Returns whether batches can have any size: every sample input has a batch axis that is free or 1.
pub(super) fn takes_first_axis(graph: &Graph) -> bool {
    let free_or_one = |d: Option<&Dim>| matches!(d, Some(Dim::Free(_) | Dim::Fixed(1)));
    graph.sample_inputs().all(|i| i.batched && free_or_one(i.dims.first()))
}

/// Returns whether a shape has the declared rank, and the declared sizes except for the batch and free axes.
pub(super) fn fits(shape: &[usize], input: &GraphInput) -> bool {
    shape.len() == input.dims.len()
        && shape.iter().zip(&input.dims).skip(usize::from(input.batched)).all(|(&n, d)| match d {
            Dim::Fixed(fixed) => *fixed == n,
            Dim::Free(_) => n > 0,
        })
}

/// Returns the error of an inference at default sizes, with the remedy to give the sizes.
pub(super) fn at_guessed_sizes(error: Error, graph: &Graph) -> Error {
    let Some(input) = graph.sample_inputs().find(|input| input.guesses()) else { return error };
    let name = graph.name(input.value);
    let first = if input.batched { "1x" } else { "" };
    let sample = input.sample();
    let sizes = sample.iter().map(|n| n.map_or_else(|| FREE_SIZE.to_string(), |n| n.to_string()));
    error.with_kind(ErrorKind::InvalidInput).with_remedy(format!(
        "the file leaves sizes of \"{name}\" ({}) free, and {FREE_SIZE} was tried: give yours, as in `size` {name}={first}{}",
        input.show(),
        sizes.collect::<Vec<_>>().join("x")
    ))
}
