//! Dimensions that the file leaves free (batch, image size) stay free in the pruned network.

use super::channels::Channels;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::facts::Facts;
use crate::graph::{Dim, Graph, GraphInput, IdVec, Sizes, ValueId};
use crate::onnx::Model;

/// Returns input shapes with another batch and with other image sizes, as far as the file leaves these free.
fn other_sizes(graph: &Graph) -> Vec<(Vec<Vec<usize>>, &'static str)> {
    let with = |chosen: fn(&GraphInput, usize) -> bool, other: usize| {
        // A size that the weights determine, or that the user asked for, is not free.
        let free = |input: &GraphInput, at: usize| {
            let open = matches!(input.dims[at], Dim::Free(_)) && (at == 0 || input.sizes[at].is_none());
            open && chosen(input, at) && input.bound.is_none()
        };
        let any = graph.inputs.iter().any(|i| (0..i.dims.len()).any(|at| free(i, at)));
        let mut shapes = graph.input_shapes(None, &Sizes::Own).ok().filter(|_| any)?;
        for (input, shape) in graph.inputs.iter().zip(&mut shapes) {
            let sizes = shape.iter_mut().enumerate().filter(|(at, _)| free(input, *at));
            sizes.for_each(|(_, size)| *size = other);
        }
        Some(shapes)
    };
    let batch = with(|input, at| input.batched && at == 0, OTHER_BATCH).map(|shapes| (shapes, "batches"));
    let images = with(|input, at| !input.batched || at > 0, OTHER_SIZE).map(|shapes| (shapes, "images"));
    batch.into_iter().chain(images).collect()
}

/// Returns for each value and axis whether its length depends on a free dimension.
pub(super) fn following(graph: &Graph, channels: &Channels) -> IdVec<ValueId, Vec<bool>> {
    let mut all: IdVec<ValueId, Vec<bool>> =
        graph.values.ids().map(|v| vec![false; channels.facts.shape(v).len()]).collect();
    for (shapes, _) in other_sizes(graph) {
        let Ok(facts) = Facts::infer(graph, &shapes) else { continue };
        for value in graph.values.ids() {
            let sizes = facts.shape(value).iter().zip(channels.facts.shape(value));
            all[value].iter_mut().zip(sizes).for_each(|(follows, (a, b))| *follows |= a != b);
        }
    }
    all
}

/// Checks that the pruned network accepts every batch and image size that the original accepts.
///
/// Constants that were folded from the shapes of one size would fail here.
pub(super) fn fits_other_sizes(cut: &Model, graph: &Graph) -> Result<()> {
    let after = Graph::shapes_only(cut)?;
    for (shapes, what) in other_sizes(graph) {
        let outputs = |graph: &Graph| -> Result<Vec<Vec<usize>>> {
            let facts = Facts::infer(graph, &shapes)?;
            Ok(graph.outputs.iter().map(|&o| facts.shape(o).to_vec()).collect())
        };
        let Ok(expected) = outputs(graph) else { continue };
        let got = outputs(&after);
        if !matches!(&got, Ok(got) if *got == expected) {
            return Err(Error::new(format!(
                "the pruned network would accept {what} of one size only"
            ))
            .with_kind(ErrorKind::Unsupported)
            .file(&graph.path)
            .expected(format!("outputs {expected:?} for inputs {shapes:?}"))
            .got(got.map_or_else(|e| e.to_string(), |got| format!("{got:?}")))
            .remedy(
                "export the network with the size that you use, or `protect` the layers before its Reshape",
            ));
        }
    }
    Ok(())
}

/// A batch that differs from the default one.
const OTHER_BATCH: usize = 3;

/// An image size that differs from the default one and can be halved five times.
const OTHER_SIZE: usize = 192;
