//! A network whose layers have shared weights.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::share;
use super::codebook::Codebook;
use super::packing::PaletteBits;
use super::write::write;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::observer::Observer;
use crate::onnx::Model;
use crate::prune::{Channels, reread, with_constants};
use crate::repair::{FilterSystem, Images, refit_constrained};
use crate::stats::{Filters, layers};
use crate::tensor::Tensor;

/// A network with shared weights.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The model with codebooks and indices in place of weights.
    pub model: Model,
    /// The layers with shared weights.
    pub layers: Vec<String>,
    /// The layers whose weights stay as they are, with the reason.
    pub kept: Vec<(String, &'static str)>,
    /// The layers with shared weights that were not refitted, with the reason.
    pub unrefitted: Vec<(String, &'static str)>,
    /// The bits of an index.
    pub bits: PaletteBits,
}

/// The bytes that nodes and names of a layer's shared weights take in a file.
const OVERHEAD: usize = 400;

/// Replaces the weights of layers by codebooks and indices of `bits`.
///
/// Without images, the values minimize the error of the weights. With images, each layer is refitted to the outputs of
/// the original, from the network's input to its output: weights by least squares, then codebook and indices by the
/// second moments of its input, then the bias. Layers whose weights would not become smaller are kept; with images they
/// are refitted, too.
///
/// # Errors
/// The conditions of [`repair`](crate::repair::repair).
pub fn share_weights(
    model: &Model,
    (graph, channels): (&Graph, &Channels),
    bits: PaletteBits,
    images: Option<(&Device, &Images)>,
    observer: &mut dyn Observer,
) -> Result<Shared> {
    let (weights, found, kept) = sharable_weights(graph, bits)?;
    let rounded: BTreeMap<ValueId, Tensor> = weights
        .iter()
        .map(|(&value, tensor)| {
            let numbers = tensor.floats()?;
            let book = Codebook::of(numbers, None, bits.values());
            let rounded = Tensor::float(&tensor.shape, book.rounded(numbers));
            Ok((value, Tensor { dtype: tensor.dtype, ..rounded }))
        })
        .collect::<Result<_>>()?;
    let (changed, unrefitted) = match images {
        Some(images) => {
            let mut constrain =
                |systems: &[FilterSystem], filters: &mut Filters| share(systems, filters, bits.values());
            let refit = refit_constrained(graph, channels, &rounded, images, &mut constrain, observer)?;
            (refit.apply(model)?, refit.skipped)
        }
        None => {
            let named: Vec<(String, &Tensor)> =
                rounded.iter().map(|(&value, tensor)| (graph.name(value).to_owned(), tensor)).collect();
            (with_constants(model, named.iter().map(|(name, tensor)| (name, *tensor)), [])?, vec![])
        }
    };
    let names: BTreeSet<String> = weights.keys().map(|&value| graph.name(value).to_owned()).collect();
    let model = reread(write(&changed, &names, bits)?, &model.path)?;
    Ok(Shared { model, layers: found, kept, unrefitted, bits })
}

/// Returns the weights to share, their layers, and the layers whose weights stay, with the reason.
fn sharable_weights(
    graph: &Graph,
    bits: PaletteBits,
) -> Result<(BTreeMap<ValueId, Tensor>, Vec<String>, Vec<(String, &'static str)>)> {
    let facts = Facts::infer(graph, &graph.input_shapes(None, &Sizes::Own)?)?;
    let (mut weights, mut found, mut kept) = (BTreeMap::new(), vec![], vec![]);
    for taps in layers(graph, &facts) {
        let name = graph.nodes[taps.node].name.clone();
        let value = facts.get(taps.weight).and_then(|fact| fact.value.as_ref());
        let made = graph.values[taps.weight].producer.map(|node| graph.nodes[node].op_type.as_str());
        let Some(tensor) = value else { continue };
        let floats = tensor.floats().ok();
        let bytes = tensor.len() * tensor.dtype.size();
        let shared =
            tensor.len() * bits.bits() as usize / 8 + bits.values().min(tensor.len()) * tensor.dtype.size();
        let reason = if made == Some("DequantizeLinear") || floats.is_none() {
            Some("has quantized weights")
        } else if floats.is_some_and(|w| w.iter().any(|w| !w.is_finite())) {
            Some("has weights that are not finite")
        } else if graph.outputs.contains(&taps.weight) {
            Some("has weights that are an output of the network")
        } else if shared + OVERHEAD >= bytes {
            Some("has too few weights to become smaller")
        } else {
            None
        };
        match reason {
            Some(reason) => kept.push((name, reason)),
            None => {
                found.push(name);
                weights.insert(taps.weight, tensor.clone());
            }
        }
    }
    Ok((weights, found, kept))
}
