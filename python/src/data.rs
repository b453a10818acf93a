//! Data of callers: paths, arrays that are read by rows, and streams of batches.

use std::ops::Range;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use secateur::Result;
use secateur::data::SampleSpec;
use secateur::error::Error;
use secateur::pipeline::{
    Calibration, DataOptions, DataSources, Dataset, Graph, InputArray, MetricOptions, Origin, Repair,
    RowReader, SampleStream, StreamBatch, StreamBatches, open_calibration, open_data, open_test,
};

use crate::error::{OrRaise, raised};
use crate::options::Options;

/// A source of samples with its preprocessing, as the package describes it.
#[derive(Clone)]
pub(crate) struct Data {
    source: Source,
    pub(crate) options: DataOptions,
    allow_random: bool,
    /// A description for profiles; empty for data whose origin is unknown.
    name: String,
}

#[derive(Clone)]
enum Source {
    Path(DataSources),
    Arrays(Vec<InputArray>, Option<Vec<i64>>),
    Stream(Arc<PyStream>, u64),
}

impl Data {
    /// Reads a description, a dictionary with `paths`, `arrays` or `walk`.
    pub(crate) fn of(given: &Options<'_>, name: &str) -> PyResult<Option<Self>> {
        let Some(given) = given.get::<Bound<'_, PyDict>>(name, "data")? else { return Ok(None) };
        let given = Options(given);
        let labels = given.get::<Bound<'_, PyBytes>>("labels", "labels")?.map(|bytes| integers(&bytes));
        let source = if let Some(paths) = given.get::<Vec<String>>("paths", "paths")? {
            Source::Path(DataSources::from(paths))
        } else if let Some(arrays) = given.get::<Vec<ArrayParts>>("arrays", "arrays")? {
            let input = |(name, dtype, shape, read): ArrayParts| {
                let reader: Arc<dyn RowReader> = Arc::new(PyRows(read));
                InputArray { name, dtype, shape, reader }
            };
            Source::Arrays(arrays.into_iter().map(input).collect(), labels)
        } else {
            let walk = given.any("walk")?.ok_or_else(|| PyValueError::new_err("data without a source"))?;
            let repeats = given.flag("repeats")?;
            let most = given.get("max_memory", "a number of bytes")?.unwrap_or(u64::MAX);
            Source::Stream(Arc::new(PyStream { walk: walk.unbind(), repeats }), most)
        };
        Ok(Some(Self {
            source,
            options: given.data()?,
            allow_random: given.flag("allow_random")?,
            name: given.text("name")?.unwrap_or_default(),
        }))
    }

    /// Returns the path that the command line would take; `None` for data in memory.
    pub(crate) fn path(&self) -> Option<&DataSources> {
        match &self.source {
            Source::Path(path) => Some(path),
            Source::Arrays(..) | Source::Stream(..) => None,
        }
    }

    /// Returns the origin for profiles.
    pub(crate) fn origin(&self) -> Origin {
        Origin::new(self.name.as_str(), &self.options)
    }

    /// Opens data in memory for the arrays that a network takes.
    pub(crate) fn in_memory(&self, network: SampleSpec) -> Result<Dataset> {
        match &self.source {
            Source::Path(path) => Dataset::open(path, &self.options, network),
            Source::Arrays(arrays, labels) => {
                Dataset::from_arrays(arrays.clone(), labels.clone(), &self.options, network)
            }
            Source::Stream(stream, most) => {
                let stream: Arc<dyn SampleStream> = Arc::<PyStream>::clone(stream);
                Dataset::from_stream(stream, *most, &self.options, network)
            }
        }
    }

    /// Opens data at a path; `deciding` refuses random inputs unless they are allowed.
    pub(crate) fn at_path(&self, graph: &Graph, path: &DataSources, deciding: bool) -> Result<Dataset> {
        match deciding {
            true => open_calibration(graph, path, &self.options, self.allow_random),
            false => open_data(graph, path, &self.options),
        }
    }

    /// Opens the data of a test beside those that calibrate.
    fn as_test(&self, graph: &Graph, beside: &Dataset) -> Result<Dataset> {
        match &self.source {
            Source::Path(path) => open_test(graph, path, self.options.clone(), beside),
            Source::Arrays(..) | Source::Stream(..) => self.in_memory(secateur::pipeline::sample_spec(graph)),
        }
    }

    /// Adds label images that the data's file holds to the options of a metric.
    pub(crate) fn labelled(&self, metric: MetricOptions) -> Result<MetricOptions> {
        match self.path() {
            Some(path) => metric.with_labels_within(path),
            None => Ok(metric),
        }
    }
}

/// The images that judge a result.
#[derive(Clone)]
pub(crate) struct Judges {
    pub(crate) test: Option<Data>,
    held_out: Option<f64>,
}

impl Judges {
    pub(crate) fn of(options: &Options<'_>) -> PyResult<Self> {
        let judges = Self { test: Data::of(options, "test")?, held_out: options.number("held_out")? };
        if judges.test.is_some() && judges.held_out.is_some() {
            return Err(
                Error::new("`test` and `held_out` exclude each other").remedy("leave out one of them")
            )
            .or_raise(options.py());
        }
        Ok(judges)
    }

    /// Returns calibration images with those that judge.
    pub(crate) fn calibration(
        &self,
        graph: &Graph,
        (opened, data): (Dataset, &Data),
        repair: Option<Repair>,
    ) -> Result<Calibration> {
        match &self.test {
            Some(test) => {
                let test = test.as_test(graph, &opened)?;
                Ok(Calibration::with_test(opened, data.origin(), test))
            }
            None => Calibration::hold_out(opened, data.origin(), self.held_out, repair),
        }
    }
}

/// Name, NumPy's type, dimensions, and a function that returns the bytes of rows from one number to another.
type ArrayParts = (String, String, Vec<usize>, Py<PyAny>);

fn integers(bytes: &Bound<'_, PyBytes>) -> Vec<i64> {
    let (chunks, _) = bytes.as_bytes().as_chunks::<8>();
    chunks.iter().map(|&chunk| i64::from_le_bytes(chunk)).collect()
}

/// An array of the caller, whose rows are copied when they are needed.
#[derive(Debug)]
struct PyRows(Py<PyAny>);

impl RowReader for PyRows {
    fn rows(&self, range: Range<usize>) -> Result<Vec<u8>> {
        let read = |py: Python<'_>| -> PyResult<Vec<u8>> {
            let bytes = self.0.call1(py, (range.start, range.end))?;
            Ok(bytes.bind(py).cast::<PyBytes>()?.as_bytes().to_vec())
        };
        Python::attach(read).map_err(raised)
    }
}

/// An iterable of the caller: `walk()` returns an iterator over batches.
#[derive(Debug)]
struct PyStream {
    walk: Py<PyAny>,
    repeats: bool,
}

impl SampleStream for PyStream {
    fn walk(&self) -> Result<StreamBatches> {
        let walk = Python::attach(|py| self.walk.call0(py)).map_err(raised)?;
        Ok(Box::new(PyWalk(walk)))
    }

    fn repeats(&self) -> bool {
        self.repeats
    }
}

/// An iterator that yields pairs: arrays as name, NumPy's type, dimensions and bytes; labels as bytes, or `None`.
struct PyWalk(Py<PyAny>);

impl Iterator for PyWalk {
    type Item = Result<StreamBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        Python::attach(|py| {
            let next = self.0.bind(py).try_iter().map(|mut walk| walk.next());
            match next {
                Ok(None) => None,
                Ok(Some(item)) => Some(item.and_then(|item| batch(&item)).map_err(raised)),
                Err(error) => Some(Err(raised(error))),
            }
        })
    }
}

/// Reads a batch of the package.
fn batch(item: &Bound<'_, PyAny>) -> PyResult<StreamBatch> {
    type Parts<'py> = (String, String, Vec<usize>, Bound<'py, PyBytes>);
    let (arrays, labels): (Vec<Parts<'_>>, Option<Bound<'_, PyBytes>>) = item.extract()?;
    let arrays =
        arrays.into_iter().map(|(name, dtype, shape, bytes)| (name, dtype, shape, bytes.as_bytes().to_vec()));
    Ok(StreamBatch { arrays: arrays.collect(), labels: labels.map(|labels| integers(&labels)) })
}
