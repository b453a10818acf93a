//! A quantized network in either form.

use super::evaluation::Evaluation;
use super::integer_network::IntegerNetwork;
use super::palettes::SharedNetwork;
use crate::onnx::Model;
use crate::quantize::coding::CodedSize;
use crate::quantize::integer::Integer;
use crate::quantize::palette::Shared;

/// A quantized network: 8-bit integers or shared weights.
#[derive(Clone, Debug)]
pub enum Quantized {
    /// Integers for weights and activations.
    Integers(IntegerNetwork),
    /// Shared weights, with a codebook for each layer.
    Palette(SharedNetwork),
}

impl From<IntegerNetwork> for Quantized {
    fn from(found: IntegerNetwork) -> Self {
        Self::Integers(found)
    }
}

impl From<SharedNetwork> for Quantized {
    fn from(found: SharedNetwork) -> Self {
        Self::Palette(found)
    }
}

impl Quantized {
    /// Returns the form of the numbers.
    pub(super) fn form(&self) -> Form<'_> {
        match self {
            Self::Integers(found) => Form::Integers(&found.integer),
            Self::Palette(found) => Form::Palette(&found.shared),
        }
    }

    /// Returns the model of the quantized network.
    pub fn model(&self) -> &Model {
        self.form().model()
    }

    /// Returns the layers with integer or shared weights.
    pub fn layers(&self) -> &[String] {
        match self {
            Self::Integers(found) => &found.integer.layers,
            Self::Palette(found) => &found.shared.layers,
        }
    }

    /// Returns the layers whose weights stay as they are, with the reason.
    pub fn kept(&self) -> &[(String, &'static str)] {
        match self {
            Self::Integers(found) => &found.integer.kept,
            Self::Palette(found) => &found.shared.kept,
        }
    }

    /// Returns the reasons for which layers were kept, or have shared weights that were not refitted.
    pub fn reasons(&self) -> impl Iterator<Item = &(String, &'static str)> {
        self.form().reasons()
    }

    /// Returns the coded size of the original and of the quantized network.
    pub fn coded(&self) -> &[CodedSize; 2] {
        match self {
            Self::Integers(found) => &found.coded,
            Self::Palette(found) => &found.coded,
        }
    }

    /// Returns the quality against the original; `None` without images.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        match self {
            Self::Integers(found) => Some(&found.evaluation),
            Self::Palette(found) => found.evaluation.as_ref(),
        }
    }

    /// Returns what is known of integers alone; `None` for shared weights.
    pub fn integers(&self) -> Option<&IntegerNetwork> {
        match self {
            Self::Integers(found) => Some(found),
            Self::Palette(_) => None,
        }
    }
}

/// The form of a quantized network, before it is judged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    Integers(&'a Integer),
    Palette(&'a Shared),
}

impl<'a> Form<'a> {
    pub(super) fn model(self) -> &'a Model {
        match self {
            Self::Integers(integer) => &integer.model,
            Self::Palette(shared) => &shared.model,
        }
    }

    /// Returns the reasons for which layers were kept, or have shared weights that were not refitted.
    pub(super) fn reasons(self) -> impl Iterator<Item = &'a (String, &'static str)> {
        let (kept, unrefitted): (&[_], &[_]) = match self {
            Self::Integers(integer) => (&integer.kept, &[]),
            Self::Palette(shared) => (&shared.kept, &shared.unrefitted),
        };
        kept.iter().chain(unrefitted)
    }
}
