//! Quantization to 8-bit integers, judged against the original.

use std::collections::BTreeMap;

use super::calibration::Calibration;
use super::data_notices::check_calibration;
use super::evaluation::{Evaluation, evaluate_against};
use super::kept_outputs::Reference;
use super::metric::MetricOptions;
use super::network::Network;
use crate::error::Result;
use crate::exec::devices::Device;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::onnx::Model;
use crate::quantize::coding::{CodedSize, coded_size};
use crate::quantize::integer::{ActivationScale, Integer, IntegerOptions, Quantizable};
use crate::stats::value_histograms;

/// A network of 8-bit integers, its size and its quality.
#[derive(Clone, Debug)]
pub struct IntegerNetwork {
    /// The model in QDQ form.
    pub model: Model,
    /// The layers with integer weights.
    pub layers: Vec<String>,
    /// The layers that stay in float, with the reason.
    pub kept: Vec<(String, &'static str)>,
    /// The scale of each quantized tensor, by its name.
    pub scales: BTreeMap<String, ActivationScale>,
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
/// The conditions of [`Quantizable::new`] and [`Quantizable::quantize`], images that cannot be read, a device that
/// fails, and an observer that breaks.
pub fn quantize(
    network: &Network,
    options: &IntegerOptions,
    (device, batch): (&Device, Option<usize>),
    calibration: &Calibration,
    metric: &MetricOptions,
    observer: &mut dyn Observer,
) -> Result<IntegerNetwork> {
    check_calibration(&network.graph, Some(calibration), metric.force, observer)?;
    let quantizable = Quantizable::new(&network.model, options)?;
    let values = quantizable.counted();
    let histograms =
        value_histograms(quantizable.graph(), &values, device, &calibration.fit, batch, observer)?;
    let Integer { model, layers, kept, scales } = quantizable.quantize(&histograms)?;
    let graph = Graph::from_model(&model)?;
    let reference = Some(Reference::from(&network.graph));
    let evaluation =
        evaluate_against(&graph, reference, device, &calibration.judge, (batch, metric), observer)?;
    let coded = [coded_size(&network.model)?, coded_size(&model)?];
    Ok(IntegerNetwork { model, layers, kept, scales, coded, evaluation })
}
