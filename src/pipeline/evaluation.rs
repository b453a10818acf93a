//! Accuracy of a network on a data set, and agreement with a reference network.

use super::profiling::notice_skipped;
use crate::data::Dataset;
use crate::data::metrics::{Accuracy, Agreement, classes};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::{Observer, Stage, advance, staged};
use crate::tensor::{Precision, SampleShape};

/// The result of an evaluation.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Images that were evaluated.
    pub images: usize,
    /// Top-1 and top-5, if there are labels and classes.
    pub accuracy: Accuracy,
    /// The accuracy of the reference network.
    pub reference_accuracy: Accuracy,
    /// The agreement with the reference network, if there is one.
    pub agreement: Option<Agreement>,
    /// True if outputs have data-dependent shapes, so that their sources were compared in their place.
    pub host_outputs: bool,
}

/// Evaluates a network, and a reference if there is one, on a data set. The reference is computed in `f32`.
///
/// # Errors
/// A network that does not run on the device, data that cannot be read, an observer that breaks.
pub fn evaluate(
    graph: &Graph,
    against: Option<&Graph>,
    device: &Device,
    data: &Dataset,
    batch: Option<usize>,
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    let exact = device.clone().at(Precision::F32)?;
    let open = |graph: &Graph, device: &Device, sample: &SampleShape| {
        Session::for_samples(graph, device, sample, (batch, data.len()))
    };
    let sample = data.sample()?;
    let mut session = open(graph, device, &sample)?;
    let mut reference = against.map(|graph| open(graph, &exact, &sample)).transpose()?;
    // The inputs of a host subgraph are compared in place of outputs: they are no classes.
    let host_outputs = session.host_nodes() > 0;
    let mut found = Evaluation {
        images: 0,
        accuracy: Accuracy::default(),
        reference_accuracy: Accuracy::default(),
        agreement: against.map(|_| Agreement::default()),
        host_outputs,
    };
    let classes_of = |session: &Session| {
        let first = session.plan.outputs.first().filter(|_| session.host_nodes() == 0);
        first.and_then(|port| classes(&port.shape))
    };
    let classes = classes_of(&session);
    let reference_classes = reference.as_ref().and_then(classes_of);
    staged(observer, Stage::Evaluating, data.len(), |observer| {
        for images in data.batches(session.batch) {
            let images = images?;
            if *session.sample() != images.sample {
                session = open(graph, device, &images.sample)?;
                reference = against.map(|graph| open(graph, &exact, &images.sample)).transpose()?;
            }
            let got = session.predict(&images.data)?;
            if let (Some(labels), Some(classes)) = (&images.labels, classes) {
                found.accuracy.add(&got, classes, labels);
            }
            if let (Some(reference), Some(agreement)) = (&mut reference, &mut found.agreement) {
                let expected = reference.predict(&images.data)?;
                agreement.add(&expected, &got, classes);
                if let (Some(labels), Some(classes)) = (&images.labels, reference_classes) {
                    found.reference_accuracy.add(&expected, classes, labels);
                }
            }
            found.images += images.count;
            advance(observer, found.images)?;
        }
        Ok(())
    })?;
    notice_skipped(data, observer);
    Ok(found)
}
