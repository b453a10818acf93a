//! Criteria and metrics that are functions of the caller.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use secateur::pipeline::{
    ChannelTable, Criterion, CustomCriterion, CustomLayer, JudgedImage, Measured, Meter, Metric, NamedTensor,
    Needs,
};
use secateur::tensor::Data;

use crate::error::{OrRaise, raised};

/// Returns the bytes of numbers, little-endian.
pub(crate) fn doubles<'py>(py: Python<'py>, values: impl Iterator<Item = f64>) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &values.flat_map(f64::to_le_bytes).collect::<Vec<u8>>())
}

fn singles<'py>(py: Python<'py>, values: &[f32]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

/// Returns a table of statistics as dictionaries of columns, one for each layer.
///
/// A column that is unknown for all channels of a layer is left out.
pub(crate) fn columns<'py>(py: Python<'py>, table: &ChannelTable) -> PyResult<Bound<'py, PyDict>> {
    let layers = PyDict::new(py);
    for rows in table.rows.chunk_by(|a, b| a.0 == b.0) {
        let layer = PyDict::new(py);
        for (at, name) in table.columns.iter().enumerate() {
            if rows.iter().any(|row| row.2[at].is_some()) {
                let values = rows.iter().map(|row| row.2[at].unwrap_or(f64::NAN));
                layer.set_item(name, doubles(py, values))?;
            }
        }
        layers.set_item(&rows[0].0, layer)?;
    }
    Ok(layers)
}

/// Returns a criterion by its name, or one that calls a `Criterion` of the package.
pub(crate) fn criterion(given: &Bound<'_, PyAny>, has_data: bool) -> PyResult<Criterion> {
    let py = given.py();
    if let Ok(text) = given.extract::<String>() {
        return text.parse().or_raise(py);
    }
    let name: String = given.getattr("name")?.extract()?;
    let data = given.getattr("activations")?.extract::<Option<bool>>()?.unwrap_or(has_data);
    let labels = given.getattr("classes")?.extract::<bool>()?;
    let function = given.clone().unbind();
    let score = move |layer: &CustomLayer| {
        Python::attach(|py| scores(&function.bind(py).getattr("score")?, layer)).map_err(raised)
    };
    let needs = Needs { data: data || labels, labels, ..Needs::WEIGHTS };
    Ok(Criterion::custom(name, CustomCriterion::new(needs, score)))
}

/// Calls `score(node, op, channels, columns, weight, class_sums)`.
fn scores(function: &Bound<'_, PyAny>, layer: &CustomLayer) -> PyResult<Vec<f64>> {
    let py = function.py();
    let CustomLayer { profile, channels, weight } = *layer;
    let table = ChannelTable::of_layers(std::slice::from_ref(profile));
    let columns = columns(py, &table)?.get_item(&profile.node)?;
    let weight = weight.map(|(shape, values)| (PyTuple::new(py, shape), singles(py, values)));
    let weight = weight.map(|(shape, values)| shape.map(|shape| (shape, values))).transpose()?;
    let sums = doubles(py, profile.class_sums.iter().copied());
    function.call1((&profile.node, &profile.op, channels, columns, weight, sums))?.extract()
}

/// A metric that calls a `Metric` of the package.
#[derive(Debug)]
pub(crate) struct PyMetric {
    name: String,
    unit: String,
    higher_is_better: bool,
    metric: Py<PyAny>,
}

impl PyMetric {
    pub(crate) fn new(metric: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            name: metric.getattr("name")?.extract()?,
            unit: metric.getattr("unit")?.extract()?,
            higher_is_better: metric.getattr("higher_is_better")?.extract()?,
            metric: metric.clone().unbind(),
        })
    }
}

impl Metric for PyMetric {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn unit(&self) -> &str {
        &self.unit
    }

    fn higher_is_better(&self) -> bool {
        self.higher_is_better
    }

    fn meter(&self) -> secateur::Result<Box<dyn Meter>> {
        let meter = Python::attach(|py| self.metric.call_method0(py, "start")).map_err(raised)?;
        Ok(Box::new(PyMeter { meter, values: vec![] }))
    }
}

/// A measurement by an object with `add(outputs, label, index)` and `finish()`.
///
/// `add` returns the value of an image, of which the mean counts, or `None`; then `finish` returns the value of all.
struct PyMeter {
    meter: Py<PyAny>,
    values: Vec<f64>,
}

impl Meter for PyMeter {
    fn add(&mut self, image: &JudgedImage) -> secateur::Result<()> {
        let value = |py: Python<'_>| -> PyResult<Option<f64>> {
            let outputs = image.outputs.iter().map(|output| tensor(py, output));
            let outputs = outputs.collect::<PyResult<Vec<_>>>()?;
            let of_image = (outputs, image.label, image.place.index);
            self.meter.call_method1(py, "add", of_image)?.extract(py)
        };
        let value = Python::attach(value).map_err(raised)?;
        self.values.extend(value);
        Ok(())
    }

    fn finish(self: Box<Self>) -> secateur::Result<Measured> {
        let whole = |py: Python<'_>| self.meter.call_method0(py, "finish")?.extract::<Option<f64>>(py);
        let whole = Python::attach(whole).map_err(raised)?;
        Ok(whole.map_or_else(|| Measured::mean(self.values.clone()), Measured::of_set))
    }
}

/// Returns a tensor as its name, NumPy's type, dimensions and bytes.
pub(crate) fn tensor<'py>(py: Python<'py>, (name, tensor): &NamedTensor) -> PyResult<Bound<'py, PyTuple>> {
    let (dtype, bytes) = match &tensor.data {
        Data::Float(values) => ("<f4", singles(py, values)),
        Data::Int(values) => {
            ("<i8", PyBytes::new(py, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()))
        }
    };
    (name, dtype, PyTuple::new(py, &tensor.shape)?, bytes).into_pyobject(py)
}
