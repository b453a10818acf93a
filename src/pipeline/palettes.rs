//! Shared weights: a network whose layers have few different weights, judged against the original.

use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::evaluation::{Evaluation, evaluate_against};
use super::kept_outputs::Reference;
use super::metric::MetricOptions;
use super::network::Network;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::quantize::coding::{CodedSize, coded_size};
use crate::quantize::palette::{PaletteBits, Shared, share_weights};
use crate::repair::Repair;

/// A network with shared weights, and its size.
#[derive(Clone, Debug)]
pub struct SharedNetwork {
    /// The model with codebooks and indices in place of weights, and its layers.
    pub shared: Shared,
    /// The coded size of the original and of the new model.
    pub coded: [CodedSize; 2],
    /// The quality against the original, if there are images.
    pub evaluation: Option<Evaluation>,
}

/// Shares the weights of each layer, and judges the result against the original.
///
/// Without images, or with the repair `none`, the values minimize the error of the weights; else each layer is refitted to
/// the outputs of the original.
///
/// # Errors
/// A network without a layer whose weights become smaller, images that cannot be read, a device that fails, and an
/// observer that breaks.
pub fn share(
    network: &Network,
    bits: PaletteBits,
    (device, batch): (&Device, Option<usize>),
    (calibration, repair): (Option<&Calibration>, Repair),
    metric: &MetricOptions,
    observer: &mut dyn Observer,
) -> Result<SharedNetwork> {
    check_calibration(&network.graph, calibration, metric.force, observer)?;
    let images = calibration.filter(|_| repair != Repair::None);
    let images = images.map(|calibration| calibration.images(observer)).transpose()?;
    let of = (&network.graph, &network.channels);
    let with = images.map(|images| (device, images));
    let shared = share_weights(&network.model, of, bits, with, observer)?;
    if shared.layers.is_empty() {
        return Err(Error::new("no layer has weights that can be shared")
            .file(&network.model.path)
            .expected("a layer of more than about a hundred weights in floating point")
            .got(shared.kept.first().map_or_else(
                || "a network without layers".to_owned(),
                |(layer, why)| format!("{} layers, of which {layer} {why}", shared.kept.len()),
            ))
            .remedy("use a larger network, or one that is not quantized yet"));
    }
    let graph = Graph::from_model(&shared.model)?;
    let evaluate = |calibration: &Calibration| {
        let reference = Some(Reference::from(&network.graph));
        evaluate_against(&graph, reference, device, &calibration.judge, (batch, metric), observer)
    };
    let evaluation = calibration.map(evaluate).transpose()?;
    let coded = [coded_size(&network.model)?, coded_size(&shared.model)?];
    Ok(SharedNetwork { shared, coded, evaluation })
}
