//! The shared weights of a file that [`write`](super::write()) wrote.

use std::collections::HashMap;

use super::packing::{PaletteBits, Plane};
use crate::onnx::Model;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::tensor::{decode, raw};
use crate::tensor::Tensor;

/// A weight that is stored as codebook and indices.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedWeight {
    /// The name of the weight.
    pub name: String,
    /// The initializer with the values.
    pub codebook: String,
    /// The initializers with packed indices, one for each plane.
    pub packed: Vec<String>,
    /// The bits of an index.
    pub bits: PaletteBits,
    /// The index of each weight.
    pub indices: Vec<u8>,
    /// The values, in the order of the file.
    pub values: Vec<f32>,
}

/// Returns the weights of a model's main graph that are stored as codebook and indices.
pub fn shared_weights(model: &Model) -> Vec<SharedWeight> {
    let graph = model.graph();
    let file = File {
        made: graph
            .node
            .iter()
            .flat_map(|node| node.output.iter().map(move |o| (o.as_str(), node)))
            .collect(),
        stored: graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect(),
    };
    graph.node.iter().filter_map(|node| file.weight(node)).collect()
}

/// The nodes by their outputs, and the initializers by their names.
struct File<'a> {
    made: HashMap<&'a str, &'a NodeProto>,
    stored: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> File<'a> {
    /// Returns input 0 of the node that computes a value by `op`; the value itself for other nodes.
    fn before(&self, value: &'a str, op: &str) -> &'a str {
        let made = self.made.get(value).filter(|node| node.op_type() == op);
        made.and_then(|node| node.input.first()).map_or(value, String::as_str)
    }

    /// Returns the shared weight whose values a Gather selects.
    fn weight(&self, gather: &'a NodeProto) -> Option<SharedWeight> {
        let [codebook, index] = &gather.input[..] else { return None };
        let values = self.stored.get(codebook.as_str()).filter(|_| gather.op_type() == "Gather")?;
        let values = decode(values).ok()?;
        if values.shape.len() != 1 || !values.dtype.is_float() {
            return None;
        }
        let output = gather.output.first()?;
        let shaped = |node: &&&NodeProto| node.op_type() == "Reshape" && node.input.first() == Some(output);
        let mut reshapes = self.made.values().filter(shaped);
        let name = reshapes.next().and_then(|node| node.output.first()).unwrap_or(output);
        let whole = self.before(index, "Cast");
        let (bits, packed, indices) = match self.stored.get(whole) {
            Some(stored) => self.whole(stored)?,
            None => self.planes(index)?,
        };
        let values = values.floats().ok()?.to_vec();
        let (name, codebook) = (name.clone(), codebook.clone());
        Some(SharedWeight { name, codebook, packed, bits, indices, values })
    }

    /// Returns indices that are stored one by one.
    fn whole(&self, stored: &TensorProto) -> Option<(PaletteBits, Vec<String>, Vec<u8>)> {
        let bits = match stored.data_type() {
            2 => PaletteBits::Eight,
            21 => PaletteBits::Four,
            _ => return None,
        };
        let tensor: Tensor = decode(stored).ok()?;
        let indices = tensor.ints().ok()?.iter().map(|&index| index as u8).collect();
        Some((bits, vec![stored.name().to_owned()], indices))
    }

    /// Returns indices that are packed in planes.
    fn planes(&self, index: &'a str) -> Option<(PaletteBits, Vec<String>, Vec<u8>)> {
        let sum = self.made.get(index).filter(|node| node.op_type() == "Add");
        let (bits, parts): (_, Vec<&str>) = match sum {
            Some(sum) => (PaletteBits::Six, sum.input.iter().map(String::as_str).collect()),
            None => (PaletteBits::Four, vec![index]),
        };
        let mut indices: Vec<u8> = Vec::new();
        let mut packed = Vec::new();
        if parts.len() != bits.planes().len() {
            return None;
        }
        for (&plane, part) in bits.planes().iter().zip(parts) {
            let count = self.count(part, plane)?;
            let rows = self.before(self.before(part, "Slice"), "Reshape");
            let gather = self.made.get(rows).filter(|node| node.op_type() == "Gather")?;
            let [table, bytes] = &gather.input[..] else { return None };
            let table = self.stored.get(self.before(table, "Cast"))?;
            let stored = self.stored.get(self.before(bytes, "Cast"))?;
            if raw(table).ok()? != plane.table() || stored.data_type() != 2 {
                return None;
            }
            indices.resize(count, 0);
            plane.unpack(&raw(stored).ok()?, &mut indices);
            packed.push(stored.name().to_owned());
        }
        Some((bits, packed, indices))
    }

    /// Returns the number of indices of which a plane has a part.
    fn count(&self, part: &'a str, plane: Plane) -> Option<usize> {
        let node = self.made.get(part)?;
        let first = |name: &str| decode(self.stored.get(name)?).ok()?.ints().ok()?.first().copied();
        let count = match (node.op_type(), node.input.get(2)) {
            ("Slice", Some(end)) => first(end),
            ("Slice", None) => node.attribute.iter().find(|a| a.name() == "ends")?.ints.first().copied(),
            ("Reshape", _) => first(node.input.get(1)?),
            _ => None,
        };
        // More indices than the packed bytes have parts are no indices of this program.
        let bytes = self.before(self.before(part, "Slice"), "Reshape");
        let bytes = self.made.get(bytes)?.input.get(1)?;
        let most = raw(self.stored.get(self.before(bytes, "Cast"))?).ok()?.len() * plane.per_byte();
        usize::try_from(count?).ok().filter(|&count| count <= most)
    }
}
