//! Quantization, and its results.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use secateur::Error;
use secateur::pipeline::{
    CodedSize, Evaluation, FloatTrial, IntegerNetwork, IntegerOptions, Model, NumberFormat, Outcome,
    PaletteBits, QualityLimit, RefusalReason, Repair, Runtime, Sensitivity, SharedNetwork, quantize as round,
    quantize_within, share,
};

use crate::data::{Data, Judges};
use crate::error::{OrRaise, refused};
use crate::network::Network;
use crate::observer::PyObserver;
use crate::options::Options;
use crate::results::{plain, quality};

impl Options<'_> {
    /// Returns how a network becomes one of 8-bit integers.
    pub(crate) fn integers(&self) -> PyResult<IntegerOptions> {
        let runtimes =
            [("ort", Runtime::Ort), ("tensorrt", Runtime::TensorRt), ("openvino", Runtime::OpenVino)];
        Ok(IntegerOptions {
            runtime: self.choice("runtime", &runtimes)?.unwrap_or_default(),
            ranges: self.parsed("ranges")?,
            repair: self.weight_repair()?,
            float: self.get("float_nodes", "names of nodes")?.unwrap_or_default(),
        })
    }

    fn weight_repair(&self) -> PyResult<Repair> {
        Ok(self.choice("repair", &[("none", Repair::None), ("full", Repair::Full)])?.unwrap_or(Repair::Full))
    }

    /// Returns the formats among which a budget of bytes chooses; integers alone if they are asked for.
    pub(crate) fn formats(&self, integers: Option<&IntegerOptions>) -> Vec<NumberFormat> {
        match integers {
            Some(integers) => vec![NumberFormat::Integers(integers.clone())],
            None => secateur::pipeline::PlanOptions::default().formats,
        }
    }
}

/// A network after its quantization.
#[pyclass(frozen, module = "secateur._secateur")]
pub(crate) struct Quantized {
    model: Model,
    layers: Vec<String>,
    kept: Vec<(String, &'static str)>,
    integers: Option<Integers>,
    coded: [CodedSize; 2],
    evaluation: Option<Evaluation>,
}

/// What is known of integers alone.
struct Integers {
    ranges: String,
    scales: std::collections::BTreeMap<String, secateur::pipeline::ActivationScale>,
    sensitivity: Vec<Sensitivity>,
    tried: Vec<FloatTrial>,
}

impl From<IntegerNetwork> for Quantized {
    fn from(found: IntegerNetwork) -> Self {
        let IntegerNetwork { integer, coded, evaluation, sensitivity, tried } = found;
        let (ranges, scales) = (integer.ranges.to_string(), integer.scales);
        Self {
            model: integer.model,
            layers: integer.layers,
            kept: integer.kept,
            integers: Some(Integers { ranges, scales, sensitivity, tried }),
            coded,
            evaluation: Some(evaluation),
        }
    }
}

impl From<SharedNetwork> for Quantized {
    fn from(found: SharedNetwork) -> Self {
        let SharedNetwork { shared, coded, evaluation } = found;
        Self {
            model: shared.model,
            layers: shared.layers,
            kept: shared.kept.into_iter().chain(shared.unrefitted).collect(),
            integers: None,
            coded,
            evaluation,
        }
    }
}

/// Quantizes a network, and judges it.
#[pyfunction]
pub(crate) fn quantize(
    py: Python<'_>,
    network: &Bound<'_, Network>,
    reporter: Py<PyAny>,
    options: Bound<'_, PyDict>,
) -> PyResult<Quantized> {
    let options = Options(options);
    let data = Data::of(&options, "data")?;
    let judges = Judges::of(&options)?;
    let mut metric = options.metric()?;
    if let Some(data) = judges.test.as_ref().or(data.as_ref()) {
        metric = data.labelled(metric).or_raise(py)?;
    }
    let sizes = [("4bit", PaletteBits::Four), ("6bit", PaletteBits::Six), ("8bit", PaletteBits::Eight)];
    let palette = options.choice("palette", &sizes)?;
    let integers = options.integers()?;
    let limit = match (options.number("max_drop")?, options.number("min_quality")?) {
        (Some(_), Some(_)) => Err(two_limits()).or_raise(py)?,
        (most, least) => most.map(QualityLimit::Drop).or(least.map(QualityLimit::Quality)),
    };
    let (batch, device) = (options.positive("batch")?, options.device()?);
    let network = network.get();
    let outcome = PyObserver::new(reporter).run(py, |observer| {
        let (analyzed, opened) = network.with_data(data.as_ref(), true, network.inexact)?;
        let calibration = opened.zip(data.as_ref());
        let repair = Some(integers.repair);
        let calibration =
            calibration.map(|pair| judges.calibration(&analyzed.graph, pair, repair)).transpose()?;
        let images = calibration.as_ref();
        let device = device.open()?;
        let on = (&device, batch);
        if let Some(bits) = palette {
            let with = (images, integers.repair);
            return Ok(Outcome::Done(share(&analyzed, bits, on, with, &metric, observer)?.into()));
        }
        let found = match limit {
            Some(limit) => quantize_within(&analyzed, (&integers, limit), on, images, &metric, observer)?,
            None => Outcome::Done(round(&analyzed, &integers, on, images, &metric, observer)?),
        };
        Ok(match found {
            Outcome::Done(found) => Outcome::Done(Quantized::from(found)),
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Interrupted => Outcome::Interrupted,
        })
    })?;
    match outcome {
        Outcome::Done(found) => Ok(found),
        Outcome::Interrupted => Err(Error::interrupted()).or_raise(py),
        Outcome::Refused(refusal) => {
            let tried = match &refusal.reason {
                RefusalReason::FloatNodes { tried, .. } => plain(py, tried)?,
                _ => PyList::empty(py).into_any(),
            };
            Err(refused(py, &refusal.to_string(), tried.unbind()))
        }
    }
}

fn two_limits() -> Error {
    Error::new("a quantization has one limit of quality")
        .expected("`max_drop` or `min_quality`")
        .got("both")
        .remedy("leave one of them out")
}

#[pymethods]
impl Quantized {
    /// Returns the quantized file's contents with all tensors inside.
    fn onnx<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.model.to_bytes()))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.model.save(&path)).or_raise(py)
    }

    /// Returns what is known of the quantized network.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let size = |size: &CodedSize| -> PyResult<Bound<'py, PyDict>> {
            let fields = PyDict::new(py);
            fields.set_item("bytes", size.file)?;
            fields.set_item("gzip", size.gzip)?;
            fields.set_item("huffman", size.huffman)?;
            fields.set_item("rans", size.rans)?;
            fields.set_item("bits_per_weight", size.bits_per_weight())?;
            Ok(fields)
        };
        let fields = PyDict::new(py);
        fields.set_item("layers", &self.layers)?;
        fields.set_item("kept", &self.kept)?;
        fields.set_item("before", size(&self.coded[0])?)?;
        fields.set_item("after", size(&self.coded[1])?)?;
        fields.set_item("quality", self.evaluation.as_ref().map(|found| quality(py, found)).transpose()?)?;
        let integers = self.integers.as_ref();
        fields.set_item("ranges", integers.map(|found| found.ranges.as_str()))?;
        fields.set_item("scales", integers.map(|found| plain(py, &found.scales)).transpose()?)?;
        fields.set_item("sensitivity", integers.map(|found| plain(py, &found.sensitivity)).transpose()?)?;
        fields.set_item("tried", integers.map(|found| plain(py, &found.tried)).transpose()?)?;
        Ok(fields)
    }
}
