//! Fine-tuning, and its results.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use secateur::pipeline::{Finetuned as FinetunedNetwork, Graph, KeptValues, finetune as train};

use crate::data::{Data, Judges};
use crate::error::OrRaise;
use crate::evaluation::own_sizes;
use crate::network::Network;
use crate::observer::PyObserver;
use crate::options::Options;
use crate::profile::no_data;
use crate::results::{plain, quality};

/// A network after fine-tuning.
#[pyclass(frozen, module = "secateur._secateur")]
pub(crate) struct Finetuned(FinetunedNetwork);

/// Trains a network to imitate a teacher, or on labels, and judges it before and after.
#[pyfunction]
pub(crate) fn finetune(
    py: Python<'_>,
    network: &Bound<'_, Network>,
    teacher: Option<&Bound<'_, Network>>,
    reporter: Py<PyAny>,
    options: Bound<'_, PyDict>,
) -> PyResult<Finetuned> {
    let options = Options(options);
    let data = Data::of(&options, "data")?.ok_or_else(no_data).or_raise(py)?;
    let judges = Judges::of(&options)?;
    let judged = judges.test.as_ref().unwrap_or(&data);
    let mut metric = judged.labelled(options.metric()?).or_raise(py)?;
    // A network that is trained on labels may start from no better than chance.
    metric.force = teacher.is_none();
    let training = options.training(options.get("seed", "a seed from 0")?.unwrap_or(0))?;
    let (batch, device) = (options.positive("batch")?, options.device()?);
    let (network, teacher) = (network.get(), teacher.map(Bound::get));
    let trained = PyObserver::new(reporter).run(py, |observer| {
        let (analyzed, opened) = network.with_data(Some(&data), true, network.inexact)?;
        let opened = opened.ok_or_else(no_data)?;
        let teacher = match teacher {
            Some(teacher) => {
                let model = teacher.model.clone();
                let sizes = own_sizes(&analyzed.graph, &opened, model.bindings.clone())?;
                Some(Graph::from_model(&model.with_bindings(sizes))?)
            }
            None => None,
        };
        let calibration = judges.calibration(&analyzed.graph, (opened, &data), None)?;
        let device = (&device.open()?, batch);
        train(
            &analyzed,
            (teacher.as_ref(), &KeptValues::new()),
            device,
            &calibration,
            (&training, &metric),
            observer,
        )
    })?;
    Ok(Finetuned(trained))
}

#[pymethods]
impl Finetuned {
    /// Returns the trained file's contents with all tensors inside.
    fn onnx<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.0.model.to_bytes()))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.0.model.save(&path)).or_raise(py)
    }

    /// Returns the course of the training, and the quality before and after it.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("training", plain(py, &self.0.training)?)?;
        fields.set_item("before", quality(py, &self.0.before)?)?;
        fields.set_item("after", quality(py, &self.0.after)?)?;
        Ok(fields)
    }
}
