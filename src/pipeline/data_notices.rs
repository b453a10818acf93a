//! Notices about a data set and its preprocessing, before it is used.

use super::calibration::Calibration;
use super::norm_fit::FirstNorm;
use super::other_recipes::{self, OtherRecipe};
use crate::data::{Batch, Dataset};
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

/// The share of its divergence at which a likely recipe shows that the one in use is wrong.
///
/// Measured on networks with their own recipes: 0.05 of a recipe that leaves out the mean, at least 0.25 of a right recipe
/// on foreign images.
const BETTER: f64 = 0.1;

/// Values before the first BatchNormalization, compared with its stored statistics.
struct Compared {
    norm: FirstNorm,
    images: Batch,
    divergence: f64,
}

/// Reports the preprocessing of a data set, and doubts about it.
///
/// # Errors
/// Samples that do not fit the network.
pub(super) fn notice_data(graph: &Graph, data: &Dataset, observer: &mut dyn Observer) -> Result<()> {
    noticed(graph, data, observer).map(|_| ())
}

/// Reports as [`notice_data`]; returns the doubts and their measurement, if there is one.
fn noticed(
    graph: &Graph,
    data: &Dataset,
    observer: &mut dyn Observer,
) -> Result<(Vec<Doubt>, Option<Compared>)> {
    observer.notice(Notice::Preprocessing(data.describe()?));
    let mut doubts = data.doubts()?;
    let compared = compared(graph, data)?.filter(|compared| compared.divergence > FAR);
    doubts.extend(compared.as_ref().map(|compared| Doubt::Statistics {
        node: compared.norm.node.clone(),
        divergence: compared.divergence,
    }));
    doubts.iter().for_each(|doubt| observer.notice(Notice::Doubtful(doubt.clone())));
    Ok((doubts, compared))
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

/// Reports as [`notice_calibration`], before channels are removed by these images.
///
/// # Errors
/// A preprocessing that is certainly wrong, unless `force` is set. Else as [`notice_data`].
pub(super) fn check_calibration(
    graph: &Graph,
    calibration: Option<&Calibration>,
    force: bool,
    observer: &mut dyn Observer,
) -> Result<()> {
    let Some(data) = calibration.map(|calibration| &calibration.fit) else { return Ok(()) };
    let (doubts, compared) = noticed(graph, data, observer)?;
    if force {
        return Ok(());
    }
    // Stored values are more specific than statistics.
    if let Some(error) = doubts.iter().find_map(bytes_as_shares) {
        return Err(data.blame(error));
    }
    let misfit = compared.map(|compared| compared.misfit(graph, data)).transpose()?.flatten();
    misfit.map_or(Ok(()), |error| Err(data.blame(error)))
}

/// Returns the error for bytes that are normalized as values from 0 to 1.
fn bytes_as_shares(doubt: &Doubt) -> Option<Error> {
    let Doubt::ByteValues { high } = doubt else { return None };
    Some(
        Error::new(
            "the mean and deviation are those of values from 0 to 1, but the stored values are larger",
        )
        .expected("values up to 1 after the division by `scale`")
        .got(format!("values up to {high:.0}"))
        .remedy("set `scale` to 255, or set `force` to go on"),
    )
}

impl Compared {
    /// Returns the error for a recipe that is certainly wrong.
    ///
    /// A network that was never trained stores statistics without a meaning. That they have one is shown by labels, whose
    /// fit is checked later, or by a likely recipe that fits far better.
    fn misfit(&self, graph: &Graph, data: &Dataset) -> Result<Option<Error>> {
        let Self { norm, images, divergence } = self;
        let is_labelled = data.labels().is_some();
        if is_labelled && *divergence <= CERTAIN {
            return Ok(None);
        }
        let better = other_recipes::best(graph, norm, data, images)?;
        let better = better.filter(|better| better.divergence <= BETTER * divergence.min(CERTAIN));
        let expected = match &better {
            Some(OtherRecipe { options, divergence }) => {
                format!("a divergence of {divergence:.2} nats a channel, as with {options}")
            }
            None if is_labelled => {
                "a divergence below 0.5 nats a channel, as with the preprocessing of the training".to_owned()
            }
            None => return Ok(None),
        };
        Ok(Some(
            Error::new("values before the first BatchNormalization are far from its stored statistics")
                .node(&norm.node)
                .expected(expected)
                .got(format!("{divergence:.1}"))
                .remedy("rank recipes by `eval()` with `try_presets`, or set `force` to go on"),
        ))
    }
}

/// Compares the values before the first BatchNormalization with its stored statistics.
///
/// The CPU runs the few layers before it, whatever device the network is run on.
fn compared(graph: &Graph, data: &Dataset) -> Result<Option<Compared>> {
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
    Ok(Some(Compared { norm, images, divergence }))
}
