//! Notices about a data set and its preprocessing, before it is used.

use super::calibration::Calibration;
use super::norm_fit::FirstNorm;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::{Doubt, Notice, Observer};

/// The number of samples that are compared with stored statistics.
const SAMPLES: usize = 16;
/// The divergence from stored statistics, in nats a channel, that no right recipe reaches.
///
/// Measured: at most 0.05 with the right recipe, 0.5 and more with a wrong one, 10 with values 0..255 in place of 0..1.
const FAR: f64 = 1.0;
/// The divergence at which the recipe is certainly wrong.
const CERTAIN: f64 = 5.0;

/// Reports the preprocessing of a data set, and doubts about it, which are returned.
///
/// # Errors
/// Samples that do not fit the network.
pub(super) fn notice_data(graph: &Graph, data: &Dataset, observer: &mut dyn Observer) -> Result<Vec<Doubt>> {
    observer.notice(Notice::Preprocessing(data.describe()?));
    let mut doubts = data.doubts()?;
    doubts.extend(far_from_training(graph, data)?);
    doubts.iter().for_each(|doubt| observer.notice(Notice::Doubtful(doubt.clone())));
    Ok(doubts)
}

/// Reports the preprocessing of calibration images, if there are any, and doubts about it.
///
/// # Errors
/// As [`notice_data`].
pub(super) fn notice_calibration(
    graph: &Graph,
    calibration: Option<&Calibration>,
    observer: &mut dyn Observer,
) -> Result<Vec<Doubt>> {
    calibration.map_or(Ok(vec![]), |calibration| notice_data(graph, &calibration.fit, observer))
}

/// Reports as [`notice_calibration`], before channels are removed by these images.
///
/// # Errors
/// A preprocessing that is certainly wrong, unless `force` is set. Statistics of training count only beside labels, since
/// a network that was never trained stores none that mean anything. Else as [`notice_data`].
pub(super) fn check_calibration(
    graph: &Graph,
    calibration: Option<&Calibration>,
    force: bool,
    observer: &mut dyn Observer,
) -> Result<()> {
    let doubts = notice_calibration(graph, calibration, observer)?;
    let Some(data) = calibration.map(|calibration| &calibration.fit).filter(|_| !force) else {
        return Ok(());
    };
    // The first is the most specific.
    let error = doubts.iter().find_map(|doubt| certainty(doubt, data.labels().is_some()));
    error.map_or(Ok(()), |error| Err(data.blame(error)))
}

/// Returns the error for a doubt that is certain.
fn certainty(doubt: &Doubt, has_labels: bool) -> Option<Error> {
    match doubt {
        Doubt::ByteValues { high } => Some(
            Error::new(
                "the mean and deviation are those of values from 0 to 1, but the stored values are larger",
            )
            .expected("values up to 1 after the division by `scale`")
            .got(format!("values up to {high:.0}"))
            .remedy("set `scale` to 255, or set `force` to go on"),
        ),
        Doubt::Statistics { node, divergence } if has_labels && *divergence > CERTAIN => Some(
            Error::new("values before the first BatchNormalization are far from its stored statistics")
                .node(node)
                .expected("a divergence below 0.5 nats a channel, as with the preprocessing of the training")
                .got(format!("{divergence:.1}"))
                .remedy("rank recipes by `eval()` with `try_presets`, or set `force` to go on"),
        ),
        _ => None,
    }
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
