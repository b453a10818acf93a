//! Fine-tuning, and its results.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use secateur::pipeline::{
    Finetuned as FinetunedNetwork, Graph, KeptValues, Page, ReportOptions, finetune as train, render,
    training_page,
};

use crate::data::{Data, Judges};
use crate::error::OrRaise;
use crate::evaluation::own_sizes;
use crate::network::Network;
use crate::observer::PyObserver;
use crate::options::Options;
use crate::profile::{Profile, no_data};
use crate::pruning::Cut;
use crate::results::{plain, quality};

/// A network after fine-tuning, with its report page.
#[pyclass(frozen, module = "secateur._secateur")]
pub(crate) struct Finetuned {
    trained: FinetunedNetwork,
    page: Page,
}

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
    let cut = options.get::<PyRef<'_, Cut>>("cut", "a cut")?.map(|cut| cut.0.clone());
    let training = options.training(options.get("seed", "a seed from 0")?.unwrap_or(0))?;
    let (batch, device) = (options.positive("batch")?, options.device()?);
    let (network, teacher) = (network.get(), teacher.map(Bound::get));
    PyObserver::new(reporter).run(py, |observer| {
        let (analyzed, opened) = network.with_data(Some(&data), true, network.inexact)?;
        let opened = opened.ok_or_else(no_data)?;
        let teacher = match teacher {
            Some(teacher) => {
                let model = teacher.model.clone();
                let sizes = own_sizes(&analyzed.graph, &opened, model.bindings.clone())?;
                Some(model.with_bindings(sizes))
            }
            None => None,
        };
        let calibration = judges.calibration(&analyzed.graph, (opened, &data), None)?;
        let graph = teacher.as_ref().map(Graph::from_model).transpose()?;
        let kept = cut.as_ref().zip(teacher.as_ref()).map(|(cut, teacher)| cut.kept_values(teacher));
        let kept: KeptValues = kept.transpose()?.unwrap_or_default();
        let imitated = (graph.as_ref(), &kept);
        let device = device.open()?;
        let by = (&training, &metric);
        let trained = train(&analyzed, imitated, (&device, batch), &calibration, by, observer)?;
        let models = (&analyzed.model, teacher.as_ref());
        let page = training_page(&trained, models, &calibration, &device, &ReportOptions::default())?;
        Ok(Finetuned { trained, page })
    })
}

#[pymethods]
impl Finetuned {
    /// Returns the trained file's contents with all tensors inside.
    fn onnx<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.trained.model.to_bytes()))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.trained.model.save(&path)).or_raise(py)
    }

    /// Returns the statistics of all filters through the epochs, if they were asked for.
    fn profile(&self) -> Option<Profile> {
        self.trained.profile.clone().map(Profile)
    }

    /// Writes the report page.
    fn report(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let page = || render(&self.page);
        py.detach(|| secateur::file::write_whole(&path, "write the report", page().as_bytes())).or_raise(py)
    }

    /// Returns the course of the training, and the quality before and after it.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("training", plain(py, &self.trained.training)?)?;
        fields.set_item("before", quality(py, &self.trained.before)?)?;
        fields.set_item("after", quality(py, &self.trained.after)?)?;
        Ok(fields)
    }
}
