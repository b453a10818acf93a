//! Elimination curves of dependency groups, computed once and used by the probe and the criterion `reconstruction`.

use std::collections::HashMap;

use super::consumers::Consumers;
use crate::error::Result;
use crate::lsq::Loss;

/// A cache of [`Consumers::curve`], keyed by the coupled channels that may be eliminated.
///
/// A cache is valid for one network (graph, channels) and the Gram matrices of one profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EliminationCurves {
    curves: HashMap<Vec<usize>, Option<Vec<Loss>>>,
}

impl EliminationCurves {
    /// Returns the curve of these coupled channels, in this order, and computes it if it is not cached.
    ///
    /// # Errors
    /// Weights that are not floats.
    pub fn find_or_compute(&mut self, consumers: &Consumers, coupled: &[usize]) -> Result<Option<&[Loss]>> {
        if !self.curves.contains_key(coupled) {
            self.curves.insert(coupled.to_vec(), consumers.curve(coupled)?);
        }
        Ok(self.get(coupled).flatten())
    }

    /// Returns the cached curve of these coupled channels; `Some(None)` if no layer with moments consumes them.
    pub fn get(&self, coupled: &[usize]) -> Option<Option<&[Loss]>> {
        self.curves.get(coupled).map(Option::as_deref)
    }

    /// Returns the number of cached curves.
    pub fn len(&self) -> usize {
        self.curves.len()
    }

    /// Returns true if no curve is cached.
    pub fn is_empty(&self) -> bool {
        self.curves.is_empty()
    }
}
