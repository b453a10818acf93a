//! Quantization, and its results.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use secateur::Error;
use secateur::pipeline::{
    CodedSize, IntegerOptions, NumberFormat, Outcome, Page, PaletteBits, QualityLimit,
    Quantized as QuantizedNetwork, RefusalReason, Repair, ReportOptions, Runtime, quantization_page,
    quantize as round, quantize_within, render, share,
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

/// A network after its quantization, with its report page.
#[pyclass(frozen, module = "secateur._secateur")]
pub(crate) struct Quantized {
    found: QuantizedNetwork,
    page: Page,
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
        let found: QuantizedNetwork = match (palette, limit) {
            (Some(bits), _) => {
                share(&analyzed, bits, on, (images, integers.repair), &metric, observer)?.into()
            }
            (None, None) => round(&analyzed, &integers, on, images, &metric, observer)?.into(),
            (None, Some(limit)) => {
                match quantize_within(&analyzed, (&integers, limit), on, images, &metric, observer)? {
                    Outcome::Done(found) => found.into(),
                    Outcome::Refused(refusal) => return Ok(Outcome::Refused(refusal)),
                    Outcome::Interrupted => return Ok(Outcome::Interrupted),
                }
            }
        };
        let options = ReportOptions::default();
        let page = quantization_page(&found, &analyzed.model, images, &device, &options)?;
        Ok(Outcome::Done(Quantized { found, page }))
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
        PyBytes::new(py, &py.detach(|| self.found.model().to_bytes()))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.found.model().save(&path)).or_raise(py)
    }

    /// Writes the report page.
    fn report(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let page = || render(&self.page);
        py.detach(|| secateur::file::write_whole(&path, "write the report", page().as_bytes())).or_raise(py)
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
        let (found, fields) = (&self.found, PyDict::new(py));
        fields.set_item("layers", found.layers())?;
        fields.set_item("kept", found.reasons().cloned().collect::<Vec<_>>())?;
        fields.set_item("before", size(&found.coded()[0])?)?;
        fields.set_item("after", size(&found.coded()[1])?)?;
        fields.set_item("quality", found.evaluation().map(|found| quality(py, found)).transpose()?)?;
        let integers = found.integers();
        fields.set_item("ranges", integers.map(|found| found.integer.ranges.to_string()))?;
        fields.set_item("scales", integers.map(|found| plain(py, &found.integer.scales())).transpose()?)?;
        fields.set_item("sensitivity", integers.map(|found| plain(py, &found.sensitivity)).transpose()?)?;
        fields.set_item("tried", integers.map(|found| plain(py, &found.tried)).transpose()?)?;
        Ok(fields)
    }
}
