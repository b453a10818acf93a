//! Bindings of a graph's inputs: what a user fixes, what weights determine, and which axis is a batch.

use super::facts::Facts;
use super::inputs::fits;
use super::{Dim, Graph, GraphInput, ValueId};
use crate::error::{Error, Result};
use crate::onnx::InputBindings;

impl Graph {
    /// Applies a user's bindings, and derives what they and the weights determine.
    pub(super) fn bind(mut self, bindings: &InputBindings) -> Result<Self> {
        self.are_inputs(bindings.values.keys().chain(bindings.sizes.keys()))?;
        for at in 0..self.inputs.len() {
            let name = self.name(self.inputs[at].value).to_owned();
            if let Some(shape) = bindings.sizes.get(&name) {
                let input = &mut self.inputs[at];
                if !fits(shape, input) {
                    return Err(self.misfit(&self.inputs[at], shape));
                }
                input.sizes = shape.iter().copied().map(Some).collect();
            }
            self.inputs[at].bound = bindings.values.get(&name).cloned();
        }
        self.derive_sizes();
        if let Some([height, width]) = bindings.image {
            self.inputs.iter_mut().for_each(|input| input.resize(height, width));
        }
        self.check_bound()?;
        self.find_batch_axes();
        Ok(self)
    }

    fn check_bound(&self) -> Result<()> {
        for input in &self.inputs {
            let Some(bound) = &input.bound else { continue };
            let shape = self.own_shape(input, None).unwrap_or_else(|_| bound.shape.clone());
            let (len, own) = (shape.iter().product::<usize>(), bound.len());
            let sample = if input.batched { len / shape[0].max(1) } else { len };
            if ![1, sample, len].contains(&own) {
                return Err(Error::new(format!(
                    "the value of input \"{}\" does not fit",
                    self.name(input.value)
                ))
                .file(&self.path)
                .expected(input.show())
                .got(format!("{own} elements"))
                .remedy("give one number, or as many as one sample has"));
            }
        }
        Ok(())
    }

    /// Finds out which inputs hold samples along their first axis.
    ///
    /// A fixed first axis above 1 is a batch if all outputs have it, too. Without one, a run takes one sample.
    fn find_batch_axes(&mut self) {
        let fixed = |input: &GraphInput| match input.dims.first() {
            Some(Dim::Fixed(n)) if input.batched => (*n > 1).then_some(*n),
            _ => None,
        };
        let sizes: Vec<Option<usize>> = self.sample_inputs().map(fixed).collect();
        let Some(n) = sizes.iter().copied().flatten().next() else { return };
        let follows = |graph: &Self| {
            let facts = Facts::at_own_size(graph).ok()?;
            // A data-dependent output has no fact: selected boxes carry the index of their image.
            let is_batch = |&o: &ValueId| facts.get(o).is_none_or(|f| f.shape.first() == Some(&n));
            Some(graph.outputs.iter().all(is_batch))
        };
        let batch = self.sample_inputs().all(|input| input.batched)
            && sizes.iter().all(|&size| size == Some(n))
            && follows(self) == Some(true);
        if !batch {
            self.inputs.iter_mut().filter(|i| i.bound.is_none()).for_each(|input| input.batched = false);
        }
    }
}
