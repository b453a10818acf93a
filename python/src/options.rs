//! Keyword arguments as the library's options.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use secateur::Error;
use secateur::pipeline::{
    Budget, DataOptions, Device, DeviceChoice, FeatureLayers, LabelImages, MetricKind, MetricOptions,
    Optimizer, PlanOptions, Precision, Repair, Schedule, Scope, ScoreNormalization, Target, TrainingLength,
    TrainingOptions, check_training, devices,
};

use crate::callbacks::{PyMetric, criterion};
use crate::error::OrRaise;

/// Keyword arguments of a function, by name.
#[derive(Clone)]
pub(crate) struct Options<'py>(pub(crate) Bound<'py, PyDict>);

impl<'py> Options<'py> {
    pub(crate) fn py(&self) -> Python<'py> {
        self.0.py()
    }

    /// Returns the argument as it is; `None` also for Python's `None`.
    pub(crate) fn any(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.0.get_item(name)?.filter(|value| !value.is_none()))
    }

    /// Returns the argument as a Rust value; `wanted` describes it for the exception.
    pub(crate) fn get<T: FromPyObjectOwned<'py>>(&self, name: &str, wanted: &str) -> PyResult<Option<T>> {
        let Some(value) = self.any(name)? else { return Ok(None) };
        value.extract::<T>().map(Some).map_err(|failed| {
            let failed: PyErr = failed.into();
            let shown = value.repr().map_or_else(|_| "?".to_owned(), |text| text.to_string());
            let error = PyTypeError::new_err(format!("{name} takes {wanted}, got {shown}"));
            error.set_cause(self.py(), Some(failed));
            error
        })
    }

    pub(crate) fn number(&self, name: &str) -> PyResult<Option<f64>> {
        self.get(name, "a number")
    }

    /// Returns a count from 0.
    pub(crate) fn count(&self, name: &str) -> PyResult<Option<usize>> {
        self.get(name, "a whole number from 0")
    }

    /// Returns a count from 1.
    pub(crate) fn positive(&self, name: &str) -> PyResult<Option<usize>> {
        let count = self.count(name)?;
        match count {
            Some(0) => Err(Error::new(format!("`{name}` does not fit"))
                .expected("a whole number from 1")
                .got("0")
                .remedy("raise it, or leave it out"))
            .or_raise(self.py()),
            count => Ok(count),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> PyResult<bool> {
        Ok(self.get(name, "True or False")?.unwrap_or(false))
    }

    pub(crate) fn text(&self, name: &str) -> PyResult<Option<String>> {
        self.get(name, "a string")
    }

    pub(crate) fn path(&self, name: &str) -> PyResult<Option<PathBuf>> {
        self.get(name, "a path")
    }

    /// Returns the value of a name among `choices`.
    pub(crate) fn choice<T: Copy>(&self, name: &str, choices: &[(&'static str, T)]) -> PyResult<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = choices.iter().find(|(known, _)| *known == text).map(|&(_, value)| value);
        let names = || choices.iter().map(|choice| choice.0);
        let unknown = || {
            Error::new(format!("an unknown `{name}`"))
                .expected(names().collect::<Vec<_>>().join(", "))
                .got(format!("\"{text}\""))
                .meant(&text, names(), "choose one of these")
        };
        found.map(Some).ok_or_else(unknown).or_raise(self.py())
    }

    pub(crate) fn parsed<T: std::str::FromStr<Err = Error>>(&self, name: &str) -> PyResult<Option<T>> {
        self.text(name)?.map(|text| text.parse()).transpose().or_raise(self.py())
    }

    pub(crate) fn repair(&self, name: &str) -> PyResult<Option<Repair>> {
        let choices =
            [("none", Repair::None), ("bias", Repair::Bias), ("bn", Repair::Bn), ("full", Repair::Full)];
        self.choice(name, &choices)
    }

    pub(crate) fn gram(&self) -> PyResult<Option<secateur::pipeline::GramKind>> {
        use secateur::pipeline::GramKind::{Both, Channel, None, Patch};
        self.choice("gram", &[("none", None), ("channel", Channel), ("patch", Patch), ("both", Both)])
    }

    /// Opens the device, and notes through the reporter why it is no GPU.
    pub(crate) fn device(&self) -> PyResult<OpenDevice> {
        let choice: DeviceChoice = match self.any("device")? {
            Some(number) if number.extract::<usize>().is_ok() => DeviceChoice::Index(number.extract()?),
            _ => self.parsed("device")?.unwrap_or_default(),
        };
        let precision = self.choice("precision", &[("f32", Precision::F32), ("f16", Precision::F16)])?;
        Ok(OpenDevice { choice, precision: precision.unwrap_or_default() })
    }

    /// Returns the requested preprocessing and selection.
    pub(crate) fn data(&self) -> PyResult<DataOptions> {
        let numbers = |name| self.get::<Vec<f32>>(name, "a sequence of numbers");
        Ok(DataOptions {
            preset: self.parsed("preset")?,
            resize: self.parsed("resize")?,
            crop: self.parsed("crop")?,
            mean: numbers("mean")?,
            std: numbers("std")?,
            letterbox: self.get("letterbox", "a whole number from 0 to 255")?,
            layout: self.parsed("layout")?,
            channels: self.parsed("channels")?,
            scale: self.get("scale", "a number")?,
            rate: self.get("rate", "a sample rate in Hz")?,
            classes: self.path("classes")?,
            label_offset: self.get("label_offset", "a whole number")?.unwrap_or(0),
            strict: self.flag("strict")?,
            images: self.count("images")?,
            sample: self.get("sample", "a seed from 0")?,
            shard: self.parsed("shard")?,
            order: self.get("order", "a seed from 0")?,
        })
    }

    /// Returns the only target; `None` if there is none.
    pub(crate) fn target(&self) -> PyResult<Option<Target>> {
        let one = |name: &str, target: fn(f64) -> Target| Ok::<_, PyErr>(self.number(name)?.map(target));
        let named = [
            one("keep_macs", |r| Target::Keep(Budget::KeepMacs(r)))?,
            one("keep_params", |r| Target::Keep(Budget::KeepParams(r)))?,
            one("keep_bytes", Target::Bytes)?,
            one("keep_latency", Target::Latency)?,
            one("remove_below", |s| Target::Keep(Budget::RemoveBelow(s)))?,
            one("max_drop", Target::MaxDrop)?,
            one("min_quality", Target::MinQuality)?,
        ];
        let mut named = named.into_iter().flatten();
        match (named.next(), named.next()) {
            (target, None) => {
                target.map_or(Ok(()), Target::check).or_raise(self.py())?;
                Ok(target)
            }
            (_, Some(_)) => Err(one_budget()).or_raise(self.py()),
        }
    }

    /// Returns the only target, or an exception without one.
    pub(crate) fn required_target(&self) -> PyResult<Target> {
        self.target()?.ok_or_else(one_budget).or_raise(self.py())
    }

    /// Returns how channels are chosen, apart from protected layers; `has_data` decides what own criteria get.
    pub(crate) fn plan(&self, target: Target, has_data: bool) -> PyResult<PlanOptions> {
        let usual = PlanOptions::default();
        let normalizations = [
            ("none", ScoreNormalization::None),
            ("layer", ScoreNormalization::Layer),
            ("macs", ScoreNormalization::Macs),
            ("params", ScoreNormalization::Params),
        ];
        let scopes = [("global", Scope::Global), ("layer", Scope::Layer)];
        Ok(PlanOptions {
            target,
            criterion: self.any("criterion")?.map(|given| criterion(&given, has_data)).transpose()?,
            normalize: self.choice("normalize", &normalizations)?,
            scope: self.choice("scope", &scopes)?.unwrap_or_default(),
            round_to: self.positive("round_to")?.unwrap_or(1),
            max_cut: self.number("max_cut")?.unwrap_or(usual.max_cut),
            min_channels: self.positive("min_channels")?.unwrap_or(1),
            seed: self.get("seed", "a seed from 0")?.unwrap_or(0),
            rounds: self.positive("rounds")?.unwrap_or(1),
            require_confidence: self.number("require_confidence")?,
            metric: self.metric()?,
            ..usual
        })
    }

    /// Returns how outputs are measured.
    pub(crate) fn metric(&self) -> PyResult<MetricOptions> {
        let py = self.py();
        let kind = match self.any("metric")? {
            Some(text) if text.extract::<String>().is_ok() => self.parsed::<MetricKind>("metric")?,
            Some(own) => Some(MetricKind::Custom(Arc::new(PyMetric::new(&own)?))),
            None => None,
        };
        let labels = self.path("labels")?.map(|path| LabelImages::open(&path)).transpose().or_raise(py)?;
        let (peak, force) = (self.number("peak")?, self.flag("force")?);
        let (boxes, min_score) = (self.parsed("boxes")?, self.number("min_score")?);
        let labels = labels.map(Arc::new);
        let options = MetricOptions { metric: kind, labels, peak, boxes, min_score, force };
        options.check().or_raise(py)?;
        Ok(options)
    }

    /// Returns how a network is trained, from a dictionary that the package has checked to have one length.
    pub(crate) fn training(&self, seed: u64) -> PyResult<TrainingOptions> {
        let length = match self.count("steps")? {
            Some(steps) => TrainingLength::Steps(steps),
            None => TrainingLength::Epochs(self.number("epochs")?.unwrap_or_default()),
        };
        let schedules = [
            ("cosine", Schedule::Cosine),
            ("one-cycle", Schedule::OneCycle),
            ("constant", Schedule::Constant),
        ];
        let usual = TrainingOptions::new(length);
        let options = TrainingOptions {
            batch: self.positive("train_batch")?,
            rate: self.number("learning_rate")?,
            schedule: self.choice("schedule", &schedules)?.unwrap_or_default(),
            optimizer: self
                .choice("optimizer", &[("adamw", Optimizer::ADAMW), ("sgd", Optimizer::SGD)])?
                .unwrap_or(usual.optimizer),
            decay: self.number("weight_decay")?.unwrap_or(usual.decay),
            label_weight: self.number("label_weight")?.unwrap_or(usual.label_weight),
            augment: self.parsed("augment")?,
            objective: self.parsed("losses")?,
            features: self.features()?,
            penalty: self.parsed("penalty")?,
            train_bn: self.flag("train_bn")?,
            trajectories: self.flag("trajectories")?,
            seed,
            checkpoint: self.path("checkpoint")?,
            resume: self.flag("resume")?,
            ..usual
        };
        check_training(&options).or_raise(self.py())?;
        Ok(options)
    }

    /// Returns the layers whose features are compared: `last`, `stages`, or names of nodes.
    fn features(&self) -> PyResult<FeatureLayers> {
        let Some(given) = self.any("features")? else { return Ok(FeatureLayers::default()) };
        if given.is_instance_of::<PyString>() {
            let Ok(layers) = self.text("features")?.unwrap_or_default().parse();
            return Ok(layers);
        }
        let names = self.get("features", "\"last\", \"stages\", or names of nodes")?;
        Ok(FeatureLayers::Named(names.unwrap_or_default()))
    }

    /// Returns the names of layers that keep all channels.
    pub(crate) fn protected(&self) -> PyResult<Vec<String>> {
        Ok(self.get("protect", "names of layers")?.unwrap_or_default())
    }
}

fn one_budget() -> Error {
    Error::new("one budget is needed")
        .expected(
            "one of `keep_macs`, `keep_params`, `keep_bytes`, `keep_latency`, `remove_below`, `max_drop`, `min_quality`",
        )
        .remedy("for example keep_macs=0.5")
}

/// A device that is opened without the GIL.
pub(crate) struct OpenDevice {
    choice: DeviceChoice,
    precision: Precision,
}

impl OpenDevice {
    /// Opens the device at its precision.
    pub(crate) fn open(&self) -> secateur::Result<Device> {
        let (device, _) = devices::open(&self.choice)?;
        device.recall();
        device.at(self.precision)
    }
}
