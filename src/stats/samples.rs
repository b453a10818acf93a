//! Samples of a data set in a pass, and whether the tensors of a network keep them apart.
//!
//! Networks fold other axes into the first one: halves of the channels, windows of attention, phases of a dilation,
//! frames of a clip. A tensor then has several slices of each sample, which are consecutive or not. Statistics by
//! sample need consecutive ones. Otherwise, a pass has one sample, to which all of its values belong.

use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::{Session, SessionOptions};
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::{Graph, Sizes, ValueId};

/// The samples of one pass of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples {
    /// Number of samples of a data set in the pass.
    pub count: usize,
    /// Number of parts of the pass that have statistics of their own: all samples, or 1 if tensors mix them.
    pub parts: usize,
}

impl Samples {
    /// Creates the samples of a pass of `facts`, which are one part if tensors mix them.
    pub fn of(facts: &Facts, mixed: bool) -> Self {
        let count = facts.samples.max(1);
        Self { count, parts: if mixed { 1 } else { count } }
    }

    /// Returns the number of samples in each part.
    pub fn of_part(&self) -> usize {
        self.count / self.parts
    }
}

/// Returns the first of `values` that does not store the samples of a pass one after the other.
///
/// Shapes for one and two samples must agree except for the first axis, which doubles. If a value has several slices of
/// each sample, the network runs on synthetic inputs to find out whether they are consecutive. A network with a fixed
/// batch runs, too. Returns `None` if a pass has one sample.
///
/// # Errors
/// Shapes that cannot be inferred, or a network that cannot run.
pub(crate) fn mixed_value(graph: &Graph, values: impl Iterator<Item = ValueId>) -> Result<Option<ValueId>> {
    let values: Vec<ValueId> = values.collect();
    if !takes_batches(graph) {
        let facts = Facts::at_own_size(graph)?;
        return if facts.samples < 2 { Ok(None) } else { dependent_value(graph, &facts, None, &values) };
    }
    let at = |batch| Facts::infer(graph, &graph.input_shapes(Some(batch), &Sizes::Own)?);
    let (one, two) = (at(1)?, at(2)?);
    let apart = |value: ValueId| match (one.shape(value), two.shape(value)) {
        ([a, rest @ ..], [b, others @ ..]) => 2 * a == *b && rest == others,
        _ => false,
    };
    if let Some(&mixed) = values.iter().find(|&&value| !apart(value)) {
        return Ok(Some(mixed));
    }
    let several = |value: &ValueId| one.shape(*value).first() != Some(&1);
    let folded: Vec<ValueId> = values.into_iter().filter(several).collect();
    dependent_value(graph, &two, Some(2), &folded)
}

/// Returns the batch of a pass: 1 if a value mixes the samples, else the wanted one.
///
/// # Errors
/// A wanted batch of several samples that the network mixes.
pub(super) fn pass_batch(
    graph: &Graph,
    mixed: Option<ValueId>,
    wanted: Option<usize>,
) -> Result<Option<usize>> {
    match mixed.filter(|_| takes_batches(graph)) {
        Some(value) if wanted.is_some_and(|b| b > 1) => {
            Err(Error::new("the network mixes the images of a batch")
                .file(&graph.path)
                .node(graph.name(value))
                .expected("a `batch` of 1")
                .got(wanted.unwrap_or_default().to_string())
                .remedy("leave out `batch`"))
        }
        Some(_) => Ok(Some(1)),
        None => Ok(wanted),
    }
}

/// Returns the first of `values` in which elements of other samples depend on the last sample.
///
/// The CPU computes the same bits for a sample, whatever the others are.
fn dependent_value(
    graph: &Graph,
    facts: &Facts,
    batch: Option<usize>,
    values: &[ValueId],
) -> Result<Option<ValueId>> {
    let count = facts.samples;
    let slices = |value: ValueId| facts.shape(value).first().copied().unwrap_or(1);
    let mut taps: Vec<ValueId> = values.to_vec();
    taps.sort_unstable();
    taps.dedup();
    if let Some(&mixed) = taps.iter().find(|&&value| !slices(value).is_multiple_of(count)) {
        return Ok(Some(mixed));
    }
    if taps.is_empty() {
        return Ok(None);
    }
    let options = SessionOptions { batch, taps: taps.clone(), outputs: false, ..SessionOptions::default() };
    let mut session = Session::new(graph, &Device::Cpu, &options, &|_| vec![])?;
    let inputs = session.synthetic_inputs(0);
    let mut others = inputs.clone();
    for (port, input) in session.plan.network_inputs().iter().zip(&mut others) {
        let last = input.len() / count * (count - 1);
        if port.dtype.is_float() && port.shape.first() == Some(&count) {
            input[last..].iter_mut().for_each(|x| *x = -*x);
        }
    }
    let mut run =
        |inputs: &[Vec<f32>]| session.run_steps(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (before, after) = (run(&inputs)?, run(&others)?);
    let mixed = taps.iter().zip(before.iter().zip(&after)).find(|(_, (before, after))| {
        let first = before.len() / count * (count - 1);
        before[..first].iter().zip(&after[..first]).any(|(a, b)| a.to_bits() != b.to_bits())
    });
    Ok(mixed.map(|(&value, _)| value))
}
