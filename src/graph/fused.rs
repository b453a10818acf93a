//! Nodes of ONNX Runtime's optimizer (domain com.microsoft), read as the standard nodes that they fuse.
//!
//! The nodes of a fusion share the position of the fused node in the file. The file keeps that node: constants are cut by
//! name, and the node's attributes and inputs are those of the layer that it contains.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::onnx::attrs::{Attrs, node_label};
use crate::onnx::proto::{AttributeProto, AttributeType, NodeProto};
use crate::ops::MICROSOFT;

/// The operators that are read as several standard ones, or as one of another name, with the standard names.
pub const FUSIONS: &[(&str, &str)] = &[
    ("BiasGelu", "Add, Gelu"),
    ("FastGelu", "Add, Gelu"),
    ("FusedConv", "Conv, Add, an activation"),
    ("FusedGemm", "Gemm, an activation"),
    ("Gelu", "Gelu"),
    ("QuickGelu", "Swish"),
    ("SkipLayerNormalization", "Add, LayerNormalization"),
    ("SkipSimplifiedLayerNormalization", "Add, RMSNormalization"),
];

/// The parameters that a fused activation has in the standard, in the order of `activation_params`.
const ACTIVATIONS: &[(&str, [&str; 2])] = &[
    ("Clip", ["min", "max"]),
    ("Elu", ["alpha", ""]),
    ("HardSigmoid", ["alpha", "beta"]),
    ("LeakyRelu", ["alpha", ""]),
    ("Relu", ["", ""]),
    ("Selu", ["alpha", "gamma"]),
    ("Sigmoid", ["", ""]),
    ("Softplus", ["", ""]),
    ("Softsign", ["", ""]),
    ("Tanh", ["", ""]),
    ("ThresholdedRelu", ["alpha", ""]),
];

/// Returns whether a node is of a fused operator of ONNX Runtime.
pub(super) fn is_fusion(node: &NodeProto) -> bool {
    node.domain() == MICROSOFT && FUSIONS.iter().any(|(name, _)| *name == node.op_type())
}

/// Returns nodes of standard operators in place of fused ones, with the position of each in `nodes`.
///
/// # Errors
/// A fused activation that is not supported.
pub(super) fn unfused(nodes: &[NodeProto], opset: i64) -> Result<(Cow<'_, [NodeProto]>, Vec<usize>)> {
    if !nodes.iter().any(is_fusion) {
        return Ok((Cow::Borrowed(nodes), (0..nodes.len()).collect()));
    }
    let (mut all, mut positions) = (Vec::with_capacity(nodes.len()), Vec::with_capacity(nodes.len()));
    for (position, node) in nodes.iter().enumerate() {
        if is_fusion(node) {
            let parts = parts(node, opset).map_err(|e| e.at(node.op_type(), node_label(node)))?;
            all.extend(parts);
        } else {
            all.push(node.clone());
        }
        positions.resize(all.len(), position);
    }
    Ok((Cow::Owned(all), positions))
}

/// The standard nodes of one fused node, in the order in which they run.
struct Parts<'a> {
    fused: &'a NodeProto,
    nodes: Vec<NodeProto>,
}

impl Parts<'_> {
    /// Returns the name of an inner value that no file contains.
    fn inner(&self) -> String {
        format!("{}#{}", node_label(self.fused), self.nodes.len())
    }

    /// Returns input `i` of the fused node; empty if absent.
    fn input(&self, i: usize) -> String {
        self.fused.input.get(i).cloned().unwrap_or_default()
    }

    /// Adds a node with a new inner output, and returns that output's name.
    fn add(&mut self, op: &str, input: Vec<String>, attribute: Vec<AttributeProto>) -> String {
        let output = self.inner();
        // The first node has the name of the fused one, so that layers keep their names.
        let label = node_label(self.fused);
        let name = if self.nodes.is_empty() { label } else { format!("{label}/{op}") };
        self.nodes.push(NodeProto {
            op_type: Some(op.to_owned()),
            name: Some(name),
            input,
            output: vec![output.clone()],
            attribute,
            ..NodeProto::default()
        });
        output
    }

    /// Adds a scalar constant, and returns its name.
    fn constant(&mut self, value: f32) -> String {
        self.add("Constant", vec![], vec![float("value_float", value)])
    }

    /// Adds an activation by its standard name, with parameters.
    fn activation(&mut self, x: String, name: &str, params: &[f32], opset: i64) -> Result<String> {
        let Some((name, parameters)) = ACTIVATIONS.iter().find(|(known, _)| *known == name) else {
            return Err(Error::new("a fused activation that is not supported")
                .expected(ACTIVATIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
                .got(format!("\"{name}\""))
                .remedy("prune the file from which ONNX Runtime optimized this one")
                .unsupported());
        };
        let given = parameters.iter().zip(params).filter(|(name, _)| !name.is_empty());
        if *name == "Clip" && opset >= 11 {
            let bounds: Vec<f32> = given.map(|(_, &value)| value).collect();
            let bounds: Vec<String> = bounds.into_iter().map(|value| self.constant(value)).collect();
            let inputs = std::iter::once(x).chain(bounds).collect();
            return Ok(self.add(name, inputs, vec![]));
        }
        let attributes = given.map(|(name, &value)| float(name, value)).collect();
        Ok(self.add(name, vec![x], attributes))
    }

    /// Returns the nodes, the last of which computes output 0 of the fused node.
    fn finish(mut self) -> Vec<NodeProto> {
        if let (Some(last), Some(output)) = (self.nodes.last_mut(), self.fused.output.first()) {
            last.output = vec![output.clone()];
        }
        self.nodes
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Float as i32),
        f: Some(value),
        ..AttributeProto::default()
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::String as i32),
        s: Some(value.as_bytes().to_vec().into()),
        ..AttributeProto::default()
    }
}

fn parts(node: &NodeProto, opset: i64) -> Result<Vec<NodeProto>> {
    let attrs = Attrs::new(node);
    let mut parts = Parts { fused: node, nodes: vec![] };
    let own = |a: &&AttributeProto| !a.name().starts_with("activation");
    let layer: Vec<AttributeProto> = node.attribute.iter().filter(own).cloned().collect();
    let [a, b, c] = [0, 1, 2].map(|i| parts.input(i));
    match node.op_type() {
        "FusedConv" => {
            let mut y = parts.add("Conv", vec![a, b, c], layer);
            let residual = parts.input(3);
            if !residual.is_empty() {
                y = parts.add("Add", vec![y, residual], vec![]);
            }
            if let Some(name) = attrs.string("activation")? {
                let params = attrs.floats("activation_params")?.unwrap_or_default();
                parts.activation(y, &name, &params, opset)?;
            }
        }
        "FusedGemm" => {
            let y = parts.add("Gemm", vec![a, b, c], layer);
            if let Some(name) = attrs.string("activation")? {
                let (alpha, beta, gamma) = (
                    attrs.float("activation_alpha")?,
                    attrs.float("activation_beta")?,
                    attrs.float("activation_gamma")?,
                );
                let params: Vec<f32> = alpha.into_iter().chain(beta.or(gamma)).collect();
                parts.activation(y, &name, &params, opset)?;
            }
        }
        "BiasGelu" => {
            let y = parts.add("Add", vec![a, b], vec![]);
            parts.add("Gelu", vec![y], vec![]);
        }
        "FastGelu" => {
            let y = if b.is_empty() { a } else { parts.add("Add", vec![a, b], vec![]) };
            parts.add("Gelu", vec![y], vec![text("approximate", "tanh")]);
        }
        "QuickGelu" => {
            let alpha = attrs.float_or("alpha", 1.702)?;
            parts.add("Swish", vec![a], vec![float("alpha", alpha)]);
        }
        "SkipLayerNormalization" => {
            let (scale, shift, bias) = (c, parts.input(3), parts.input(4));
            skip_normalization(&mut parts, "LayerNormalization", [a, b, bias], vec![scale, shift])?;
        }
        "SkipSimplifiedLayerNormalization" => {
            let (scale, bias) = (c, parts.input(3));
            skip_normalization(&mut parts, "RMSNormalization", [a, b, bias], vec![scale])?;
        }
        _ => {
            parts.add("Gelu", vec![a], vec![]);
        }
    }
    Ok(parts.finish())
}

/// Adds the sum of `x`, a residual and an optional bias, and its normalization over the last axis.
fn skip_normalization(
    parts: &mut Parts,
    op: &str,
    [x, residual, bias]: [String; 3],
    parameters: Vec<String>,
) -> Result<()> {
    let statistics = parts.fused.output.get(1..3.min(parts.fused.output.len())).unwrap_or_default();
    if statistics.iter().any(|name| !name.is_empty()) {
        return Err(Error::new("a normalization whose mean or deviation is an output")
            .remedy("prune the file from which ONNX Runtime optimized this one")
            .unsupported());
    }
    let mut sum = parts.add("Add", vec![x, residual], vec![]);
    if !bias.is_empty() {
        sum = parts.add("Add", vec![sum, bias], vec![]);
    }
    if let Some(output) = parts.fused.output.get(3).filter(|name| !name.is_empty())
        && let Some(last) = parts.nodes.last_mut()
    {
        last.output = vec![output.clone()];
        sum.clone_from(output);
    }
    let epsilon = Attrs::new(parts.fused).float_or("epsilon", 1e-12)?;
    let inputs = std::iter::once(sum).chain(parameters).collect();
    parts.add(op, inputs, vec![float("epsilon", epsilon)]);
    Ok(())
}
