//! The pass over a data set that counts the values of tensors.
//!
//! Counts stay on the device until the end of the pass: memory does not depend on the number of images. They are exact,
//! so that neither the batch nor the device's order of execution changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ValueHistogram;
use super::samples::{Samples, mixed_value, pass_batch};
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
    let mut counted = CountedValues::new(graph, &own, values)?;
    if !counted.values.is_empty() {
        let batch = pass_batch(graph, counted.mixed, batch)?;
        let open = |sample: &SampleShape, counted: &CountedValues| {
            let sizes = Sizes::Sample(sample.clone());
            let wanted =
                SessionOptions { batch, images: data.len(), sizes, outputs: false, ..Default::default() };
            Session::new(graph, device, &wanted, &|facts| counted.probes(graph, facts))
        };
        let mut sums = Vec::new();
        staged(observer, Stage::Profiling, data.len(), |observer| {
            let mut session = open(&data.sample()?, &counted)?;
            let mut done = 0;
            for images in data.batches(session.batch) {
                let images = images?;
                session.adapt(&images.sample, |old| {
                    sums.push(old.take_sums()?);
                    open(&images.sample, &counted)
                })?;
                session.run_samples(&images.data, &mut |_, _| Ok(()))?;
                done += images.count;
                advance(observer, done)?;
            }
            sums.push(session.take_sums()?);
            Ok(())
        })?;
        sums.iter().for_each(|sums| counted.add(sums));
    }
    Ok(counted.finish(&own))
}

/// Tensors whose values are counted, with the counts so far.
#[derive(Clone, Debug)]
pub(super) struct CountedValues {
    /// The computed tensors, whose counts are sums of a session.
    pub(super) values: Vec<ValueId>,
    histograms: Vec<ValueHistogram>,
    constants: Vec<ValueId>,
    /// The first tensor that mixes the samples of a pass.
    pub(super) mixed: Option<ValueId>,
}

impl CountedValues {
    /// Starts without counts.
    ///
    /// # Errors
    /// A tensor whose shape depends on computed elements.
    pub(super) fn new(graph: &Graph, own: &Facts, values: &[ValueId]) -> Result<Self> {
        let mut all = values.to_vec();
        all.sort_unstable();
        all.dedup();
        if let Some(&value) = all.iter().find(|&&value| own.is_data_dependent(value)) {
            return Err(Error::new("the values of a tensor of data-dependent shape cannot be counted")
                .unsupported()
                .file(&graph.path)
                .node(graph.name(value))
                .remedy("leave the tensor out"));
        }
        let (constants, values): (Vec<ValueId>, Vec<ValueId>) =
            all.into_iter().partition(|&value| own.is_constant(value));
        let mixed = mixed_value(graph, values.iter().copied())?;
        let histograms = vec![ValueHistogram::default(); values.len()];
        Ok(Self { values, histograms, constants, mixed })
    }

    /// Returns the kernel calls that count values beside the network, in the order of [`CountedValues::add`].
    pub(super) fn probes(&self, graph: &Graph, facts: &Facts) -> Vec<Probe> {
        let samples = Samples::of(facts, self.mixed.is_some());
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
        self.values.iter().map(probe).collect()
    }

    /// Adds the sums of a session.
    pub(super) fn add(&mut self, sums: &[Vec<f32>]) {
        self.histograms.iter_mut().zip(sums).for_each(|(histogram, sums)| histogram.add_counts(sums));
    }

    /// Returns the histograms, those of constants from their elements.
    pub(super) fn finish(self, own: &Facts) -> BTreeMap<ValueId, ValueHistogram> {
        let constant = |value: ValueId| {
            let mut histogram = ValueHistogram::default();
            if let Some(tensor) = own.get(value).and_then(|fact| fact.value.as_ref()) {
                let elements: Vec<f32> = tensor.to_f64().into_iter().map(|x| x as f32).collect();
                histogram.add(&elements);
            }
            (value, histogram)
        };
        let constants = self.constants.into_iter().map(constant);
        self.values.into_iter().zip(self.histograms).chain(constants).collect()
    }
}
