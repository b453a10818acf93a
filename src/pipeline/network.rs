//! A network with its channel dependencies: the input of every operation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::{DataOptions, DataSources, Dataset, InputSpec, SampleSpec};
use crate::error::{Error, Result};
use crate::graph::{Graph, GraphInput};
use crate::onnx::{InputBindings, Model};
use crate::prune::Channels;
use crate::report::Cost;

/// A model with its graph and the dependencies between its channels.
#[derive(Clone, Debug)]
pub struct Network {
    /// The model as an ONNX message.
    pub model: Model,
    /// The typed graph of the model.
    pub graph: Graph,
    /// The channels that must be kept or removed together, and their costs.
    pub channels: Channels,
    pub(super) original: Original,
}

/// The place from which the unchanged model is read again, once its weights were released to save memory.
#[derive(Clone, Debug)]
pub(super) enum Original {
    File(PathBuf, InputBindings),
    Memory(Arc<Model>),
}

impl Original {
    pub(super) fn model(&self) -> Result<Model> {
        match self {
            Self::File(path, bindings) => Ok(Model::load(path)?.with_bindings(bindings.clone())),
            Self::Memory(model) => Ok(Model::clone(model)),
        }
    }
}

impl Network {
    /// Loads a model file and analyzes its channel dependencies.
    ///
    /// # Errors
    /// A file that cannot be read, is no ONNX model, or uses what the engine does not support.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_file(Model::load(path.as_ref())?, false)
    }

    /// Analyzes a model in memory, and keeps a copy of it as long as the network lives.
    ///
    /// # Errors
    /// A model that uses what the engine does not support.
    pub fn from_model(model: Model) -> Result<Self> {
        Self::in_memory(model, false)
    }

    /// Analyzes a model loaded from the file [`Model::path`], which is read again when needed.
    ///
    /// A model without a file, such as one from a stream, is kept in memory.
    ///
    /// With `inexact`, channels mixed by a normalization, softmax or reduction may be removed one by one; the rest is
    /// then normalized without them, which changes the outputs.
    ///
    /// # Errors
    /// A model that uses what the engine does not support.
    pub fn from_file(model: Model, inexact: bool) -> Result<Self> {
        let original = if model.path.is_file() {
            Original::File(model.path.clone(), model.bindings.clone())
        } else {
            Original::Memory(Arc::new(model.clone()))
        };
        Self::analyze(model, original, inexact)
    }

    /// Analyzes a model in memory, which is kept beside the network.
    ///
    /// # Errors
    /// As [`Self::from_model`].
    pub(super) fn in_memory(model: Model, inexact: bool) -> Result<Self> {
        let original = Original::Memory(Arc::new(model.clone()));
        Self::analyze(model, original, inexact)
    }

    fn analyze(model: Model, original: Original, inexact: bool) -> Result<Self> {
        let graph = Graph::from_model(&model)?;
        let channels = Channels::analyze(&graph, inexact)?;
        Ok(Self { model, graph, channels, original })
    }

    /// Returns whether mixed channels may be removed one by one.
    pub fn is_inexact(&self) -> bool {
        self.channels.coupling.inexact
    }

    /// Returns MACs for one image, parameters, and bytes of the file.
    pub fn cost(&self) -> Cost {
        cost(&self.channels, self.model.bytes)
    }

    /// Returns the ids of all coupled channels with a layer whose name matches.
    pub fn protect(&self, matches: impl Fn(&str) -> bool) -> BTreeSet<usize> {
        let protected =
            self.channels.coupled.iter().filter(|coupled| {
                coupled.members.iter().any(|&(node, _)| matches(&self.graph.nodes[node].name))
            });
        protected.map(|coupled| coupled.id).collect()
    }
}

/// Opens a data set for a network: folders of images or recordings, `.npy`, `.npz`, idx, `.wav`, or `random:N`.
///
/// # Errors
/// As [`Dataset::open`].
pub fn open_data(graph: &Graph, sources: impl Into<DataSources>, options: &DataOptions) -> Result<Dataset> {
    Dataset::open(sources, options, sample_spec(graph))
}

/// Opens a data set that judges beside another one: recordings are resampled to the other's rate.
///
/// # Errors
/// As [`open_data`].
pub fn open_test(
    graph: &Graph,
    sources: impl Into<DataSources>,
    options: DataOptions,
    beside: &Dataset,
) -> Result<Dataset> {
    let sources = sources.into();
    let test = open_data(graph, &sources, &options)?;
    match (test.preprocessing().rate, beside.preprocessing().rate) {
        (Some(own), Some(rate)) if own != rate => {
            open_data(graph, &sources, &DataOptions { rate: Some(rate), ..options })
        }
        _ => Ok(test),
    }
}

/// Opens a data set that decides which channels are removed: random inputs are refused unless allowed.
///
/// # Errors
/// As [`open_data`], and random inputs.
pub fn open_calibration(
    graph: &Graph,
    sources: impl Into<DataSources>,
    options: &DataOptions,
    allow_random: bool,
) -> Result<Dataset> {
    let sources = sources.into();
    let data = open_data(graph, &sources, options)?;
    if data.is_random() && !allow_random {
        return Err(Error::new("random inputs say nothing about a network")
            .expected("real images")
            .got(sources.to_string())
            .remedy("give real images, or set `allow_random`"));
    }
    Ok(data)
}

/// Returns the arrays that data must provide for one sample: the inputs that are used and have no fixed value.
pub fn sample_spec(graph: &Graph) -> SampleSpec {
    let spec = |input: &GraphInput| InputSpec {
        name: graph.name(input.value).to_owned(),
        axes: input.sample(),
        integer: !input.dtype.is_float(),
    };
    SampleSpec { inputs: graph.sample_inputs().map(spec).collect() }
}

/// Returns what a network costs whose file has so many bytes.
pub(super) fn cost(channels: &Channels, bytes: u64) -> Cost {
    let (macs, params) = channels.cost(&channels.lengths());
    Cost { params, macs, bytes }
}
