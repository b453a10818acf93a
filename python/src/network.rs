//! Networks: a model, and the analysis of its channels once it is needed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use secateur::pipeline::{
    Dataset, Graph, InputOptions, InputValue, Model, NamedTensor, Network as Analyzed, run,
};
use secateur::{Error, Result};
use serde_json::json;

use crate::callbacks::tensor;
use crate::data::Data;
use crate::error::OrRaise;
use crate::options::Options;

/// The name of a model without a file, in messages.
const IN_MEMORY: &str = "the model in memory";

/// `inexact`, the values of inputs, and their sizes.
type NetworkOptions = (bool, Vec<(String, Vec<f64>)>, Vec<(String, Vec<usize>)>);

/// A network, whose channels are analyzed when they are needed.
#[pyclass(frozen, module = "secateur._secateur")]
pub(crate) struct Network {
    pub(crate) model: Model,
    inputs: InputOptions,
    pub(crate) inexact: bool,
    /// The analysis without data; `None` in it if sizes depend on data.
    analyzed: OnceLock<Analyzed>,
}

#[pymethods]
impl Network {
    /// Loads a model from a path, or from the bytes of a file.
    #[new]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        bytes: Option<PyBackedBytes>,
        options: Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let options = Options(options);
        let inexact = options.flag("inexact")?;
        let values = options.get::<Vec<(String, Vec<f64>)>>("values", "numbers by the name of an input")?;
        let sizes = options.get::<Vec<(String, Vec<usize>)>>("sizes", "shapes by the name of an input")?;
        let numbers = |(name, numbers)| (name, InputValue::Numbers(numbers));
        let inputs = InputOptions {
            values: values.into_iter().flatten().map(numbers).collect(),
            sizes: sizes.unwrap_or_default(),
        };
        py.detach(|| {
            let model = match (path, bytes) {
                (Some(path), _) => Model::load(&path),
                (None, Some(bytes)) => Model::from_bytes(Bytes::from_owner(bytes), Path::new(IN_MEMORY)),
                (None, None) => Err(Error::new("no model was given")),
            };
            // Unknown inputs and values that do not fit are errors now.
            let bound = model.and_then(|model| inputs.bind(model, None))?;
            Graph::shapes_only(&bound)?;
            Ok(Self { model: bound, inputs, inexact, analyzed: OnceLock::new() })
        })
        .or_raise(py)
    }

    #[getter]
    fn path(&self) -> Option<&Path> {
        Some(self.model.path.as_path()).filter(|path| *path != Path::new(IN_MEMORY))
    }

    /// Returns the options of the network: `inexact`, values and sizes of inputs.
    fn options(&self) -> NetworkOptions {
        let numbers = |(name, value): &(String, InputValue)| match value {
            InputValue::Numbers(numbers) => Some((name.clone(), numbers.clone())),
            // The package reads files itself, and gives numbers.
            InputValue::File(_) => None,
        };
        (self.inexact, self.inputs.values.iter().filter_map(numbers).collect(), self.inputs.sizes.clone())
    }

    #[getter]
    fn sha256(&self) -> &str {
        &self.model.sha256
    }

    /// Returns the file's contents with all tensors inside.
    fn onnx<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.model.to_bytes()))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.model.save(&path)).or_raise(py)
    }

    /// Returns the names and sizes of the inputs that data must feed; `None` for a free size.
    fn sample(&self, py: Python<'_>) -> PyResult<Vec<(String, Vec<Option<usize>>)>> {
        let spec = py
            .detach(|| Graph::shapes_only(&self.model).map(|graph| secateur::pipeline::sample_spec(&graph)));
        Ok(spec.or_raise(py)?.inputs.into_iter().map(|input| (input.name, input.axes)).collect())
    }

    /// Returns the names of all nodes.
    fn nodes(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let names = || -> Result<Vec<String>> {
            let graph = Graph::shapes_only(&self.model)?;
            Ok(graph.nodes.iter().map(|node| node.name.clone()).collect())
        };
        py.detach(names).or_raise(py)
    }

    /// Returns the summary as JSON.
    fn summary(&self, py: Python<'_>) -> PyResult<String> {
        let summary = py.detach(|| self.analyzed().map(secateur::pipeline::Network::summary)).or_raise(py)?;
        let coupled: Vec<_> = summary
            .coupled
            .iter()
            .map(|set| json!({ "id": set.id, "members": set.members, "blocked": set.blocked }))
            .collect();
        let groups: Vec<_> = summary.groups.iter().map(|group| json!({ "layers": group.layers, "coupled": group.coupled, "channels": group.channels, "blocked": group.blocked })).collect();
        Ok(json!({
            "opset": summary.opset, "cost": summary.cost, "inputs": summary.inputs, "outputs": summary.outputs,
            "layers": summary.layers, "coupled": coupled, "groups": groups,
            "host_nodes": summary.host_nodes, "inexact": summary.inexact,
        })
        .to_string())
    }

    /// Runs one forward pass on arrays of floats: name, dimensions, bytes.
    fn run<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<(String, Vec<usize>, Bound<'py, PyBytes>)>,
        taps: Vec<String>,
        options: Bound<'py, PyDict>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let device = Options(options).device()?;
        let singles = |bytes: &Bound<'_, PyBytes>| -> Vec<f32> {
            bytes.as_bytes().as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
        };
        let inputs =
            inputs.iter().map(|(name, shape, bytes)| (name.clone(), (shape.clone(), singles(bytes))));
        let inputs = inputs.collect();
        let outputs = py.detach(|| run(&self.model, &device.open()?, &inputs, &taps)).or_raise(py)?;
        outputs.iter().map(|output: &NamedTensor| tensor(py, output)).collect()
    }
}

impl Network {
    /// Returns the analyzed network, with sizes that do not depend on data.
    pub(crate) fn analyzed(&self) -> Result<&Analyzed> {
        if let Some(known) = self.analyzed.get() {
            return Ok(known);
        }
        let analyzed = Analyzed::from_file(self.model.clone(), self.inexact)?;
        Ok(self.analyzed.get_or_init(|| analyzed))
    }

    /// Returns the network, analyzed, and the data opened for it; `deciding` refuses random inputs.
    ///
    /// Sizes that the model leaves free may be those of the data. `inexact` replaces the network's own choice.
    pub(crate) fn with_data(
        &self,
        data: Option<&Data>,
        deciding: bool,
        inexact: bool,
    ) -> Result<(Analyzed, Option<Dataset>)> {
        let Some(data) = data else {
            return match inexact == self.inexact {
                true => Ok((self.analyzed()?.clone(), None)),
                false => Ok((Analyzed::from_file(self.model.clone(), inexact)?, None)),
            };
        };
        let (model, opened) = self.bound_to(data)?;
        let is_known = model.bindings == self.model.bindings && inexact == self.inexact;
        let network = match is_known {
            true => self.analyzed()?.clone(),
            false => Analyzed::from_file(model, inexact)?,
        };
        let opened = match (opened, data.path()) {
            (Some(opened), _) => opened,
            (None, path) => data.at_path(&network.graph, &path.cloned().unwrap_or_default(), deciding)?,
        };
        Ok((network, Some(opened)))
    }

    /// Returns the model with the sizes of the data, and data in memory opened for it.
    pub(crate) fn bound_to(&self, data: &Data) -> Result<(Model, Option<Dataset>)> {
        let model = self.model.clone();
        match data.path() {
            Some(path) => Ok((self.inputs.bind(model, Some((path, &data.options)))?, None)),
            None => {
                let (model, opened) =
                    self.inputs.bind_to(model, &data.options, |spec| data.in_memory(spec))?;
                Ok((model, Some(opened)))
            }
        }
    }
}
