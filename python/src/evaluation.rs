//! Evaluations, comparisons of criteria, times, and devices.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use secateur::pipeline::{
    BenchOptions, BenchmarkOptions, ComparisonOptions, DeviceChoice, LayerRate, Precision, Repair, benchmark,
    compare_criteria as compare, devices as device, evaluate_by, load_profile,
};
use secateur::{Error, Result};

use crate::callbacks::criterion;
use crate::data::{Data, Judges};
use crate::error::OrRaise;
use crate::network::Network;
use crate::observer::PyObserver;
use crate::options::Options;
use crate::profile::{Profile, no_data};
use crate::results::{optional_metric, plain, quality, quantiles};

/// Evaluates a network, and a reference if there is one.
#[pyfunction]
pub(crate) fn evaluate<'py>(
    py: Python<'py>,
    network: &Bound<'py, Network>,
    against: Option<&Bound<'py, Network>>,
    reporter: Py<PyAny>,
    options: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = Options(options);
    let data = Data::of(&options, "data")?.ok_or_else(no_data).or_raise(py)?;
    let metric = data.labelled(options.metric()?).or_raise(py)?;
    let (batch, device) = (options.positive("batch")?, options.device()?);
    let (network, against) = (network.get(), against.map(Bound::get));
    let found = PyObserver::new(reporter).run(py, |observer| {
        let graph = |model| secateur::pipeline::Graph::from_model(&model);
        let (model, opened) = network.bound_to(&data)?;
        let own = graph(model)?;
        let opened = match (opened, data.path()) {
            (Some(opened), _) => opened,
            (None, path) => data.at_path(&own, &path.cloned().unwrap_or_default(), false)?,
        };
        let reference = match against {
            Some(against) => {
                let model = against.model.clone();
                let bindings = own_sizes(&own, &opened, model.bindings.clone())?;
                Some(graph(model.with_bindings(bindings))?)
            }
            None => None,
        };
        let device = device.open()?;
        // The accuracy of f16 is measured against the network itself.
        let itself = Some(&own).filter(|_| device.precision() != Precision::F32);
        let reference = reference.as_ref().or(itself);
        evaluate_by(&own, reference, &device, &opened, (batch, &metric), observer)
    })?;
    quality(py, &found)
}

/// Returns bindings with the sizes that free inputs have in the data.
pub(crate) fn own_sizes(
    graph: &secateur::pipeline::Graph,
    data: &secateur::pipeline::Dataset,
    bindings: secateur::onnx::InputBindings,
) -> Result<secateur::onnx::InputBindings> {
    let mut bindings = bindings;
    if graph.has_free_sizes() {
        for (input, shape) in graph.sample_inputs().zip(data.sample()?.0) {
            let batch = input.batched.then_some(input.size(0).unwrap_or(1));
            let whole = batch.into_iter().chain(shape).collect();
            bindings.sizes.insert(graph.name(input.value).to_owned(), whole);
        }
    }
    Ok(bindings)
}

/// Measures what criteria and repairs leave of a network at several budgets.
#[pyfunction]
pub(crate) fn compare_criteria<'py>(
    py: Python<'py>,
    network: &Bound<'py, Network>,
    reporter: Py<PyAny>,
    options: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = Options(options);
    let data = Data::of(&options, "data")?.ok_or_else(no_data).or_raise(py)?;
    let judges = Judges::of(&options)?;
    let judged = judges.test.as_ref().unwrap_or(&data);
    let usual = ComparisonOptions::default();
    let criteria =
        options.get::<Vec<Bound<'py, PyAny>>>("criteria", "a sequence of criteria")?.unwrap_or_default();
    let repairs = match options.get::<Vec<String>>("repairs", "a sequence of repairs")? {
        None => usual.repairs.clone(),
        Some(names) => {
            let one = |name: &String| {
                let alone = PyDict::new(py);
                alone.set_item("repair", name)?;
                Ok(Options(alone).repair("repair")?.unwrap_or(Repair::None))
            };
            names.iter().map(one).collect::<PyResult<_>>()?
        }
    };
    let comparing = ComparisonOptions {
        criteria: criteria.iter().map(|given| criterion(given, true)).collect::<PyResult<_>>()?,
        keep_macs: options.get("keep_macs", "a sequence of shares")?.unwrap_or(usual.keep_macs),
        seeds: options.get("seeds", "a whole number from 1")?.unwrap_or(usual.seeds),
        repairs,
        batch: options.positive("batch")?,
        metric: judged.labelled(options.metric()?).or_raise(py)?,
    };
    let profile = options.get::<PyRef<'_, Profile>>("profile", "a profile")?.map(|profile| profile.0.clone());
    let file = options.path("profile_file")?;
    let device = options.device()?;
    let network = network.get();
    let compared = PyObserver::new(reporter).run(py, |observer| {
        let (analyzed, opened) = network.with_data(Some(&data), true, network.inexact)?;
        let opened = opened.ok_or_else(no_data)?;
        let repaired = comparing.repairs.iter().copied().find(|&how| how != Repair::None);
        let repaired = Some(repaired.unwrap_or(Repair::None));
        let calibration = judges.calibration(&analyzed.graph, (opened, &data), repaired)?;
        let profile = match (profile, file) {
            (None, Some(file)) => Some(load_profile(&file, &analyzed)?),
            (profile, _) => profile,
        };
        let from = (&calibration, profile);
        compare(&analyzed, &device.open()?, from, &comparing, &mut |_| Ok(()), observer)
    })?;
    let fields = PyDict::new(py);
    fields.set_item("curves", plain(py, &compared.curves)?)?;
    fields.set_item("left_out", compared.left_out)?;
    fields.set_item("original_top1", compared.original_top1)?;
    fields.set_item("metric", optional_metric(py, compared.metric.as_ref())?)?;
    Ok(fields)
}

/// Times networks in turn.
#[pyfunction]
pub(crate) fn bench<'py>(
    py: Python<'py>,
    networks: Vec<Bound<'py, Network>>,
    reporter: Py<PyAny>,
    options: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = Options(options);
    let models: Vec<_> = networks.iter().map(|network| network.get().model.clone()).collect();
    if models.is_empty() {
        return Err(Error::new("no networks were given").remedy("give one or more")).or_raise(py);
    }
    let seconds = options.number("seconds")?.unwrap_or(5.0);
    if !(seconds >= 0.0 && seconds.is_finite()) {
        return Err(Error::new("`seconds` does not fit")
            .expected("a number of seconds from 0")
            .got(seconds.to_string())
            .remedy("for example 5"))
        .or_raise(py);
    }
    let batch = options.positive("batch")?.unwrap_or(1);
    let bench = BenchOptions { batch, seconds, transfers: options.flag("transfers")? };
    let (layers, device) = (options.flag("layers")?, options.device()?);
    let (measured, identity) = PyObserver::new(reporter).run(py, |observer| {
        let device = device.open()?;
        let measured = benchmark(&models, &device, BenchmarkOptions { bench, layers }, observer)?;
        Ok((measured, device.describe()))
    })?;
    let list = PyList::empty(py);
    for network in &measured.networks {
        let fields = PyDict::new(py);
        fields.set_item("cost", plain(py, &network.cost)?)?;
        fields.set_item("batch", network.batch)?;
        fields.set_item("latency_ms", quantiles(network.seconds.times(1e3)))?;
        fields.set_item("images_per_s", network.images_per_s)?;
        fields.set_item("gflops", network.gflops)?;
        fields.set_item("speedup", network.speedup.map(quantiles))?;
        fields.set_item("unrelated", network.unrelated.as_ref())?;
        fields.set_item("snr_db", network.snr_db)?;
        let rows = network.layers.iter().map(|layer| row(py, layer)).collect::<PyResult<Vec<_>>>()?;
        fields.set_item("layers", rows)?;
        list.append(fields)?;
    }
    let fields = PyDict::new(py);
    fields.set_item("networks", list)?;
    fields.set_item("rounds", measured.rounds)?;
    fields.set_item("device", plain(py, &identity)?)?;
    Ok(fields)
}

fn row<'py>(py: Python<'py>, layer: &LayerRate) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("node", &layer.node)?;
    fields.set_item("latency_ms", quantiles(layer.seconds.times(1e3)))?;
    fields.set_item("share", layer.share)?;
    fields.set_item("macs", layer.macs)?;
    fields.set_item("gflops", layer.gflops)?;
    fields.set_item("gbytes_per_s", layer.gbytes_per_s)?;
    Ok(fields)
}

/// Returns the adapters of this machine, the device that `auto` opens, and why it is no GPU.
#[pyfunction]
pub(crate) fn devices(py: Python<'_>) -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>, Option<String>)> {
    let found = || -> Result<_> {
        let (auto, note) = device::open(&DeviceChoice::Auto)?;
        Ok((device::list(), auto.describe(), note))
    };
    let (list, auto, note) = py.detach(found).or_raise(py)?;
    Ok((plain(py, &list)?, plain(py, &auto)?, note))
}
