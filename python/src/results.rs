//! Results as dictionaries, which the package turns into its classes.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use secateur::pipeline::{Agreement, Attempt, Evaluation, Latency, MetricResult, Proof, Quantiles};
use serde_json::Value;

/// Returns JSON as Python's values.
pub(crate) fn value<'py>(py: Python<'py>, json: &Value) -> PyResult<Bound<'py, PyAny>> {
    match json {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(flag) => flag.into_bound_py_any(py),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => whole.into_bound_py_any(py),
            (None, Some(whole)) => whole.into_bound_py_any(py),
            (None, None) => number.as_f64().into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(all) => {
            let all = all.iter().map(|one| value(py, one)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, all)?.into_bound_py_any(py)
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            fields.iter().try_for_each(|(name, field)| dict.set_item(name, value(py, field)?))?;
            dict.into_bound_py_any(py)
        }
    }
}

/// Returns plain data as Python's values; numbers that are not finite become `None`.
pub(crate) fn plain<'py>(py: Python<'py>, data: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    let json = serde_json::to_value(data).map_err(|e| PyRuntimeError::new_err(e.to_string()))?;
    value(py, &json)
}

/// Returns the fields of a metric's result.
fn metric<'py>(py: Python<'py>, found: &MetricResult) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("name", &found.name)?;
    fields.set_item("unit", &found.unit)?;
    fields.set_item("higher_is_better", found.higher_is_better)?;
    fields.set_item("before", found.before)?;
    fields.set_item("after", found.after)?;
    fields.set_item("error", found.error)?;
    fields.set_item("images", found.images)?;
    Ok(fields)
}

/// Returns the fields of a metric's result, if there is one.
pub(crate) fn optional_metric<'py>(
    py: Python<'py>,
    found: Option<&MetricResult>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    found.map(|found| metric(py, found)).transpose()
}

/// Returns the fields of an evaluation.
pub(crate) fn quality<'py>(py: Python<'py>, found: &Evaluation) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    let against = found.agreement.as_ref();
    fields.set_item("images", found.images)?;
    fields.set_item("top1", found.accuracy.top1())?;
    fields.set_item("top5", found.accuracy.top5())?;
    fields.set_item("top1_before", found.reference_accuracy.top1())?;
    fields.set_item("top5_before", found.reference_accuracy.top5())?;
    fields.set_item("agreement", against.and_then(Agreement::agreement))?;
    fields.set_item("kl", against.and_then(Agreement::kl))?;
    fields.set_item("snr_db", against.map(Agreement::snr_db))?;
    fields.set_item("signal", against.map(Agreement::signal))?;
    fields.set_item("max_abs_err", against.map(Agreement::max_abs_err))?;
    fields.set_item("metric", optional_metric(py, found.metric.as_ref())?)?;
    fields.set_item("classified", found.classified.as_ref())?;
    fields.set_item("unclassified", found.unclassified.as_ref())?;
    Ok(fields)
}

/// Returns the fields of a proof.
pub(crate) fn proof<'py>(py: Python<'py>, proof: &Proof) -> PyResult<Bound<'py, PyAny>> {
    plain(py, proof)
}

pub(crate) fn quantiles(times: Quantiles) -> (f64, f64, f64) {
    (times.median, times.p10, times.p90)
}

/// Returns the fields of a latency.
pub(crate) fn latency<'py>(py: Python<'py>, latency: &Latency) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("asked", latency.asked)?;
    fields.set_item("measured", quantiles(latency.measured))?;
    Ok(fields)
}

/// Returns the fields of the networks that a search evaluated.
pub(crate) fn attempts<'py>(py: Python<'py>, attempts: &[Attempt]) -> PyResult<Bound<'py, PyList>> {
    let one = |attempt: &Attempt| -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("keep", attempt.keep)?;
        fields.set_item("top1", attempt.top1)?;
        fields.set_item("agreement", attempt.agreement)?;
        fields.set_item("value", attempt.value)?;
        fields.set_item("drop", attempt.drop)?;
        Ok(fields)
    };
    PyList::new(py, attempts.iter().map(one).collect::<PyResult<Vec<_>>>()?)
}
