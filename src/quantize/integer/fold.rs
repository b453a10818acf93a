//! BatchNormalizations folded into the convolutions before them.
//!
//! Runtimes fuse a convolution of integers only with what its weights and bias contain.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::graph::facts::Facts;
use crate::graph::flatten::flatten;
use crate::graph::{Graph, NodeId, ValueId};
use crate::onnx::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor::encode;
use crate::prune::{remove_unused, used_names};
use crate::stats::{Filters, LayerTaps, layers};
use crate::tensor::Tensor;

/// Folds the BatchNormalizations that are the only readers of a convolution, and removes them; other nodes stay.
///
/// # Errors
/// A model whose functions and branches cannot be flattened, or that is not valid.
pub fn fold_batch_norms(model: &Model) -> Result<Model> {
    let mut model = flatten(model)?.into_owned();
    let graph = Graph::from_model(&model)?;
    let facts = Facts::at_own_size(&graph)?;
    let folds: Vec<Fold> = layers(&graph, &facts)
        .iter()
        .filter_map(|taps| Fold::of(&graph, &facts, taps).transpose())
        .collect::<Result<_>>()?;
    if folds.is_empty() {
        return Ok(model);
    }
    let proto = model.graph_mut();
    let before = used_names(proto);
    let mut stored: BTreeMap<String, TensorProto> = BTreeMap::new();
    let mut removed = BTreeSet::new();
    for fold in folds {
        let (name, bias) = (format!("{}.folded", fold.weight), format!("{}.folded_bias", fold.weight));
        stored.insert(name.clone(), encode(&name, &fold.new_weight));
        stored.insert(bias.clone(), encode(&bias, &fold.new_bias));
        let norm_output = proto.node[fold.norm].output[0].clone();
        let node = &mut proto.node[fold.layer];
        node.input.resize(node.input.len().max(3), String::new());
        (node.input[1], node.input[2]) = (name, bias);
        node.output[0] = norm_output;
        removed.insert(fold.norm);
    }
    let mut position = 0;
    proto.node.retain(|_| {
        position += 1;
        !removed.contains(&(position - 1))
    });
    proto.initializer.extend(stored.into_values());
    remove_unused(proto, &before);
    Ok(model)
}

/// A convolution and the BatchNormalization that is folded into it.
struct Fold {
    layer: usize,
    norm: usize,
    weight: String,
    new_weight: Tensor,
    new_bias: Tensor,
}

impl Fold {
    fn of(graph: &Graph, facts: &Facts, taps: &LayerTaps) -> Result<Option<Self>> {
        let node = &graph.nodes[taps.node];
        let Some(norm) = batch_norm(graph, taps).filter(|_| node.op_type == "Conv") else { return Ok(None) };
        let inputs = facts.inputs(graph, norm);
        let Some((scale, shift)) = graph.nodes[norm].op.scale_shift(&inputs) else { return Ok(None) };
        let constant = |input: usize| {
            let value = node.inputs.get(input).copied().flatten()?;
            facts.get(value)?.value.clone()
        };
        let Some(weight) = constant(1).filter(|_| is_plain(graph, taps.weight)) else { return Ok(None) };
        let mut filters = Filters::of(&taps.layer, &weight, constant(2).as_ref())?;
        for (f, row) in filters.rows.iter_mut().enumerate() {
            row.iter_mut().for_each(|w| *w *= scale[f]);
            filters.bias[f] = filters.bias[f] * scale[f] + shift[f];
        }
        let rows: Vec<f32> = filters.rows.iter().flatten().map(|&w| w as f32).collect();
        let bias: Vec<f32> = filters.bias.iter().map(|&b| b as f32).collect();
        Ok(Some(Self {
            layer: node.position,
            norm: graph.nodes[norm].position,
            weight: graph.name(taps.weight).to_owned(),
            new_weight: Tensor { dtype: weight.dtype, ..Tensor::float(&weight.shape, rows) },
            new_bias: Tensor { dtype: weight.dtype, ..Tensor::float(&[bias.len()], bias) },
        }))
    }
}

/// Returns whether a constant is stored as it is, and not as the integers or indices of a quantization.
pub(super) fn is_plain(graph: &Graph, constant: ValueId) -> bool {
    const PLAIN: [&str; 4] = ["Constant", "Identity", "Transpose", "Unsqueeze"];
    let inputs = |node: NodeId| graph.nodes[node].inputs.iter().flatten().copied();
    graph.values[constant].producer.is_none_or(|node| {
        PLAIN.contains(&graph.nodes[node].op_type.as_str())
            && inputs(node).all(|input| is_plain(graph, input))
    })
}

/// Returns the BatchNormalization that alone reads a layer's output.
fn batch_norm(graph: &Graph, taps: &LayerTaps) -> Option<NodeId> {
    let output = graph.nodes[taps.node].outputs.first().copied().flatten()?;
    let next = graph.only_consumer(output)?;
    let alone = graph.nodes[next].outputs.iter().flatten().count() == 1;
    (graph.nodes[next].op_type == "BatchNormalization" && alone).then_some(next)
}
