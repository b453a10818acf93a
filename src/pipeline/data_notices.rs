//! Notices about a data set and its preprocessing, before it is used.

use super::calibration::Calibration;
use super::norm_fit::FirstNorm;
use crate::data::Dataset;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::{Doubt, Notice, Observer};

/// The number of samples that are compared with stored statistics.
const SAMPLES: usize = 16;
/// The divergence from stored statistics, in nats a channel, that no right recipe reaches.
///
/// Measured: at most 0.05 with the right recipe, 0.5 and more with a wrong one, 10 with values 0..255 in place of 0..1.
const FAR: f64 = 1.0;

/// Reports the preprocessing of a data set, and doubts about it.
///
/// # Errors
/// Samples that do not fit the network.
pub(super) fn notice_data(graph: &Graph, data: &Dataset, observer: &mut dyn Observer) -> Result<()> {
    observer.notice(Notice::Preprocessing(data.describe()?));
    let doubts = data.doubts()?.into_iter().chain(far_from_training(graph, data)?);
    doubts.for_each(|doubt| observer.notice(Notice::Doubtful(doubt)));
    Ok(())
}

/// Reports the preprocessing of calibration images, if there are any, and doubts about it.
///
/// # Errors
/// As [`notice_data`].
pub(super) fn notice_calibration(
    graph: &Graph,
    calibration: Option<&Calibration>,
    observer: &mut dyn Observer,
) -> Result<()> {
    calibration.map_or(Ok(()), |calibration| notice_data(graph, &calibration.fit, observer))
}

/// Compares the values before the first BatchNormalization with its stored statistics.
///
/// The CPU runs the few layers before it, whatever device the network is run on.
fn far_from_training(graph: &Graph, data: &Dataset) -> Result<Option<Doubt>> {
    if data.is_random() {
        return Ok(None);
    }
    // A pass that fails is reported where the images are used.
    let Some(Ok(images)) = data.batches(SAMPLES).next() else { return Ok(None) };
    let Some(norm) = FirstNorm::of(graph, &images.sample)? else { return Ok(None) };
    let mut session = norm.session(graph, &Device::Cpu, &images.sample, (None, images.count))?;
    let mut fit = norm.fit();
    fit.add(&mut session, &images.data)?;
    let divergence = fit.divergence().value;
    Ok((divergence > FAR).then(|| Doubt::Statistics { node: norm.node.clone(), divergence }))
}
