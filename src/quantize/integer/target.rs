//! Conventions of the runtimes that run networks of integers.

use crate::quantize::range::Grid;
use crate::tensor::DType;

/// A runtime whose conventions a quantized file follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "lower"))]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// ONNX Runtime: activations in uint8 with a zero point, biases in int32.
    #[default]
    Ort,
    /// TensorRT: activations in int8 without a zero point, biases in float.
    TensorRt,
    /// OpenVINO: activations in uint8 with a zero point, biases in float.
    OpenVino,
}

impl Runtime {
    /// Returns the integers of activations.
    pub fn grid(self) -> Grid {
        match self {
            Self::TensorRt => Grid::Symmetric,
            Self::Ort | Self::OpenVino => Grid::Asymmetric,
        }
    }

    /// Returns the type of activations.
    pub fn activation(self) -> DType {
        match self {
            Self::TensorRt => DType::I8,
            Self::Ort | Self::OpenVino => DType::U8,
        }
    }

    /// Returns whether biases become integers of 32 bits.
    pub fn has_integer_biases(self) -> bool {
        self == Self::Ort
    }
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ort => "ort",
            Self::TensorRt => "tensorrt",
            Self::OpenVino => "openvino",
        })
    }
}
