//! A network stored in a number format, fitted to its outputs on calibration images.

use super::calibration::Calibration;
use super::quantizing::Quantizing;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::onnx::Model;
use crate::prune::Channels;
use crate::quantize::NumberFormat;
use crate::quantize::palette::share_weights;

/// A model in another number format.
pub(super) struct Reformatted {
    pub(super) model: Model,
    /// The layers whose weights changed their format.
    pub(super) layers: usize,
}

/// Returns a model in a number format, refitted as the verb `quantize` does.
pub(super) fn reformatted(
    format: &NumberFormat,
    model: &Model,
    ((device, batch), calibration): ((&Device, Option<usize>), &Calibration),
    observer: &mut dyn Observer,
) -> Result<Reformatted> {
    match format {
        NumberFormat::Float => Ok(Reformatted { model: model.clone(), layers: 0 }),
        NumberFormat::Integers(options) => {
            let integer = Quantizing { model, options, device, batch, calibration }.integers(observer)?;
            Ok(Reformatted { model: integer.model, layers: integer.layers.len() })
        }
        NumberFormat::Palette(bits) => {
            let graph = Graph::from_model(model)?;
            let channels = Channels::of(&graph)?;
            let images = (device, calibration.images(observer)?);
            let shared = share_weights(model, (&graph, &channels), *bits, Some(images), observer)?;
            Ok(Reformatted { model: shared.model, layers: shared.layers.len() })
        }
    }
}
