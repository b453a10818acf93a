//! The effect on the outputs of constant channels that consumers with padding lose.
//!
//! A bias replaces a constant exactly where the consumer's window lies within its input. At padded borders the window saw
//! fewer constants, so that outputs may differ from the original's. The original runs beside a network that loses
//! nothing but the constant channels, and the difference is reported.

use super::folded_constants::FoldedConstants;
use super::masked_reference::MaskedReference;
use super::prove::{rounds, run, session};
use crate::compare::{Tolerance, compare};
use crate::data::Batch;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::{Graph, Sizes};
use crate::onnx::Model;

/// Measures the effect of a cut's constant channels on the proof's inputs; `None` if no channel was constant.
///
/// `model` is the model of the cut, before channels are masked. Without padding the effect is zero, and nothing runs.
///
/// # Errors
/// A network that does not run.
pub fn border_effect(
    reference: &MaskedReference,
    (model, inexact): (&Model, bool),
    device: &Device,
    images: Option<&Batch>,
) -> Result<Option<FoldedConstants>> {
    let mut found = reference.folded.clone();
    if found.channels == 0 {
        return Ok(None);
    }
    if !found.borders.is_empty() {
        let alone = MaskedReference::of(model, inexact, &found.alone)?;
        let whole = Graph::from_model(model)?;
        let sizes = images.map_or(Sizes::Own, |batch| Sizes::Sample(batch.sample.clone()));
        let outputs = |graph: Graph| -> Result<_> {
            let session = session(&graph, device, &[], &sizes)?;
            let rounds = rounds(&session, images);
            Ok(run(&graph, session, &[], &MaskedReference::default(), &rounds)?.1)
        };
        let expected = outputs(whole)?;
        let got = outputs(Graph::from_model_owned(alone.masked(model)?)?)?;
        let pairs = expected.iter().flatten().zip(got.iter().flatten());
        let differences = pairs.map(|(a, b)| compare(b, a, Tolerance::NETWORK).max_rel_err);
        found.difference = Some(differences.fold(0.0, f64::max));
    }
    Ok(Some(found))
}
