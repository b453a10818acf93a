//! A quantized network, as data of a page: sizes, ranges of activations, and layers.

use serde::Serialize;

use super::number::Num;
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::onnx::Model;
use crate::quantize::coding::CodedSize;
use crate::quantize::integer::RoundedTensor;
use crate::quantize::palette::{SharedWeight, shared_weights};
use crate::stats::{LayerTaps, layers};
use crate::tensor::{DType, Tensor};

/// A quantized network beside the original.
#[derive(Clone, Debug, Default, Serialize)]
pub struct QuantizationSection {
    /// Format of the numbers in words, such as `8-bit integers`.
    pub format: String,
    /// Runtime whose conventions the integers follow; `None` for shared weights.
    pub runtime: Option<String>,
    /// Method that chose the ranges of activations; `None` for shared weights.
    pub ranges: Option<String>,
    /// Sizes of the file under several codes.
    pub sizes: Vec<SizeRow>,
    /// Coded bits for each weight: before, after.
    pub bits_per_weight: [Option<Num>; 2],
    /// Activations that are rounded, in the order of the graph.
    pub tensors: Vec<TensorRange>,
    /// Layers in the order of the graph.
    pub layers: Vec<QuantizedLayer>,
}

/// A size of the file.
#[derive(Clone, Debug, Serialize)]
pub struct SizeRow {
    /// Name of the code.
    pub name: &'static str,
    /// Bytes before and after.
    pub bytes: [u64; 2],
}

/// The range of an activation, with the histogram of its values.
#[derive(Clone, Debug, Serialize)]
pub struct TensorRange {
    /// Name of the tensor.
    pub name: String,
    /// Operator that computes the tensor; `None` for an input of the network.
    pub op: Option<String>,
    /// Least and largest value that integers represent.
    pub range: [Num; 2],
    /// Least and largest value on the calibration images.
    pub values: [Num; 2],
    /// Distance of adjacent integers.
    pub scale: Num,
    /// Integer that represents zero.
    pub zero: i32,
    /// Share of the values outside of the range.
    pub outside: Num,
    /// Ends of the histogram, which contains range and values.
    pub ends: [Num; 2],
    /// Numbers of values in bins of equal width between the ends.
    pub counts: Vec<Num>,
}

/// A layer with the format of its weights.
#[derive(Clone, Debug, Default, Serialize)]
pub struct QuantizedLayer {
    /// Name of the layer's node.
    pub name: String,
    /// Operator of the layer's node.
    pub op: String,
    /// Number of weights of the layer.
    pub weights: usize,
    /// Bits of a weight in the file; `None` for floats.
    pub bits: Option<u32>,
    /// Number of scales of channels that are not zero, and the least and the largest one.
    pub scales: Option<(usize, [Num; 2])>,
    /// Values that the weights share, each with the share of the weights that take it.
    pub codebook: Vec<[Num; 2]>,
    /// Reason for which the layer stays as it is or was not refitted.
    pub reason: Option<String>,
}

/// Returns the sizes of a file before and after.
pub fn size_rows([before, after]: &[CodedSize; 2]) -> Vec<SizeRow> {
    let row = |name, of: fn(&CodedSize) -> u64| SizeRow { name, bytes: [of(before), of(after)] };
    vec![row("File", |size| size.file), row("gzip", |size| size.gzip), row("Coded", CodedSize::bytes)]
}

/// The number of bins of a histogram on the page.
const BINS: usize = 64;

/// Describes the range of an activation.
pub fn tensor_range(tensor: &RoundedTensor) -> TensorRange {
    let (values, scale) = (&tensor.values, tensor.scale);
    let [min, max] = [values.min(), values.max()].map(|end| end.map_or(0.0, f64::from));
    let ends = [scale.low.min(min), scale.high.max(max)];
    let inside = values.linear(scale.low, scale.high, 1)[0];
    let outside = 1.0 - inside / values.total().max(1) as f64;
    TensorRange {
        name: tensor.name.clone(),
        op: tensor.op.clone(),
        range: [scale.low, scale.high].map(Num),
        values: [min, max].map(Num),
        scale: Num(scale.scale.into()),
        zero: scale.zero,
        // Sums of parts of bins are rounded.
        outside: Num(if outside < 1e-12 { 0.0 } else { outside }),
        ends: ends.map(Num),
        counts: values.linear(ends[0], ends[1], BINS).into_iter().map(Num).collect(),
    }
}

/// Describes the layers of a quantized file, with the reasons for which some were kept or were not refitted.
///
/// # Errors
/// A graph whose shapes cannot be inferred.
pub fn quantized_layers<'a>(
    model: &Model,
    reasons: impl Iterator<Item = &'a (String, &'static str)>,
) -> Result<Vec<QuantizedLayer>> {
    let graph = Graph::from_model(model)?;
    let facts = Facts::at_own_size(&graph)?;
    let (shared, reasons) = (shared_weights(model), reasons.collect::<Vec<_>>());
    let described = |taps: &LayerTaps| {
        let node = &graph.nodes[taps.node];
        let reason = reasons.iter().find(|(layer, _)| *layer == node.name).map(|(_, why)| (*why).to_owned());
        let weights = facts.shape(taps.weight).iter().product();
        let layer = QuantizedLayer {
            name: node.name.clone(),
            op: node.op_type.clone(),
            weights,
            reason,
            ..QuantizedLayer::default()
        };
        let name = graph.name(taps.weight);
        match shared.iter().find(|weight| weight.name == name) {
            Some(weight) => with_codebook(layer, weight),
            None => with_scales(layer, &graph, &facts, taps),
        }
    };
    Ok(layers(&graph, &facts).iter().map(described).collect())
}

/// Adds the values that the weights share, each with its share of the weights.
fn with_codebook(layer: QuantizedLayer, weight: &SharedWeight) -> QuantizedLayer {
    let mut counts = vec![0_usize; weight.values.len()];
    for &index in &weight.indices {
        if let Some(count) = counts.get_mut(usize::from(index)) {
            *count += 1;
        }
    }
    let all = weight.indices.len().max(1) as f64;
    let values = weight.values.iter().zip(&counts);
    let codebook = values.map(|(&value, &count)| [Num(value.into()), Num(count as f64 / all)]).collect();
    QuantizedLayer { bits: Some(weight.bits.bits()), codebook, ..layer }
}

/// Adds the bits and the scales of weights that are computed from integers.
fn with_scales(layer: QuantizedLayer, graph: &Graph, facts: &Facts, taps: &LayerTaps) -> QuantizedLayer {
    let made = graph.values[taps.weight].producer.map(|node| &graph.nodes[node]);
    let Some(made) = made.filter(|node| node.op_type == "DequantizeLinear") else { return layer };
    let fact = |at: usize| facts.get(made.inputs.get(at).copied().flatten()?);
    let bits = fact(0).map(|fact| match fact.dtype {
        DType::I4 | DType::U4 => 4,
        dtype => 8 * dtype.size() as u32,
    });
    let value = |at: usize| fact(at).and_then(|fact| fact.value.as_ref());
    let scales = value(0).zip(value(1)).and_then(|(integers, scales)| {
        let scales = used(integers, &scales.to_f64(), taps.layer.filters);
        let ends = scales.iter().fold([f64::INFINITY, 0.0], |[a, b], &s| [s.min(a), s.max(b)]);
        (!scales.is_empty()).then(|| (scales.len(), ends.map(Num)))
    });
    QuantizedLayer { bits, scales, ..layer }
}

/// Returns the scales of the channels that have an integer beside zero: that of zeros alone is any number.
fn used(integers: &Tensor, scales: &[f64], axis: usize) -> Vec<f64> {
    let inner: usize = integers.shape.iter().skip(axis + 1).product();
    let mut is_used = vec![false; scales.len()];
    for (i, integer) in integers.to_f64().into_iter().enumerate().filter(|_| !scales.is_empty()) {
        is_used[i / inner.max(1) % scales.len()] |= integer != 0.0;
    }
    scales.iter().zip(is_used).filter(|(_, is_used)| *is_used).map(|(&scale, _)| scale).collect()
}
