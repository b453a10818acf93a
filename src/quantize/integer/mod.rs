//! Networks of 8-bit integers in QDQ form, with a QuantizeLinear and a DequantizeLinear at every quantized tensor.

mod fold;
mod insert;
mod placement;
mod refit;
mod scales;
mod target;

use std::collections::{BTreeMap, BTreeSet};

pub use fold::fold_batch_norms;
pub use scales::ActivationScale;
pub use target::Runtime;

use crate::error::{Error, Result};
use crate::graph::facts::Facts;
use crate::graph::{Graph, ValueId};
use crate::onnx::Model;
use crate::prune::reread;
use crate::quantize::range::RangeMethod;
use crate::repair::Repair;
use crate::stats::ValueHistogram;

use placement::Placement;

/// The oldest operator set in which DequantizeLinear has a scale for each channel.
const PER_CHANNEL: i64 = 13;

/// Options of a quantization to 8-bit integers.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerOptions {
    /// The runtime whose conventions apply.
    pub runtime: Runtime,
    /// The method that chooses ranges of activations; `None` for the best one on a few images.
    pub ranges: Option<RangeMethod>,
    /// Full refits weights and biases to the original's outputs; none rounds to the nearest.
    pub repair: Repair,
    /// Names of nodes that stay in float.
    pub float: Vec<String>,
}

impl Default for IntegerOptions {
    fn default() -> Self {
        Self { runtime: Runtime::Ort, ranges: None, repair: Repair::Full, float: vec![] }
    }
}

/// A network whose quantized tensors are chosen, before its values are counted.
#[derive(Debug)]
pub struct Quantizable {
    /// The model with BatchNormalizations folded into layers.
    pub model: Model,
    graph: Graph,
    placement: Placement,
    float: BTreeSet<String>,
    runtime: Runtime,
}

/// A model in QDQ form.
#[derive(Clone, Debug)]
pub struct Integer {
    /// The model with integer weights.
    pub model: Model,
    /// The layers with integer weights.
    pub layers: Vec<String>,
    /// The layers that stay in float, with the reason.
    pub kept: Vec<(String, &'static str)>,
    /// The runtime whose conventions apply.
    pub runtime: Runtime,
    /// The method that chose the ranges.
    pub ranges: RangeMethod,
    /// The activations that are rounded, in the order of the graph.
    pub tensors: Vec<RoundedTensor>,
}

/// An activation that is rounded to integers.
#[derive(Clone, Debug)]
pub struct RoundedTensor {
    /// The name of the tensor.
    pub name: String,
    /// The operator that computes it; `None` for an input of the network.
    pub op: Option<String>,
    /// The scale and the range.
    pub scale: ActivationScale,
    /// The values before they are rounded.
    pub values: ValueHistogram,
}

impl Integer {
    /// Returns the scale of each rounded activation, by its name.
    pub fn scales(&self) -> BTreeMap<&str, ActivationScale> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.scale)).collect()
    }
}

impl Quantizable {
    /// Folds BatchNormalizations and chooses the tensors and layers to quantize.
    ///
    /// # Errors
    /// An operator set below 13, a name in `float` that no node has, and a network without a layer to quantize.
    pub fn new(model: &Model, options: &IntegerOptions) -> Result<Self> {
        if model.opset() < PER_CHANNEL {
            return Err(Error::new("the operator set has no integers with a scale for each channel")
                .unsupported()
                .file(&model.path)
                .expected(format!("opset {PER_CHANNEL} or newer"))
                .got(format!("opset {}", model.opset()))
                .remedy(format!(
                    "convert the file with onnx.version_converter.convert_version(model, {PER_CHANNEL})"
                )));
        }
        let model = fold_batch_norms(model)?;
        let graph = Graph::from_model(&model)?;
        let named = |name: &&String| !graph.nodes.iter().any(|node| node.name == **name);
        if let Some(unknown) = options.float.iter().find(named) {
            return Err(Error::new("no node has this name")
                .file(&graph.path)
                .expected("the name of a node that stays in float")
                .got(format!("\"{unknown}\""))
                .remedy("list the names with `inspect()`"));
        }
        let float: BTreeSet<String> = options.float.iter().cloned().collect();
        let placement = Placement::of(&graph, &Facts::at_own_size(&graph)?, &float);
        if placement.layers.is_empty() {
            let got = placement.kept.first().map_or_else(
                || "a network without layers".to_owned(),
                |(layer, why)| format!("{} layers, of which {layer} {why}", placement.kept.len()),
            );
            return Err(Error::new("no layer can be quantized")
                .file(&graph.path)
                .expected("a convolution or matrix product with constant weights in floating point")
                .got(got)
                .remedy("use the network before it was quantized"));
        }
        Ok(Self { model, graph, placement, float, runtime: options.runtime })
    }

    /// Replaces the model by one with other constants, and reads the layers again.
    fn replace(&mut self, model: Model) -> Result<()> {
        self.model = model;
        self.graph = Graph::from_model(&self.model)?;
        self.placement = Placement::of(&self.graph, &Facts::at_own_size(&self.graph)?, &self.float);
        Ok(())
    }

    /// Returns the network in which only one node, with its inputs and its output, is quantized.
    ///
    /// # Errors
    /// A graph whose shapes cannot be inferred.
    pub fn only(&self, node: &str) -> Result<Self> {
        let others = self.graph.nodes.iter().map(|node| &node.name).filter(|name| *name != node);
        let float = others.cloned().collect();
        let placement = Placement::of(&self.graph, &Facts::at_own_size(&self.graph)?, &float);
        let (model, graph) = (self.model.clone(), self.graph.clone());
        Ok(Self { model, graph, placement, float, runtime: self.runtime })
    }

    /// Returns the names of the layers whose weights become integers.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.placement.layers.iter().map(|layer| layer.name.as_str())
    }

    /// Returns the names of other nodes that are quantized, such as sums.
    pub fn others(&self) -> impl Iterator<Item = &str> {
        self.placement.others.iter().map(String::as_str)
    }

    /// Returns the graph whose values are counted.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the values whose histograms [`quantize`](Self::quantize) needs.
    pub fn counted(&self) -> Vec<ValueId> {
        self.placement.counted()
    }

    /// Returns the bytes of the file in QDQ form, which do not depend on values.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub fn bytes(&self) -> Result<u64> {
        let any = ActivationScale { scale: 1.0, zero: 0, low: 0.0, high: 1.0 };
        let scales = self.placement.values.iter().map(|&value| (value, any)).collect();
        Ok(insert::insert(self, &scales)?.bytes)
    }

    /// Writes the model in QDQ form, with scales from histograms of [`counted`](Self::counted).
    ///
    /// Weights are rounded to the nearest integers from −127 to 127, with a scale for each output channel.
    ///
    /// # Errors
    /// A tensor without finite values, and weights that are not finite.
    pub fn quantize(
        &self,
        histograms: &BTreeMap<ValueId, ValueHistogram>,
        ranges: RangeMethod,
    ) -> Result<Integer> {
        let tensors = self.placement.values.iter().map(|&value| {
            let named = |e: Error| e.node(self.graph.name(value)).file(&self.graph.path);
            Ok((value, self.rounded(value, histograms, ranges).map_err(named)?))
        });
        let tensors: Vec<(ValueId, RoundedTensor)> = tensors.collect::<Result<_>>()?;
        let scales = tensors.iter().map(|(value, tensor)| (*value, tensor.scale)).collect();
        let model = insert::insert(self, &scales)?;
        Ok(Integer {
            model: reread(model, &self.model.path)?,
            layers: self.placement.layers.iter().map(|layer| layer.name.clone()).collect(),
            kept: self.placement.kept.clone(),
            runtime: self.runtime,
            ranges,
            tensors: tensors.into_iter().map(|(_, tensor)| tensor).collect(),
        })
    }

    /// Chooses the scale of an activation.
    fn rounded(
        &self,
        value: ValueId,
        histograms: &BTreeMap<ValueId, ValueHistogram>,
        ranges: RangeMethod,
    ) -> Result<RoundedTensor> {
        let values = self.placement.histogram(value, histograms);
        let slope = self.placement.slopes.get(&value).copied();
        let scale = scales::of_histogram(&values, slope, (ranges, self.runtime.grid()))?;
        let op = self.graph.values[value].producer.map(|node| self.graph.nodes[node].op_type.clone());
        Ok(RoundedTensor { name: self.graph.name(value).to_owned(), op, scale, values })
    }
}
