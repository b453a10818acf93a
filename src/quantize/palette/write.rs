//! Weights in the form of codebook and indices, computed by nodes of the file.
//!
//! A weight `w` is replaced by nodes with the output `w`, so that all else stays. Runtimes compute them once, as all
//! nodes with constant inputs. Indices of 8 bits, and of 4 bits since opset 21, have the shape of the weight and need
//! Cast and Gather only. Others are packed as [`packing`](super::packing) describes.

use std::collections::{BTreeMap, BTreeSet};

use super::codebook::Codebook;
use super::packing::{PaletteBits, Plane};
use crate::error::{Error, Result};
use crate::onnx::proto::{AttributeProto, AttributeType, NodeProto};
use crate::onnx::tensor::decode;
use crate::onnx::{Model, declaration};
use crate::quantize::nodes::{NewNodes, node};
use crate::tensor::{DType, Tensor};

/// The opset whose Cast reads integers of 4 bits.
const NIBBLES: i64 = 21;
/// The opset in which Slice has inputs instead of attributes.
const SLICE_INPUTS: i64 = 10;

/// Writes initializers that have few different values as codebook and indices; no value changes.
///
/// # Errors
/// A name that is no initializer of floats, and one with more values than a codebook has.
pub fn write(model: &Model, weights: &BTreeSet<String>, bits: PaletteBits) -> Result<Model> {
    let mut model = model.clone();
    let (opset, listed) = (model.opset(), model.proto.ir_version() < 4);
    let graph = model.graph_mut();
    let mut writer = Writer { bits, opset, new: NewNodes::new(graph), tables: BTreeMap::new() };
    for name in weights {
        let missing = || Error::new(format!("\"{name}\" is no initializer")).internal();
        let tensor = graph.initializer.iter().find(|tensor| tensor.name() == name).ok_or_else(missing)?;
        writer.weight(name, &decode(tensor)?)?;
    }
    graph.initializer.retain(|tensor| !weights.contains(tensor.name()));
    graph.input.retain(|input| !weights.contains(input.name()));
    if listed {
        graph.input.extend(writer.new.initializers.iter().map(|tensor| declaration(tensor.name(), tensor)));
    }
    graph.initializer.extend(writer.new.initializers);
    graph.node.splice(..0, writer.new.nodes);
    model.bytes = model.to_bytes().len() as u64;
    Ok(model)
}

/// The nodes and initializers that replace weights.
struct Writer {
    bits: PaletteBits,
    opset: i64,
    new: NewNodes,
    /// The tables as indices of Gather take them, by the bits and the shift of their plane.
    tables: BTreeMap<(u32, u32), String>,
}

impl Writer {
    /// Adds the nodes that compute a weight.
    fn weight(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let numbers = tensor.floats()?;
        let book = Codebook::from_values(numbers.to_vec());
        if book.values().len() > self.bits.values() {
            return Err(Error::new(format!("\"{name}\" has too many values for a codebook"))
                .expected(self.bits.values().to_string())
                .got(book.values().len().to_string())
                .internal());
        }
        let indices: Vec<u8> = numbers.iter().map(|&w| book.nearest(w.into()) as u8).collect();
        let values =
            Tensor { dtype: tensor.dtype, ..Tensor::float(&[book.values().len()], book.values().to_vec()) };
        let codebook = self.new.constant(&format!("{name}.codebook"), &values);
        let whole = |dtype| Tensor {
            dtype,
            ..Tensor::int(&tensor.shape, indices.iter().map(|&i| i.into()).collect())
        };
        let stored = match self.bits {
            PaletteBits::Eight => Some(whole(DType::U8)),
            PaletteBits::Four if self.opset >= NIBBLES => Some(whole(DType::U4)),
            _ => None,
        };
        let base = format!("{name}.indices");
        if let Some(stored) = stored {
            let stored = self.new.constant(&base, &stored);
            let wide = self.wide(&stored, &base);
            self.node("Gather", &[&codebook, &wide], name, &[]);
            return Ok(());
        }
        let planes: Vec<String> =
            self.bits.planes().iter().map(|&plane| self.plane(plane, &indices, &base)).collect();
        let whole = match &planes[..] {
            [low, high] => self.inner("Add", &[low, high], &base, &[]),
            _ => planes.concat(),
        };
        let values = self.inner("Gather", &[&codebook, &whole], &format!("{name}.values"), &[]);
        let shape = tensor.shape.iter().map(|&n| n as i64).collect();
        let shape = self.new.constant(&format!("{name}.shape"), &Tensor::int(&[tensor.shape.len()], shape));
        self.node("Reshape", &[&values, &shape], name, &[]);
        Ok(())
    }

    /// Adds the nodes that unpack the parts of all indices.
    fn plane(&mut self, plane: Plane, indices: &[u8], base: &str) -> String {
        let bytes = plane.pack(indices);
        let parts = bytes.len() * plane.per_byte();
        let packed = self.bytes(&format!("{base}{}", plane.shift), &[bytes.len()], &bytes);
        let table = self.table(plane);
        let wide = self.wide(&packed, base);
        let rows = self.inner("Gather", &[&table, &wide], base, &[]);
        let shape = self.new.constant(&format!("{base}.shape"), &Tensor::int(&[1], vec![parts as i64]));
        let flat = self.inner("Reshape", &[&rows, &shape], base, &[]);
        if parts == indices.len() {
            return flat;
        }
        let end = indices.len() as i64;
        if self.opset < SLICE_INPUTS {
            return self.inner(
                "Slice",
                &[&flat],
                base,
                &[("starts", &[0]), ("ends", &[end]), ("axes", &[0])],
            );
        }
        let start = self.new.constant(&format!("{base}.start"), &Tensor::int(&[1], vec![0]));
        let end = self.new.constant(&format!("{base}.end"), &Tensor::int(&[1], vec![end]));
        self.inner("Slice", &[&flat, &start, &end], base, &[])
    }

    /// Returns the table of a plane as 32-bit integers, which all weights share.
    fn table(&mut self, plane: Plane) -> String {
        if let Some(table) = self.tables.get(&(plane.bits, plane.shift)) {
            return table.clone();
        }
        let base = format!("palette.table{}", plane.bits);
        let stored = self.bytes(&base, &[256, plane.per_byte()], &plane.table());
        let wide = self.wide(&stored, &base);
        self.tables.insert((plane.bits, plane.shift), wide.clone());
        wide
    }

    /// Adds the conversion to 32-bit integers, which Gather needs.
    fn wide(&mut self, value: &str, base: &str) -> String {
        let to = i64::from(DType::I32.to_onnx());
        let output = self.new.fresh(&format!("{base}.int32"));
        let mut cast = node("Cast", &[value], &output);
        crate::onnx::attrs::set_int(&mut cast, "to", to);
        self.new.nodes.push(cast);
        output
    }

    /// Adds a node with a new output.
    fn inner(&mut self, op: &str, inputs: &[&str], base: &str, attributes: &[(&str, &[i64])]) -> String {
        let output = self.new.fresh(&format!("{base}.{}", op.to_lowercase()));
        self.node(op, inputs, &output, attributes);
        output
    }

    fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[i64])]) {
        let attribute = attributes.iter().map(|&(name, values)| AttributeProto {
            name: Some(name.to_owned()),
            ints: values.to_vec(),
            r#type: Some(AttributeType::Ints as i32),
            ..AttributeProto::default()
        });
        self.new.nodes.push(NodeProto { attribute: attribute.collect(), ..node(op, inputs, output) });
    }

    fn bytes(&mut self, name: &str, shape: &[usize], bytes: &[u8]) -> String {
        let numbers = bytes.iter().map(|&byte| byte.into()).collect();
        self.new.constant(name, &Tensor { dtype: DType::U8, ..Tensor::int(shape, numbers) })
    }
}
