//! A few calibration images that tell which of several networks stays nearest to the original.

use super::calibration::Calibration;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::onnx::Model;

/// The number of images.
const COUNT: usize = 64;

/// Images, and the outputs of the original.
pub(super) struct ProbeImages<'a> {
    images: Batch,
    on: (&'a Device, Option<usize>),
    outputs: Vec<f32>,
}

impl<'a> ProbeImages<'a> {
    /// Reads images that do not judge, and runs the original.
    pub(super) fn of(
        graph: &Graph,
        calibration: &Calibration,
        on: (&'a Device, Option<usize>),
    ) -> Result<Self> {
        let images = calibration.fit.batches(COUNT).next().transpose()?.ok_or_else(no_images)?;
        let outputs = outputs(graph, &images, on)?;
        Ok(Self { images, on, outputs })
    }

    /// Returns the squared error of another network's outputs, as a share of the squared outputs.
    pub(super) fn noise(&self, model: &Model) -> Result<f64> {
        let found = outputs(&Graph::from_model(model)?, &self.images, self.on)?;
        let square = |x: f32| f64::from(x).powi(2);
        let error: f64 = found.iter().zip(&self.outputs).map(|(&a, &b)| square(a - b)).sum();
        Ok(error / self.outputs.iter().map(|&b| square(b)).sum::<f64>())
    }
}

fn outputs(graph: &Graph, images: &Batch, (device, batch): (&Device, Option<usize>)) -> Result<Vec<f32>> {
    Session::for_samples(graph, device, &images.sample, (batch, images.count))?.predict(&images.data)
}

/// Returns the error of a quantization without images.
pub(super) fn no_images() -> Error {
    Error::new("integers need images for the ranges of activations")
        .expected("`data`")
        .remedy("set `data` to images like those that the network will see")
}
