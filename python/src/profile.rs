//! Profiles: gathered, merged, stored, and as tables.

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use secateur::pipeline::{
    ChannelTable, Distances, Model, PlanOptions, Profile as Statistics, ProfileOptions, Profiled, Resume,
    StopWhenConfident, add_training, profile as gather,
};
use secateur::{Error, Result};

use crate::callbacks::{columns, doubles};
use crate::data::Data;
use crate::error::OrRaise;
use crate::network::Network;
use crate::observer::PyObserver;
use crate::options::Options;

/// The statistics of a network.
#[pyclass(frozen, module = "secateur._secateur")]
pub(crate) struct Profile(pub(crate) Statistics);

#[pymethods]
impl Profile {
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Statistics::load(&path)).map(Self).or_raise(py)
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: Vec<u8>) -> PyResult<Self> {
        py.detach(|| Statistics::from_bytes(&bytes, Path::new("the profile in memory")))
            .map(Self)
            .or_raise(py)
    }

    /// Merges profiles in the order of their images.
    #[staticmethod]
    fn merge(py: Python<'_>, profiles: Vec<PyRef<'_, Self>>) -> PyResult<Self> {
        let profiles: Vec<&Statistics> = profiles.iter().map(|profile| &profile.0).collect();
        let merged = || -> Result<Statistics> {
            let (first, others) = profiles.split_first().ok_or_else(|| {
                Error::new("no profiles were given").remedy("give the profiles of all parts, in order")
            })?;
            let mut whole = Statistics::clone(first);
            others.iter().try_for_each(|other| whole.merge(other))?;
            Ok(whole)
        };
        py.detach(merged).map(Self).or_raise(py)
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.0.save(&path)).or_raise(py)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &py.detach(|| self.0.to_bytes()).or_raise(py)?))
    }

    /// Returns the header as JSON.
    fn header(&self) -> PyResult<String> {
        serde_json::to_string(&self.0.header)
            .map_err(|e| pyo3::exceptions::PyRuntimeError::new_err(e.to_string()))
    }

    /// Returns columns of numbers by layer.
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        columns(py, &ChannelTable::new(&self.0))
    }

    /// Returns the images of each class, and by layer the sums over the images of a class.
    fn classes<'py>(&self, py: Python<'py>) -> PyResult<(Vec<u64>, Bound<'py, PyDict>)> {
        let sums = PyDict::new(py);
        for layer in self.0.layers.iter().filter(|layer| !layer.class_sums.is_empty()) {
            sums.set_item(&layer.node, doubles(py, layer.class_sums.iter().copied()))?;
        }
        Ok((self.0.classes.clone(), sums))
    }
}

/// Gathers statistics; `checkpoint` is a file that an earlier run may have begun, and that receives the result.
#[pyfunction]
pub(crate) fn profile(
    py: Python<'_>,
    network: &Bound<'_, Network>,
    reporter: Py<PyAny>,
    options: Bound<'_, PyDict>,
) -> PyResult<(Profile, bool, Option<f64>)> {
    let options = Options(options);
    let mut data = Data::of(&options, "data")?.ok_or_else(no_data).or_raise(py)?;
    let checkpoint = options.path("checkpoint")?;
    let training = options.get::<Vec<PyRef<'_, Network>>>("training", "networks")?.unwrap_or_default();
    let training: Vec<Model> = training.iter().map(|network| network.model.clone()).collect();
    let confidence = options.number("confidence")?;
    let cut = PlanOptions {
        criterion: match (options.any("criterion")?, confidence) {
            (None, Some(_)) => Some("act-variance".parse().or_raise(py)?),
            _ => options.plan(options.target()?.unwrap_or_default(), true)?.criterion,
        },
        ..options.plan(options.target()?.unwrap_or_default(), true)?
    };
    let protected = options.protected()?;
    let needs = cut.criterion().or_raise(py)?.needs();
    let order = confidence.map(|_| cut.seed);
    data.options.order = order;
    let mut profiling = ProfileOptions {
        batch: options.positive("batch")?,
        gram: options.gram()?.unwrap_or_default(),
        classes: !options.flag("no_classes")?,
        distances: if needs.distances { Distances::All } else { Distances::Cheap },
        measure_overhead: false,
        order,
        gradients: options.flag("gradients")? || needs.gradients,
        histograms: options.flag("histograms")?,
        stop: confidence.map(|confidence| StopWhenConfident { confidence, cut }),
    };
    if let Some(stop) = &profiling.stop {
        stop.check().or_raise(py)?;
    }
    let device = options.device()?;
    let network = network.get();
    let Profiled { profile, settled, confidence, .. } = PyObserver::new(reporter).run(py, |observer| {
        let (analyzed, opened) = network.with_data(Some(&data), true, network.inexact)?;
        let opened = opened.ok_or_else(no_data)?;
        if let Some(stop) = &mut profiling.stop {
            stop.cut.protected = analyzed.protect(|name| protected.iter().any(|one| one == name));
        }
        let begun = checkpoint.as_deref().filter(|file| file.exists()).map(Resume::load).transpose()?;
        let whole = |begun: &&Resume| {
            let header = &begun.profile.header;
            header.is_complete() && (header.gradients.is_some() || !profiling.gradients)
        };
        if let Some(begun) = begun.as_ref().filter(whole) {
            let file = checkpoint.clone().unwrap_or_default();
            secateur::pipeline::load_profile(&file, &analyzed)?;
            let profile = begun.profile.clone();
            return Ok(Profiled {
                images: 0,
                skipped: 0,
                seconds: 0.0,
                overhead: None,
                settled: false,
                confidence: None,
                profile,
            });
        }
        let from = (&opened, &data.origin());
        let mut profiled = gather(&analyzed, &device.open()?, from, &profiling, begun, observer)?;
        if !training.is_empty() {
            let models = [training, vec![analyzed.model.clone()]].concat();
            add_training(&mut profiled.profile, &models)?;
        }
        if let Some(file) = &checkpoint {
            profiled.profile.save(file)?;
        }
        Ok(profiled)
    })?;
    Ok((Profile(profile), settled, confidence))
}

pub(crate) fn no_data() -> Error {
    Error::new("no data were given")
        .expected("`data`: a path, an array, or an iterable of samples")
        .remedy("set `data`")
}
