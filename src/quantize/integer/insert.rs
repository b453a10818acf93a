//! The model in QDQ form: integer weights, and pairs of nodes that round activations.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Quantizable;
use super::placement::IntegerLayer;
use super::refit::{along, channel_scales};
use super::scales::{ActivationScale, integer};
use crate::error::Result;
use crate::graph::ValueId;
use crate::onnx::Model;
use crate::onnx::attrs::set_int;
use crate::onnx::proto::NodeProto;
use crate::prune::{remove_unused, used_names};
use crate::quantize::nodes::{NewNodes, node};
use crate::tensor::{DType, Tensor};

/// Returns the model in which the tensors of `scales` are rounded and layers have integer weights.
///
/// Names of inputs, outputs and weights stay: a weight is then the output of its DequantizeLinear.
pub(super) fn insert(network: &Quantizable, scales: &BTreeMap<ValueId, ActivationScale>) -> Result<Model> {
    let mut model = network.model.clone();
    let proto = model.graph_mut();
    let before = used_names(proto);
    let mut writer = Writer { new: NewNodes::new(proto), replaced: HashSet::new() };
    for layer in &network.placement.layers {
        let weights = writer.weight(network, layer)?;
        if network.runtime.has_integer_biases()
            && let (Some(bias), Some(input)) = (&layer.bias, scales.get(&layer.input))
        {
            writer.bias(network, bias, &weights, input.scale)?;
        }
    }
    let Writer { new, replaced } = &mut writer;
    let outputs: HashSet<String> = proto.output.iter().map(|output| output.name().to_owned()).collect();
    let (mut read_as, mut made_as, mut pairs) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (&value, scale) in scales {
        let name = network.graph.name(value).to_owned();
        // An output of the network keeps its name behind the pair.
        let (from, to) = if outputs.contains(&name) {
            let from = new.fresh(&format!("{name}.float"));
            made_as.insert(name.clone(), from.clone());
            (from, name.clone())
        } else {
            (name.clone(), new.fresh(&format!("{name}.dequantized")))
        };
        read_as.insert(name.clone(), to.clone());
        pairs.insert(name.clone(), pair(new, &name, (&from, &to), (scale, network.runtime.activation())));
    }
    proto.initializer.retain(|tensor| !replaced.contains(tensor.name()));
    proto.input.retain(|input| !replaced.contains(input.name()));
    let mut nodes = std::mem::take(&mut new.nodes);
    let inputs = proto.input.iter().filter_map(|input| pairs.remove(input.name()));
    nodes.extend(inputs.flatten());
    for mut node in std::mem::take(&mut proto.node) {
        // Constants that other nodes computed, such as copies by Identity.
        if node.output.iter().any(|name| replaced.contains(name)) {
            continue;
        }
        node.input.iter_mut().filter_map(|name| Some((read_as.get(&*name)?, name))).for_each(|(to, name)| {
            name.clone_from(to);
        });
        let made: Vec<NodeProto> =
            node.output.iter().filter_map(|name| pairs.remove(name)).flatten().collect();
        node.output.iter_mut().filter_map(|name| Some((made_as.get(&*name)?, name))).for_each(
            |(from, name)| {
                name.clone_from(from);
            },
        );
        nodes.push(node);
        nodes.extend(made);
    }
    proto.node = nodes;
    proto.initializer.append(&mut new.initializers);
    remove_unused(proto, &before);
    model.bytes = model.to_bytes().len() as u64;
    Ok(model)
}

/// Returns the two nodes that round a tensor.
fn pair(
    new: &mut NewNodes,
    name: &str,
    (from, to): (&str, &str),
    (scale, dtype): (&ActivationScale, DType),
) -> [NodeProto; 2] {
    let step = new.constant(&format!("{name}.scale"), &Tensor::float(&[], vec![scale.scale]));
    let zero = Tensor { dtype, ..Tensor::int(&[], vec![scale.zero.into()]) };
    let zero = new.constant(&format!("{name}.zero_point"), &zero);
    let rounded = new.fresh(&format!("{name}.quantized"));
    [
        node("QuantizeLinear", &[from, &step, &zero], &rounded),
        node("DequantizeLinear", &[&rounded, &step, &zero], to),
    ]
}

/// The nodes that compute weights and biases from integers.
struct Writer {
    new: NewNodes,
    /// Initializers that nodes replace.
    replaced: HashSet<String>,
}

impl Writer {
    /// Replaces the weights of a layer; returns the scale of each channel.
    fn weight(&mut self, network: &Quantizable, layer: &IntegerLayer) -> Result<Vec<f32>> {
        let (value, tensor) = &layer.weight;
        let axis = layer.layer.filters;
        let scales = match &layer.scales {
            Some(scales) => scales.clone(),
            None => channel_scales(tensor, axis)?,
        };
        let numbers = tensor.floats()?.iter().enumerate();
        let integers = numbers.map(|(i, &w)| integer(w, scales[along(tensor, axis, i)])).collect();
        let integers = Tensor { dtype: DType::I8, ..Tensor::int(&tensor.shape, integers) };
        self.dequantized(network.graph.name(*value), &integers, &scales, axis);
        Ok(scales)
    }

    /// Replaces a bias by integers of 32 bits, whose scale is that of the products.
    fn bias(
        &mut self,
        network: &Quantizable,
        (value, tensor): &(ValueId, Tensor),
        weights: &[f32],
        input: f32,
    ) -> Result<()> {
        // Groups of a ConvTranspose share the scales of their weights.
        if tensor.shape.len() != 1 || !tensor.len().is_multiple_of(weights.len().max(1)) {
            return Ok(());
        }
        let scales: Vec<f32> = (0..tensor.len()).map(|i| weights[i % weights.len()] * input).collect();
        let largest = f64::from(i32::MAX);
        let rounded = |(&b, &s): (&f32, &f32)| {
            (f64::from(b) / f64::from(s)).round_ties_even().clamp(-largest, largest) as i64
        };
        let integers = tensor.floats()?.iter().zip(&scales).map(rounded).collect();
        let integers = Tensor { dtype: DType::I32, ..Tensor::int(&tensor.shape, integers) };
        self.dequantized(network.graph.name(*value), &integers, &scales, 0);
        Ok(())
    }

    /// Adds the node that computes an initializer from integers.
    fn dequantized(&mut self, name: &str, integers: &Tensor, scales: &[f32], axis: usize) {
        let stored = self.new.constant(&format!("{name}.quantized"), integers);
        let step = Tensor::float(&[scales.len()], scales.to_vec());
        let step = self.new.constant(&format!("{name}.scale"), &step);
        let zero = Tensor { dtype: integers.dtype, ..Tensor::int(&[scales.len()], vec![0; scales.len()]) };
        let zero = self.new.constant(&format!("{name}.zero_point"), &zero);
        let mut made = node("DequantizeLinear", &[&stored, &step, &zero], name);
        made.name = Some(format!("{name}.dequantize"));
        set_int(&mut made, "axis", axis as i64);
        self.new.nodes.push(made);
        self.replaced.insert(name.to_owned());
    }
}
