//! The coded size of a model.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use serde::Serialize;

use super::form::{Coder, Elements};
use crate::error::Result;
use crate::onnx::proto::TensorProto;
use crate::onnx::{Model, tensor, visit_tensors};
use crate::quantize::palette::{SharedWeight, shared_weights};

/// The size of a model's file under several codes, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CodedSize {
    /// All tensors, in the order of the file.
    pub tensors: Vec<CodedTensor>,
    /// The message without the elements of tensors, as gzip compresses it.
    pub rest: u64,
    /// The file as it is.
    pub file: u64,
    /// The file as gzip compresses it, at its highest level.
    pub gzip: u64,
    /// All tensors with Huffman codes, and the rest.
    pub huffman: u64,
    /// All tensors with rANS codes, and the rest.
    pub rans: u64,
}

/// The size of a tensor under several codes, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CodedTensor {
    /// The name; empty for tensors inside of nodes.
    pub name: String,
    /// The number of weights that the tensor stores.
    pub weights: u64,
    /// The elements as they are in the file.
    pub file: u64,
    /// The elements with a Huffman code and its table.
    pub huffman: u64,
    /// The elements with a rANS code and its table.
    pub rans: u64,
}

impl CodedSize {
    /// Returns the bytes under the better one of the two codes.
    pub fn bytes(&self) -> u64 {
        self.huffman.min(self.rans)
    }

    /// Returns the number of weights in all tensors.
    pub fn weights(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.weights).sum()
    }

    /// Returns the bits of the coded file for each weight; `None` without weights.
    pub fn bits_per_weight(&self) -> Option<f64> {
        let weights = self.weights();
        (weights > 0).then(|| 8.0 * self.bytes() as f64 / weights as f64)
    }
}

/// Encodes the tensors of a model, and compresses the rest of its message and the whole file with gzip.
///
/// # Errors
/// A tensor whose elements do not match its dimensions.
pub fn coded_size(model: &Model) -> Result<CodedSize> {
    let mut proto = model.proto.clone();
    let mut tensors = Vec::new();
    // Indices are coded in place of the first of the tensors that hold their parts.
    let shared = shared_weights(model);
    let of = |name: &str| shared.iter().find(|weight| weight.packed.iter().any(|packed| packed == name));
    let is_codebook = |name: &str| shared.iter().any(|weight| weight.codebook == name);
    visit_tensors(&mut proto, &mut |tensor| {
        let name = tensor.name();
        let (elements, weights) = match of(name) {
            Some(weight) if weight.packed[0] == name => (Some(indices(weight)), weight.indices.len()),
            Some(_) => (Some(Elements { planes: vec![], bits: 8, zero: vec![] }), 0),
            None => {
                let elements = elements(tensor)?;
                let count = elements.as_ref().map_or(0, Elements::len);
                (elements, if is_codebook(name) { 0 } else { count })
            }
        };
        if let Some(elements) = elements {
            tensors.push(CodedTensor {
                name: name.to_owned(),
                weights: weights as u64,
                file: tensor::raw(tensor)?.len() as u64,
                huffman: elements.encode(Coder::Huffman).len() as u64,
                rans: elements.encode(Coder::Rans).len() as u64,
            });
            let (name, dims, data_type) =
                (tensor.name.take(), std::mem::take(&mut tensor.dims), tensor.data_type);
            *tensor = TensorProto { name, dims, data_type, ..TensorProto::default() };
        }
        Ok(())
    })?;
    let rest = gzip(&proto.encode_to_vec());
    let sum = |of: fn(&CodedTensor) -> u64| rest + tensors.iter().map(of).sum::<u64>();
    Ok(CodedSize {
        rest,
        file: model.bytes,
        gzip: gzip(&model.to_bytes()),
        huffman: sum(|tensor| tensor.huffman),
        rans: sum(|tensor| tensor.rans),
        tensors,
    })
}

/// Returns the symbols of the indices of a shared weight.
fn indices(weight: &SharedWeight) -> Elements {
    let zero = weight.values.iter().position(|&value| value == 0.0);
    // Without a value of zero, no index stands for it.
    let zero = zero.map_or(u8::MAX, |index| index as u8);
    Elements { planes: vec![weight.indices.clone()], bits: weight.bits.bits(), zero: vec![zero] }
}

/// Returns the symbols of a tensor's elements; `None` for strings.
///
/// Elements of several bytes have a plane for each, so that those with few values are coded apart from the others. The
/// sign of a 32-bit float goes to the end, so that its exponent is one byte.
fn elements(message: &TensorProto) -> Result<Option<Elements>> {
    const STRING: i32 = 8;
    if message.data_type() == STRING {
        return Ok(None);
    }
    let bytes = tensor::raw(message)?;
    let count = tensor::shape(message)?.iter().product::<usize>();
    if matches!(message.data_type(), 21..=23) {
        let symbols = bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(count).collect();
        return Ok(Some(Elements { planes: vec![symbols], bits: 4, zero: vec![0] }));
    }
    let width = bytes.len().checked_div(count).unwrap_or(1).max(1);
    let plane = |at: usize| bytes.iter().skip(at).step_by(width).copied().collect();
    let planes = match message.data_type() {
        1 => {
            let words = bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word).rotate_left(1));
            (0..4).map(|at| words.clone().map(|word| (word >> (8 * at)) as u8).collect()).collect()
        }
        _ => (0..width).map(plane).collect(),
    };
    Ok(Some(Elements { planes, bits: 8, zero: vec![0; width] }))
}

/// Returns the size after compression with gzip at its highest level.
fn gzip(bytes: &[u8]) -> u64 {
    #[derive(Default)]
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut encoder = GzEncoder::new(Count::default(), Compression::best());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("counting bytes cannot fail").0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Tensor};

    #[test]
    fn floats_have_a_plane_for_the_exponent() {
        let message = tensor::encode("w", &Tensor::float(&[3], vec![1.0, -1.0, 0.0]));
        let of = elements(&message).expect("valid").expect("numbers");
        assert_eq!(of.planes, [vec![0, 1, 0], vec![0, 0, 0], vec![0, 0, 0], vec![127, 127, 0]]);
        assert_eq!((of.bits, &of.zero[..]), (8, &[0; 4][..]));
    }

    #[test]
    fn integers_have_a_plane_for_each_byte() {
        let planes = |message: &TensorProto| elements(message).expect("valid").map(|of| (of.planes, of.bits));
        let words = Tensor::from_f64(DType::I16, &[2], &[258.0, -1.0]);
        assert_eq!(planes(&tensor::encode("w", &words)), Some((vec![vec![2, 255], vec![1, 255]], 8)));
        let in_field = TensorProto {
            dims: vec![3],
            data_type: Some(DType::I8.to_onnx()),
            int32_data: vec![1, -1, 7],
            ..TensorProto::default()
        };
        assert_eq!(planes(&in_field), Some((vec![vec![1, 255, 7]], 8)));
        let nibbles = TensorProto {
            dims: vec![3],
            data_type: Some(21),
            raw_data: Some(vec![0x21, 0x03].into()),
            ..TensorProto::default()
        };
        assert_eq!(planes(&nibbles), Some((vec![vec![1, 2, 3]], 4)));
        let text = TensorProto { data_type: Some(8), ..TensorProto::default() };
        assert_eq!(planes(&text), None);
    }
}
