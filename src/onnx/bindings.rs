//! Input bindings: values and sizes that a user gives to a model's inputs, beside its file.

use std::collections::BTreeMap;

use crate::tensor::Tensor;

/// Values and sizes of a model's inputs that its file leaves open.
///
/// A model carries its bindings through pruning, so that every graph of it is inferred alike. They are not saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputBindings {
    /// Inputs with a fixed value, by name.
    ///
    /// The value has one element, the input's shape, or that shape without the batch axis.
    pub values: BTreeMap<String, Tensor>,
    /// Whole shapes of inputs, by name, including the batch axis if there is one.
    pub sizes: BTreeMap<String, Vec<usize>>,
    /// Height and width of images, for free axes of an input with four axes, or three without a batch.
    pub image: Option<[usize; 2]>,
}

impl InputBindings {
    /// Returns whether nothing is bound.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.sizes.is_empty() && self.image.is_none()
    }
}
