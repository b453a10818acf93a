//! Quantization to 8-bit integers, judged against the original.

use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::evaluation::evaluate_against;
use super::integer_network::IntegerNetwork;
use super::kept_outputs::Reference;
use super::metric::MetricOptions;
use super::network::Network;
use super::probe_images::{ProbeImages, no_images};
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::onnx::Model;
use crate::quantize::coding::coded_size;
use crate::quantize::integer::{Integer, IntegerOptions, Quantizable};
use crate::quantize::range::RangeMethod;
use crate::repair::Repair;
use crate::stats::value_histograms;

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
    let quantizing = Quantizing { model: &network.model, options, device, batch, calibration };
    let integer = quantizing.integers(observer)?;
    let graph = Graph::from_model(&integer.model)?;
    let reference = Some(Reference::from(&network.graph));
    let evaluation =
        evaluate_against(&graph, reference, device, &calibration.judge, (batch, metric), observer)?;
    let coded = [coded_size(&network.model)?, coded_size(&integer.model)?];
    Ok(IntegerNetwork { integer, coded, evaluation, sensitivity: vec![], tried: vec![] })
}

/// A network to quantize, with all that its quantization needs.
#[derive(Clone, Copy)]
pub(super) struct Quantizing<'a> {
    pub(super) model: &'a Model,
    pub(super) options: &'a IntegerOptions,
    pub(super) device: &'a Device,
    pub(super) batch: Option<usize>,
    pub(super) calibration: &'a Calibration,
}

impl Quantizing<'_> {
    /// Quantizes the model by the calibration images.
    pub(super) fn integers(&self, observer: &mut dyn Observer) -> Result<Integer> {
        let Self { model, options, device, batch, calibration } = *self;
        let mut network = Quantizable::new(model, options)?;
        let probes = match options.ranges {
            Some(_) => None,
            None => Some(ProbeImages::of(network.graph(), calibration, (device, batch))?),
        };
        if options.repair == Repair::Full {
            network.refit((device, calibration.images(observer)?), observer)?;
        }
        let values = network.counted();
        let counts = value_histograms(network.graph(), &values, device, &calibration.fit, batch, observer)?;
        let Some(probes) = probes else {
            return network.quantize(&counts, options.ranges.unwrap_or(RangeMethod::MinMax));
        };
        // Without a method, that with the outputs nearest to the original's on a few calibration images.
        let mut best: Option<(f64, Integer)> = None;
        for method in METHODS {
            let integer = network.quantize(&counts, method)?;
            let noise = probes.noise(&integer.model)?;
            // NaN is no smaller than anything.
            if best.as_ref().is_none_or(|(least, _)| noise < *least) {
                best = Some((noise, integer));
            }
        }
        best.map(|(_, integer)| integer).ok_or_else(no_images)
    }
}

/// The methods that are compared.
const METHODS: [RangeMethod; 4] = [
    RangeMethod::Mse,
    RangeMethod::Percentile(RangeMethod::PERCENT),
    RangeMethod::MinMax,
    RangeMethod::Entropy,
];
