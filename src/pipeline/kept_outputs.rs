//! The reference network of evaluations, whose outputs are kept for further networks on the same images.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::metric::NamedTensor;
use super::predictions::predict;
use crate::data::Batch;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::tensor::SampleShape;

/// The number of elements that are kept at most: 512 MiB.
const MOST_ELEMENTS: usize = 1 << 27;

/// The outputs of one network for the images of one data set, by their places, within a limit of memory.
#[derive(Debug, Default)]
pub(super) struct KeptOutputs {
    images: RefCell<HashMap<usize, Vec<NamedTensor>>>,
    elements: Cell<usize>,
}

impl KeptOutputs {
    /// Returns the outputs of a batch: from memory if all are kept, else those of a run.
    fn find_or_run(
        &self,
        images: &Batch,
        run: impl FnOnce() -> Result<Vec<Vec<NamedTensor>>>,
    ) -> Result<Vec<Vec<NamedTensor>>> {
        let kept = self.images.borrow();
        let known: Option<Vec<_>> = images.places.iter().map(|place| kept.get(place).cloned()).collect();
        drop(kept);
        if let Some(known) = known {
            return Ok(known);
        }
        let outputs = run()?;
        for (&place, outputs) in images.places.iter().zip(&outputs) {
            let more: usize = outputs.iter().map(|(_, tensor)| tensor.shape.iter().product::<usize>()).sum();
            if self.elements.get() + more <= MOST_ELEMENTS {
                self.elements.set(self.elements.get() + more);
                self.images.borrow_mut().insert(place, outputs.clone());
            }
        }
        Ok(outputs)
    }

    /// Returns the number of images whose outputs are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.images.borrow().len()
    }
}

/// A network with which others are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'a> {
    /// The graph of the network.
    pub(super) graph: &'a Graph,
    /// Its outputs from earlier evaluations on the same data, if they are kept.
    pub(super) kept: Option<&'a KeptOutputs>,
}

impl<'a> From<&'a Graph> for Reference<'a> {
    fn from(graph: &'a Graph) -> Self {
        Self { graph, kept: None }
    }
}

/// A reference network that is loaded when its outputs are not kept.
pub(super) struct ReferenceRun<'a> {
    reference: Reference<'a>,
    device: &'a Device,
    batch: Option<usize>,
    /// The number of images of the data set.
    images: usize,
    session: Option<Session>,
}

impl<'a> ReferenceRun<'a> {
    pub(super) fn new(
        reference: Reference<'a>,
        device: &'a Device,
        (batch, images): (Option<usize>, usize),
    ) -> Self {
        Self { reference, device, batch, images, session: None }
    }

    /// Returns the loaded network for samples of a shape.
    pub(super) fn session(&mut self, sample: &SampleShape) -> Result<&mut Session> {
        let Self { reference, device, batch, images, session } = self;
        let open = || Session::for_samples(reference.graph, device, sample, (*batch, *images));
        let mut loaded = match session.take() {
            Some(session) => session,
            None => open()?,
        };
        loaded.adapt(sample, |_| open())?;
        Ok(session.insert(loaded))
    }

    /// Returns the outputs of every image of a batch.
    pub(super) fn outputs(&mut self, images: &Batch) -> Result<Vec<Vec<NamedTensor>>> {
        match self.reference.kept {
            Some(kept) => kept.find_or_run(images, || predict(self.session(&images.sample)?, &images.data)),
            None => predict(self.session(&images.sample)?, &images.data),
        }
    }
}
