//! The pass over a data set that counts the values of tensors.
//!
//! Counts stay on the device until the end of the pass: memory does not depend on the number of images. They are exact,
//! so that neither the batch nor the device's order of execution changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ValueHistogram;
use super::samples::{Samples, mixed_value, pass_batch};
use super::value_histogram::ValueSums;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::{Session, SessionOptions};
use crate::graph::facts::Facts;
use crate::graph::{Graph, Sizes, ValueId};
use crate::kernels::moments::ValueCounts;
use crate::observer::{Observer, Stage, advance, staged};
use crate::plan::Probe;
use crate::tensor::SampleShape;

/// Counts the values of tensors over a whole data set.
///
/// Constants are counted once, other tensors for each image. `batch` is the number of images per run; `None` derives it
/// from the device's limits. Equal values may be given several times.
///
/// # Errors
/// A tensor whose shape depends on computed elements, a network that cannot run on the device, a `batch` of several
/// images for a network that mixes them, data that cannot be read, and an observer that breaks.
pub fn value_histograms(
    graph: &Graph,
    values: &[ValueId],
    device: &Device,
    data: &Dataset,
    batch: Option<usize>,
    observer: &mut dyn Observer,
) -> Result<BTreeMap<ValueId, ValueHistogram>> {
    let own = Facts::at_own_size(graph)?;
    let (constants, computed): (Vec<ValueId>, Vec<ValueId>) =
        countable(graph, &own, values)?.into_iter().partition(|&value| own.is_constant(value));
    let mut all: BTreeMap<_, _> =
        constants.into_iter().map(|value| (value, of_constant(&own, value))).collect();
    if computed.is_empty() {
        return Ok(all);
    }
    let mixed = mixed_value(graph, computed.iter().copied())?;
    let batch = pass_batch(graph, mixed, batch)?;
    let probes = |facts: &Facts| count_probes(graph, facts, Samples::of(facts, mixed.is_some()), &computed);
    let open = |sample: &SampleShape| {
        let sizes = Sizes::Sample(sample.clone());
        let wanted =
            SessionOptions { batch, images: data.len(), sizes, outputs: false, ..Default::default() };
        Session::new(graph, device, &wanted, &probes)
    };
    let mut add = |session: &mut Session| {
        for (&value, sums) in computed.iter().zip(session.take_sums()?) {
            let mut own = ValueSums::default();
            own.add(&sums);
            all.entry(value).or_default().add_sums(&own);
        }
        Ok::<_, Error>(())
    };
    staged(observer, Stage::Profiling, data.len(), |observer| {
        let mut session = open(&data.sample()?)?;
        let mut done = 0;
        for images in data.batches(session.batch) {
            let images = images?;
            session.adapt(&images.sample, |old| {
                add(old)?;
                open(&images.sample)
            })?;
            session.run_samples(&images.data, &mut |_, _| Ok(()))?;
            done += images.count;
            advance(observer, done)?;
        }
        add(&mut session)
    })?;
    Ok(all)
}

/// Refuses tensors whose values cannot be counted, and returns the others in order, each once.
pub(super) fn countable(graph: &Graph, own: &Facts, values: &[ValueId]) -> Result<Vec<ValueId>> {
    let mut all = values.to_vec();
    all.sort_unstable();
    all.dedup();
    match all.iter().find(|&&value| own.is_data_dependent(value)) {
        Some(&value) => Err(Error::new("the values of a tensor of data-dependent shape cannot be counted")
            .unsupported()
            .file(&graph.path)
            .node(graph.name(value))
            .remedy("leave the tensor out")),
        None => Ok(all),
    }
}

/// Returns the kernel calls that count the values of computed tensors beside the network.
pub(super) fn count_probes(graph: &Graph, facts: &Facts, samples: Samples, values: &[ValueId]) -> Vec<Probe> {
    let probe = |&value: &ValueId| {
        let elements = facts.shape(value).iter().product::<usize>() / samples.parts;
        let kernel = ValueCounts { samples: samples.count, parts: samples.parts, elements };
        Probe {
            values: vec![value],
            name: graph.name(value).to_owned(),
            shape: vec![ValueCounts::LEN],
            kernel: Arc::new(kernel),
        }
    };
    values.iter().map(probe).collect()
}

/// Returns the histogram of a constant.
fn of_constant(own: &Facts, value: ValueId) -> ValueHistogram {
    let mut histogram = ValueHistogram::default();
    if let Some(tensor) = own.get(value).and_then(|fact| fact.value.as_ref()) {
        let elements: Vec<f32> = tensor.to_f64().into_iter().map(|x| x as f32).collect();
        histogram.add(&elements);
    }
    histogram
}
