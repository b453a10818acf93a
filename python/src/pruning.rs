//! Decisions and pruned networks.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use secateur::pipeline::{
    Cut as CutFile, CutFiles, Decision, Device, Evaluation, Evidence, Network as Analyzed, Outcome,
    PlanOptions, PruneOptions, Pruned as PrunedNetwork, Refusal, Repair, ReportOptions, Round, Target, apply,
    plan as decide, prune as cut_network, render, report,
};
use secateur::{Error, Result};

use crate::data::{Data, Judges};
use crate::error::{OrRaise, refused};
use crate::network::Network;
use crate::observer::PyObserver;
use crate::options::{OpenDevice, Options};
use crate::profile::Profile;
use crate::results::{attempts, latency, plain, proof, quality};

/// A decision which channels are removed.
#[pyclass(frozen, module = "secateur._secateur")]
pub(crate) struct Cut(pub(crate) CutFile);

#[pymethods]
impl Cut {
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| CutFile::load(&path)).map(Self).or_raise(py)
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.0.save(&path)).or_raise(py)
    }

    /// Returns the contents of the cut's file.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &self.0)
    }
}

/// The options that `plan` and `prune` share.
struct Request {
    data: Option<Data>,
    judges: Judges,
    plan: PlanOptions,
    protected: Vec<String>,
    profile: Option<secateur::pipeline::Profile>,
    file: Option<PathBuf>,
    batch: Option<usize>,
    device: OpenDevice,
}

impl Request {
    fn of(options: &Options<'_>, target: Target) -> PyResult<Self> {
        let data = Data::of(options, "data")?;
        let profile = options.get::<PyRef<'_, Profile>>("profile", "a profile")?;
        let file = options.path("profile_file")?;
        let has_statistics = data.is_some() || profile.is_some() || file.is_some();
        let profile = profile.map(|profile| profile.0.clone());
        let judges = Judges::of(options)?;
        let mut plan = options.plan(target, has_statistics)?;
        if let Some(data) = judges.test.as_ref().or(data.as_ref()) {
            plan.metric = data.labelled(plan.metric).or_raise(options.py())?;
        }
        Ok(Self {
            judges,
            data,
            plan,
            protected: options.protected()?,
            profile,
            file,
            batch: options.positive("batch")?,
            device: options.device()?,
        })
    }

    /// Opens network and data, and calls `work` with the evidence.
    fn run<T>(
        &self,
        (network, inexact, repair): (&Network, bool, Option<Repair>),
        work: impl FnOnce(Analyzed, Evidence<'_>, PlanOptions) -> Result<T>,
    ) -> Result<T> {
        let (analyzed, opened) = network.with_data(self.data.as_ref(), true, inexact)?;
        let pair = opened.zip(self.data.as_ref());
        let calibration =
            pair.map(|pair| self.judges.calibration(&analyzed.graph, pair, repair)).transpose()?;
        let mut evidence = Evidence::open(&analyzed, self.file.as_deref(), calibration.as_ref(), self.batch)?;
        if let Some(profile) = &self.profile {
            if profile.header.model_sha256 != analyzed.model.sha256 {
                return Err(Error::new("the profile is of another model")
                    .expected(format!("a profile of {}", analyzed.model.path.display()))
                    .got(format!("one of {}", profile.header.model))
                    .remedy("run `profile()` on this model"));
            }
            evidence.profile = Some(profile.clone());
        }
        let protected = analyzed.protect(|name| self.protected.iter().any(|one| one == name));
        let plan = PlanOptions { protected, ..self.plan.clone() };
        work(analyzed, evidence, plan)
    }
}

/// Turns an outcome into its result, a refusal, or the exception of an interruption.
fn settled<T>(py: Python<'_>, outcome: Outcome<T>) -> PyResult<T> {
    match outcome {
        Outcome::Done(done) => Ok(done),
        Outcome::Refused(refusal) => Err(refusal_of(py, &refusal)?),
        Outcome::Interrupted => Err(Error::interrupted()).or_raise(py),
    }
}

fn refusal_of(py: Python<'_>, refusal: &Refusal) -> PyResult<PyErr> {
    let tried = attempts(py, &refusal.attempts)?.into_any().unbind();
    Ok(refused(py, &refusal.to_string(), tried))
}

/// Decides which channels are removed: the cut, and fields of the decision.
#[pyfunction]
pub(crate) fn plan<'py>(
    py: Python<'py>,
    network: &Bound<'py, Network>,
    reporter: Py<PyAny>,
    options: Bound<'py, PyDict>,
) -> PyResult<(Cut, Bound<'py, PyDict>)> {
    let options = Options(options);
    let request = Request::of(&options, options.required_target()?)?;
    let repair = options.repair("repair")?;
    let network = network.get();
    let target = request.plan.target;
    let searches = matches!(target, Target::MaxDrop(_) | Target::MinQuality(_));
    // A plan without a search repairs nothing, so that all images decide.
    let usual = if searches { Repair::Full } else { Repair::None };
    let repair = repair.unwrap_or(usual);
    let on_device = request.data.is_some() || matches!(target, Target::Latency(_));
    let outcome = PyObserver::new(reporter).run(py, |observer| {
        request.run((network, network.inexact, Some(repair)), |analyzed, evidence, plan| {
            let device = if on_device { request.device.open()? } else { Device::Cpu };
            decide(&analyzed, &device, evidence, &PlanOptions { repair, ..plan }, observer)
        })
    })?;
    let Decision { cut, confidence, latency: measured, attempts: tried, .. } = settled(py, outcome)?;
    let fields = PyDict::new(py);
    fields.set_item("confidence", confidence)?;
    fields.set_item("latency", measured.map(|measured| latency(py, &measured)).transpose()?)?;
    fields.set_item("attempts", attempts(py, &tried)?)?;
    Ok((Cut(cut), fields))
}

/// Returns the fields of a round before the last.
fn round_fields<'py>(py: Python<'py>, round: &Round) -> PyResult<Bound<'py, PyDict>> {
    let judged = |found: &Option<Evaluation>| found.as_ref().map(|found| quality(py, found)).transpose();
    let fields = PyDict::new(py);
    fields.set_item("budget", &round.budget)?;
    fields.set_item("untrained", judged(&round.untrained)?)?;
    fields.set_item("training", plain(py, &round.training)?)?;
    fields.set_item("quality", judged(&round.evaluation)?)?;
    Ok(fields)
}

/// A pruned network, with what its report needs.
#[pyclass(frozen, module = "secateur._secateur")]
pub(crate) struct Pruned {
    pruned: PrunedNetwork,
    network: Py<Network>,
    data: Option<Data>,
    inexact: bool,
    batch: Option<usize>,
    device: OpenDevice,
}

/// Prunes a network by a target, or by a cut that was decided before.
#[pyfunction]
pub(crate) fn prune(
    py: Python<'_>,
    network: Bound<'_, Network>,
    reporter: Py<PyAny>,
    options: Bound<'_, PyDict>,
) -> PyResult<Pruned> {
    let options = Options(options);
    let cut = options.get::<PyRef<'_, Cut>>("cut", "a cut")?.map(|cut| cut.0.clone());
    let target = match &cut {
        Some(_) => options.target()?.unwrap_or_default(),
        None => options.required_target()?,
    };
    let request = Request::of(&options, target)?;
    let (repair, stamp) = (options.repair("repair")?, options.flag("stamp")?);
    let training = options.get::<Bound<'_, PyDict>>("finetune", "options of a training")?;
    let training = training.map(|given| Options(given).training(request.plan.seed)).transpose()?;
    let quantize = options.get::<Bound<'_, PyDict>>("quantize", "options of integers")?;
    let quantize = quantize.map(|given| Options(given).integers()).transpose()?;
    let formats = options.formats(quantize.as_ref());
    let own = network.get();
    let inexact = cut.as_ref().map_or(own.inexact, |cut| cut.inexact.is_some());
    let outcome = PyObserver::new(reporter).run(py, |observer| {
        request.run((own, inexact, repair), |analyzed, evidence, plan| {
            let plan = PlanOptions { formats, ..plan };
            let usual = PruneOptions::default();
            let pruning = PruneOptions { plan, repair, stamp, finetune: training, quantize, ..usual };
            let device = request.device.open()?;
            match cut {
                Some(cut) => apply(analyzed, &device, cut, evidence, &pruning, observer),
                None => cut_network(analyzed, &device, evidence, &pruning, observer),
            }
        })
    })?;
    let pruned = settled(py, outcome)?;
    let Request { data, batch, device, .. } = request;
    Ok(Pruned { pruned, network: network.unbind(), data, inexact, batch, device })
}

#[pymethods]
impl Pruned {
    /// Returns the pruned file's contents with all tensors inside.
    fn onnx<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.pruned.model.to_bytes()))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.pruned.model.save(&path)).or_raise(py)
    }

    fn cut(&self) -> Cut {
        Cut(self.pruned.cut.clone())
    }

    fn original(&self, py: Python<'_>) -> Py<Network> {
        self.network.clone_ref(py)
    }

    /// Returns what is known of the pruned network.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let pruned = &self.pruned;
        let fields = PyDict::new(py);
        fields.set_item("before", plain(py, &pruned.before)?)?;
        fields.set_item("after", plain(py, &pruned.after)?)?;
        fields.set_item("removed_channels", pruned.removed_channels)?;
        fields.set_item("total_channels", pruned.total_channels)?;
        fields.set_item("repair", pruned.repair.to_string())?;
        fields.set_item("refits", pruned.refits)?;
        fields.set_item("proof", proof(py, &pruned.proof)?)?;
        fields.set_item("inexact", &pruned.inexact)?;
        fields.set_item("confidence", pruned.confidence)?;
        fields.set_item("collapsed", pruned.collapse.is_some())?;
        fields
            .set_item("quality", pruned.evaluation.as_ref().map(|found| quality(py, found)).transpose()?)?;
        fields
            .set_item("untrained", pruned.untrained.as_ref().map(|found| quality(py, found)).transpose()?)?;
        let unquantized = pruned.unquantized.as_ref().map(|found| quality(py, found));
        fields.set_item("unquantized", unquantized.transpose()?)?;
        fields.set_item("quantized_layers", pruned.quantized_layers)?;
        fields.set_item("formats", plain(py, &pruned.formats)?)?;
        fields.set_item("training", plain(py, &pruned.training)?)?;
        let rounds = pruned.rounds.iter().map(|round| round_fields(py, round));
        fields.set_item("rounds", PyList::new(py, rounds.collect::<PyResult<Vec<_>>>()?)?)?;
        fields.set_item("latency", pruned.latency.as_ref().map(|found| latency(py, found)).transpose()?)?;
        fields.set_item("attempts", attempts(py, &pruned.attempts)?)?;
        Ok(fields)
    }

    /// Writes the report page; both networks are timed for some seconds in all.
    fn report(&self, py: Python<'_>, path: PathBuf, seconds: f64, reporter: Py<PyAny>) -> PyResult<()> {
        let network = self.network.get();
        PyObserver::new(reporter).run(py, |observer| {
            let (analyzed, opened) = network.with_data(self.data.as_ref(), true, self.inexact)?;
            let calibration = opened.zip(self.data.as_ref());
            let calibration =
                calibration.map(|(opened, data)| secateur::pipeline::Calibration::new(opened, data.origin()));
            let files = CutFiles {
                pruned: self.pruned.model.clone(),
                cut: self.pruned.cut.clone(),
                profile: None,
                masked: None,
                proof: Some(self.pruned.proof.clone()),
            };
            let options = ReportOptions { seconds, ..ReportOptions::default() };
            let images = (files, calibration.as_ref(), self.batch);
            let mut page = report(analyzed, &self.device.open()?, images, &options, observer)?;
            self.pruned.add_trainings(&mut page);
            secateur::file::write_whole(&path, "write the report", render(&page).as_bytes())
        })
    }
}
