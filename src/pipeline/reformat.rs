//! A network stored in a number format, fitted to its outputs on calibration images.

use super::calibration::Calibration;
use super::quantized::Form;
use super::quantizing::Quantizing;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::onnx::Model;
use crate::prune::Channels;
use crate::quantize::NumberFormat;
use crate::quantize::integer::Integer;
use crate::quantize::palette::{Shared, share_weights};

/// A model in a number format.
pub(super) enum Reformatted {
    Float(Model),
    Integers(Integer),
    Palette(Shared),
}

impl Reformatted {
    /// Returns the number of layers whose weights changed their format.
    pub(super) fn layers(&self) -> usize {
        match self {
            Self::Float(_) => 0,
            Self::Integers(integer) => integer.layers.len(),
            Self::Palette(shared) => shared.layers.len(),
        }
    }

    /// Returns the form of the quantized network; `None` for floats.
    pub(super) fn form(&self) -> Option<Form<'_>> {
        match self {
            Self::Float(_) => None,
            Self::Integers(integer) => Some(Form::Integers(integer)),
            Self::Palette(shared) => Some(Form::Palette(shared)),
        }
    }

    pub(super) fn into_model(self) -> Model {
        match self {
            Self::Float(model) => model,
            Self::Integers(integer) => integer.model,
            Self::Palette(shared) => shared.model,
        }
    }
}

/// Returns a model in a number format, refitted as the verb `quantize` does.
pub(super) fn reformatted(
    format: &NumberFormat,
    model: &Model,
    ((device, batch), calibration): ((&Device, Option<usize>), &Calibration),
    observer: &mut dyn Observer,
) -> Result<Reformatted> {
    match format {
        NumberFormat::Float => Ok(Reformatted::Float(model.clone())),
        NumberFormat::Integers(options) => {
            let quantizing = Quantizing { model, options, device, batch, calibration };
            Ok(Reformatted::Integers(quantizing.integers(observer)?))
        }
        NumberFormat::Palette(bits) => {
            let graph = Graph::from_model(model)?;
            let channels = Channels::of(&graph)?;
            let images = (device, calibration.images(observer)?);
            let shared = share_weights(model, (&graph, &channels), *bits, Some(images), observer)?;
            Ok(Reformatted::Palette(shared))
        }
    }
}
