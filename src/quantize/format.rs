//! The number formats in which a network is stored.

use super::integer::{IntegerOptions, Quantizable};
use super::palette::{PaletteBits, share_weights};
use crate::error::Result;
use crate::graph::Graph;
use crate::observer::Silent;
use crate::onnx::Model;
use crate::prune::Channels;

/// The format of a network's weights.
#[derive(Clone, Debug, PartialEq)]
pub enum NumberFormat {
    /// The floating-point numbers of the original.
    Float,
    /// 8-bit integers for weights and activations.
    Integers(IntegerOptions),
    /// A codebook of shared weights for each layer.
    Palette(PaletteBits),
}

impl NumberFormat {
    /// Returns the bytes of a model's file in this format, which no refit changes.
    ///
    /// # Errors
    /// A model that the format cannot store.
    pub fn bytes(&self, model: &Model) -> Result<u64> {
        match self {
            Self::Float => Ok(model.to_bytes().len() as u64),
            Self::Integers(options) => Quantizable::new(model, options)?.bytes(),
            Self::Palette(bits) => {
                let graph = Graph::from_model(model)?;
                let channels = Channels::of(&graph)?;
                let shared = share_weights(model, (&graph, &channels), *bits, None, &mut Silent)?;
                Ok(shared.model.to_bytes().len() as u64)
            }
        }
    }
}

impl std::fmt::Display for NumberFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Float => f.write_str("float"),
            Self::Integers(_) => f.write_str("8-bit integers"),
            Self::Palette(bits) => write!(f, "{}-bit palette", bits.bits()),
        }
    }
}
