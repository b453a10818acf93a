//! Values and sizes that a user gives to a network's inputs.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::network::sample_spec;
use crate::data::{DataOptions, DataSources, Dataset, ResizeTo, SampleSpec, read_npy_f32};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::onnx::{InputBindings, Model};
use crate::tensor::{DType, SampleShape, Tensor};

/// Values and sizes of inputs, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputOptions {
    /// Inputs with a fixed value, such as a scale, a threshold or a sample rate.
    pub values: Vec<(String, InputValue)>,
    /// Whole shapes of inputs whose sizes the file leaves free, including the batch axis.
    pub sizes: Vec<(String, Vec<usize>)>,
}

/// The fixed value of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum InputValue {
    /// One number for all elements, or one for each.
    Numbers(Vec<f64>),
    /// The path of a `.npy` file.
    File(PathBuf),
}

impl std::str::FromStr for InputValue {
    type Err = Error;

    /// Parses numbers separated by commas, `true` or `false`, or else takes the text as the path of a `.npy` file.
    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| match text.trim() {
            "true" => Some(1.0),
            "false" => Some(0.0),
            text => text.parse().ok().filter(|v: &f64| v.is_finite()),
        };
        let numbers: Option<Vec<f64>> = text.split(',').map(number).collect();
        Ok(numbers.map_or_else(|| Self::File(PathBuf::from(text)), Self::Numbers))
    }
}

/// Parses a shape such as `1x3x48x320`.
///
/// # Errors
/// Text that is not a list of positive numbers.
pub fn parse_shape(text: &str) -> Result<Vec<usize>> {
    let dims = text.split(['x', '×', ',']).map(|n| n.trim().parse().ok().filter(|&n: &usize| n > 0));
    dims.collect::<Option<Vec<usize>>>().ok_or_else(|| {
        Error::new("not a shape")
            .expected("all axes of the input, as in 1x3x48x320")
            .got(format!("\"{text}\""))
            .remedy("give every axis, the batch included")
    })
}

impl InputOptions {
    /// Loads a model and binds its inputs.
    ///
    /// Sizes that remain free are those of an exact resize or crop, then those that arrays of `data` have.
    ///
    /// # Errors
    /// A file that is no model, an unknown input, a value or size that does not fit.
    pub fn load(&self, path: &Path, data: Option<(&DataSources, &DataOptions)>) -> Result<Model> {
        self.bind(Model::load(path)?, data)
    }

    /// Binds the inputs of a model, as [`Self::load`] does.
    ///
    /// # Errors
    /// An unknown input, a value or size that does not fit.
    pub fn bind(&self, model: Model, data: Option<(&DataSources, &DataOptions)>) -> Result<Model> {
        if self == &Self::default() && data.is_none() {
            return Ok(model);
        }
        let model = self.bound(model, data.and_then(|(_, options)| image_size(options)))?;
        match data {
            Some((spec, options)) => sized_by_data(model, spec, options),
            None => Ok(model),
        }
    }

    /// Binds the inputs of a model to a data set that `open` creates for the arrays that the model takes.
    ///
    /// Sizes that remain free are those of an exact resize or crop, then those of the first sample.
    ///
    /// # Errors
    /// An unknown input, a value or size that does not fit, errors of `open`.
    pub fn bind_to(
        &self,
        model: Model,
        options: &DataOptions,
        open: impl FnOnce(SampleSpec) -> Result<Dataset>,
    ) -> Result<(Model, Dataset)> {
        let mut model = self.bound(model, image_size(options))?;
        let graph = Graph::shapes_only(&model)?;
        let data = open(sample_spec(&graph))?;
        if graph.has_free_sizes() && Facts::at_own_size(&graph).is_err() {
            set_sizes(&mut model, &graph, data.sample()?);
        }
        Ok((model, data))
    }

    /// Binds values and given sizes.
    fn bound(&self, model: Model, image: Option<[usize; 2]>) -> Result<Model> {
        let sizes = self.sizes.iter().cloned().collect();
        let mut bindings = InputBindings { sizes, image, ..InputBindings::default() };
        for (name, value) in &self.values {
            let tensor = value.tensor(input_type(&model, name))?;
            if bindings.values.insert(name.clone(), tensor).is_some() {
                return Err(Error::new(format!("the input \"{name}\" is given twice"))
                    .file(&model.path)
                    .remedy("give each input one value"));
            }
        }
        Ok(model.with_bindings(bindings))
    }
}

impl InputValue {
    fn tensor(&self, dtype: DType) -> Result<Tensor> {
        match self {
            Self::Numbers(numbers) => {
                let shape = if numbers.len() == 1 { vec![] } else { vec![numbers.len()] };
                Ok(Tensor::from_f64(dtype, &shape, numbers))
            }
            Self::File(path) => {
                let (shape, data) = read_npy_f32(path)?;
                let data: Vec<f64> = data.into_iter().map(f64::from).collect();
                Ok(Tensor::from_f64(dtype, &shape, &data))
            }
        }
    }
}

/// Returns the element type of an input; `f32` for an unknown one, which the graph refuses.
fn input_type(model: &Model, name: &str) -> DType {
    let found = model.graph().input.iter().find(|input| input.name() == name);
    let tensor = found.and_then(|input| input.r#type.as_ref()).and_then(|t| t.tensor_type.as_ref());
    tensor.and_then(|tensor| DType::from_onnx(tensor.elem_type())).unwrap_or(DType::F32)
}

/// Returns the size of images after preprocessing, if the options determine it.
fn image_size(options: &DataOptions) -> Option<[usize; 2]> {
    let whole = match options.resize {
        Some(ResizeTo::Exact(size)) => Some([size.height, size.width]),
        Some(ResizeTo::Shorter(side)) if options.letterbox.is_some() => Some([side, side]),
        _ => None,
    };
    options.crop.map(|size| [size.height, size.width]).or(whole)
}

/// Takes sizes that nothing else determines from the first sample of the data.
fn sized_by_data(mut model: Model, sources: &DataSources, options: &DataOptions) -> Result<Model> {
    let graph = Graph::shapes_only(&model)?;
    if !graph.has_free_sizes() || Facts::at_own_size(&graph).is_ok() {
        return Ok(model);
    }
    let first = DataOptions { images: Some(1), shard: None, sample: None, ..options.clone() };
    // Data that does not say more is reported later, with the inputs that it has to fit.
    let Ok(sample) = Dataset::open(sources, &first, sample_spec(&graph)).and_then(|data| data.sample())
    else {
        return Ok(model);
    };
    set_sizes(&mut model, &graph, sample);
    Ok(model)
}

/// Sets the sizes of the inputs that data feed to those of a sample.
fn set_sizes(model: &mut Model, graph: &Graph, sample: SampleShape) {
    for (input, shape) in graph.sample_inputs().zip(sample.0) {
        let whole = input.batched.then_some(input.size(0).unwrap_or(1)).into_iter().chain(shape).collect();
        model.bindings.sizes.insert(graph.name(input.value).to_owned(), whole);
    }
}

/// Describes bindings for a profile: numbers, or the digest of many.
pub(super) fn describe(bindings: &InputBindings) -> Vec<(String, String)> {
    const SHOWN: usize = 16;
    let value = |tensor: &Tensor| {
        let numbers = tensor.to_f64();
        if numbers.len() <= SHOWN {
            return numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        }
        let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let digest: String = Sha256::digest(&bytes).iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("{} numbers, sha256 {digest}…", numbers.len())
    };
    bindings.values.iter().map(|(name, tensor)| (name.clone(), value(tensor))).collect()
}
