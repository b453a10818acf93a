//! The pass that gathers gradients of gates: after the statistics, over the same images.

use super::image_source::ImageSource;
use super::metric::{MetricOptions, choose};
use super::network::Network;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::facts::{Facts, takes_batches};
use crate::graph::{Graph, Sizes};
use crate::observer::{Notice, Observer, Stage, staged};
use crate::stats::{GATE_BATCH, GradientHeader, ImageGates, Profile};
use crate::tensor::{Precision, SampleShape};
use crate::train::{GateObjective, GateOptions, Gates};

/// Gathers the gradients that a profile lacks, over the images that its statistics have seen.
///
/// An observer that breaks ends the pass after the current images. The profile then has the gradients of the batches before
/// them, and another pass continues there (`header.gradients.complete`).
pub(super) fn gather_gradients(
    network: &Network,
    device: &Device,
    source: ImageSource,
    batch: Option<usize>,
    profile: &mut Profile,
    observer: &mut dyn Observer,
) -> Result<()> {
    let (graph, data) = (&network.graph, source.dataset());
    let end = profile.header.position;
    let begun = profile.header.gradients.as_ref();
    if begun.is_some_and(|gradients| gradients.complete) {
        return Ok(());
    }
    let start = begun.map_or(0, |gradients| gradients.position);
    staged(observer, Stage::Gradients, end.saturating_sub(start), |observer| {
        let device = device.clone().at(Precision::F32)?;
        let sample = source.sample()?;
        let objective = objective(graph, data, &sample)?;
        let mut gates = Gates::new(
            graph,
            &device,
            GateOptions { objective, batch, images: end.saturating_sub(start), sample },
        )?;
        if !gates.stops().is_empty() {
            observer.notice(Notice::GradientStops { nodes: gates.stops().to_vec() });
        }
        let fresh = || GradientHeader::new(objective.loss(), gates.stops().to_vec());
        let header = profile.header.gradients.get_or_insert_with(fresh);
        if header.loss != objective.loss() {
            return Err(Error::new("the gradients to continue are of another loss")
                .file(&graph.path)
                .expected(objective.loss().to_string())
                .got(header.loss.to_string())
                .remedy(
                    "give the images as before, with or without labels, or begin anew with another file",
                ));
        }
        gathered(&mut gates, (source, start, end), profile, observer)
    })
}

/// Adds the gradients of the images between two places, batch by batch.
fn gathered(
    gates: &mut Gates,
    (source, start, end): (ImageSource, usize, usize),
    profile: &mut Profile,
    observer: &mut dyn Observer,
) -> Result<()> {
    let mut waiting: Vec<ImageGates> = Vec::with_capacity(GATE_BATCH);
    let mut done = 0;
    for images in source.batches_from(start, gates.batch()) {
        let images = images?;
        for image in gates.run(&images)?.into_iter().filter(|image| image.next <= end) {
            waiting.push(image.gradients);
            if waiting.len() == GATE_BATCH {
                add(profile, &mut waiting, image.next);
            }
        }
        done += images.count;
        if images.next >= end {
            break;
        }
        if observer.advance(done as u64).is_break() {
            return Ok(());
        }
    }
    add(profile, &mut waiting, end);
    if let Some(header) = &mut profile.header.gradients {
        header.complete = true;
    }
    Ok(())
}

/// Adds the images that wait, the last of which is in front of a place.
fn add(profile: &mut Profile, waiting: &mut Vec<ImageGates>, next: usize) {
    profile.add_gates(waiting);
    waiting.clear();
    if let Some(header) = &mut profile.header.gradients {
        header.position = next;
    }
}

/// Chooses the loss: of labels or drawn classes if an output is judged as a classification, else of all outputs.
fn objective(graph: &Graph, data: &Dataset, sample: &SampleShape) -> Result<GateObjective> {
    let batch = takes_batches(graph).then_some(1);
    let facts = Facts::infer(graph, &graph.input_shapes(batch, &Sizes::Sample(sample.clone()))?)?;
    let is_known = graph.outputs.iter().all(|&output| !facts.is_data_dependent(output));
    let known = Some(&facts).filter(|_| is_known);
    let choice = choose(graph, (known, facts.samples.max(1)), data, &MetricOptions::default(), false)?;
    let scores = choice.classification.and_then(|judged| Some((judged.output, judged.classes?)));
    Ok(match scores {
        Some((output, classes)) => GateObjective::Classes { output, classes, labels: choice.has_labels },
        None => GateObjective::Outputs,
    })
}
