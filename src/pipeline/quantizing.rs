//! Quantization to 8-bit integers, judged against the original.

use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::evaluation::{Evaluation, evaluate_against};
use super::kept_outputs::Reference;
use super::metric::MetricOptions;
use super::network::Network;
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::exec::session::Session;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::onnx::Model;
use crate::quantize::coding::{CodedSize, coded_size};
use crate::quantize::integer::{Integer, IntegerOptions, Quantizable};
use crate::quantize::range::RangeMethod;
use crate::repair::Repair;
use crate::stats::value_histograms;

/// A network of 8-bit integers, its size and its quality.
#[derive(Clone, Debug)]
pub struct IntegerNetwork {
    /// The model in QDQ form, with its layers and scales.
    pub integer: Integer,
    /// The coded size of the original and of the new model.
    pub coded: [CodedSize; 2],
    /// The quality against the original.
    pub evaluation: Evaluation,
}

/// Quantizes weights and activations to 8-bit integers by calibration images, and judges the result.
///
/// BatchNormalizations are folded into convolutions. Ranges of activations come from histograms of all images; memory
/// does not depend on their number. No labels are needed.
///
/// # Errors
/// No images, the conditions of [`Quantizable::new`] and [`Quantizable::quantize`], images that cannot be read, a device that
/// fails, and an observer that breaks.
pub fn quantize(
    network: &Network,
    options: &IntegerOptions,
    (device, batch): (&Device, Option<usize>),
    calibration: Option<&Calibration>,
    metric: &MetricOptions,
    observer: &mut dyn Observer,
) -> Result<IntegerNetwork> {
    let calibration = calibration.ok_or_else(no_images)?;
    check_calibration(&network.graph, Some(calibration), metric.force, observer)?;
    let integer = integers(&network.model, options, (device, batch), calibration, observer)?;
    let graph = Graph::from_model(&integer.model)?;
    let reference = Some(Reference::from(&network.graph));
    let evaluation =
        evaluate_against(&graph, reference, device, &calibration.judge, (batch, metric), observer)?;
    let coded = [coded_size(&network.model)?, coded_size(&integer.model)?];
    Ok(IntegerNetwork { integer, coded, evaluation })
}

/// Quantizes a model by the calibration images.
pub(super) fn integers(
    model: &Model,
    options: &IntegerOptions,
    (device, batch): (&Device, Option<usize>),
    calibration: &Calibration,
    observer: &mut dyn Observer,
) -> Result<Integer> {
    let mut network = Quantizable::new(model, options)?;
    let original = network.graph().clone();
    if options.repair == Repair::Full {
        network.refit((device, calibration.images(observer)?), observer)?;
    }
    let values = network.counted();
    let counts = value_histograms(network.graph(), &values, device, &calibration.fit, batch, observer)?;
    if let Some(method) = options.ranges {
        return network.quantize(&counts, method);
    }
    // Without a method, that with the outputs nearest to the original's on a few calibration images.
    let images = calibration.fit.batches(TRIED).next().transpose()?;
    let images = images.ok_or_else(no_images)?;
    let outputs = |graph: &Graph| {
        Session::for_samples(graph, device, &images.sample, (batch, images.count))?.predict(&images.data)
    };
    let wanted = outputs(&original)?;
    let mut best: Option<(f64, Integer)> = None;
    for method in METHODS {
        let integer = network.quantize(&counts, method)?;
        let found = outputs(&Graph::from_model(&integer.model)?)?;
        let error: f64 = found.iter().zip(&wanted).map(|(&a, &b)| f64::from(a - b).powi(2)).sum();
        // NaN is no smaller than anything.
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, integer));
        }
    }
    best.map(|(_, integer)| integer).ok_or_else(no_images)
}

/// The number of images on which methods for ranges are compared.
const TRIED: usize = 64;
/// The methods that are compared.
const METHODS: [RangeMethod; 4] = [
    RangeMethod::Mse,
    RangeMethod::Percentile(RangeMethod::PERCENT),
    RangeMethod::MinMax,
    RangeMethod::Entropy,
];

/// Returns the error of a quantization without images.
pub(super) fn no_images() -> Error {
    Error::new("integers need images for the ranges of activations")
        .expected("`data`")
        .remedy("set `data` to images like those that the network will see")
}
