//! Running a network on arrays, and checking a device against the reference.

use std::collections::HashMap;
use std::path::Path;

use super::data_notices::notice_data;
use crate::data::{Dataset, read_npy_f32, write_npy};
use crate::error::{Error, Result};
use crate::exec::check::{Checks, check as side_by_side};
use crate::exec::devices::Device;
use crate::exec::host_subgraph::OutputTensor;
use crate::exec::session::{Session, SessionOptions};
use crate::graph::{Graph, Sizes};
use crate::observer::Observer;
use crate::onnx::Model;
use crate::onnx::proto::ValueInfoProto;
use crate::tensor::Tensor;

/// A float array: shape and elements, row-major.
pub type Array = (Vec<usize>, Vec<f32>);

/// Runs one forward pass; returns the outputs, then the values named by `taps`.
///
/// # Errors
/// An input or a tapped value that is missing or unknown, an array of the wrong shape, a network that does not run.
pub fn run(
    model: &Model,
    device: &Device,
    inputs: &HashMap<String, Array>,
    taps: &[String],
) -> Result<Vec<(String, Tensor)>> {
    let graph = Graph::from_model(model)?;
    let mut arrays: Vec<&[f32]> = Vec::new();
    for input in graph.sample_inputs() {
        let name = graph.name(input.value);
        let (_, data) = inputs.get(name).ok_or_else(|| {
            let mut given: Vec<&str> = inputs.keys().map(String::as_str).collect();
            given.sort_unstable();
            Error::new(format!("the input \"{name}\" is not given"))
                .file(&model.path)
                .expected(format!("an array of shape {}", input.show()))
                .got(given.join(", "))
                .remedy(format!("add `input` {name}=FILE.npy"))
        })?;
        arrays.push(data);
    }
    let value = |name: &String| {
        graph.value(name).ok_or_else(|| {
            Error::new(format!("the network has no value \"{name}\"")).file(&model.path).meant(
                name,
                graph.values.iter().map(|v| v.name.as_str()),
                "see the file's values in a viewer such as Netron",
            )
        })
    };
    let taps = taps.iter().map(value).collect::<Result<Vec<_>>>()?;
    let sizes = Sizes::Whole(inputs.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect());
    let options = SessionOptions { sizes, taps, ..SessionOptions::default() };
    let mut session = Session::new(&graph, device, &options, &|_| vec![])?;
    let outputs = session.run(&arrays).map_err(|e| e.file(&model.path))?;
    Ok(outputs.into_iter().map(|OutputTensor { name, tensor }| (name, tensor)).collect())
}

/// Returns the names of a model's inputs.
pub fn input_names(model: &Model) -> Vec<String> {
    let graph = model.graph();
    let stored = |name: &str| graph.initializer.iter().any(|tensor| tensor.name() == name);
    let names = graph.input.iter().map(ValueInfoProto::name).filter(|name| !stored(name));
    names.map(str::to_owned).collect()
}

/// Reads a NumPy file as floats.
///
/// # Errors
/// A file that cannot be read or holds no numbers.
pub fn read_array(file: &Path) -> Result<Array> {
    read_npy_f32(file)
}

/// Writes a tensor as a NumPy file, in its own element type.
///
/// # Errors
/// A file that cannot be written.
pub fn write_array(file: &Path, tensor: &Tensor) -> Result<()> {
    write_npy(file, tensor)
}

/// Runs a network on a device and in the `f64` reference, and compares after every step.
///
/// The inputs are the first image of a data set, or synthetic ones without one.
///
/// # Errors
/// A network that does not run, data that cannot be read.
pub fn check(
    model: &Model,
    device: &Device,
    data: Option<&Dataset>,
    observer: &mut dyn Observer,
) -> Result<Checks> {
    let graph = Graph::from_model(model)?;
    if let Some(data) = data {
        notice_data(&graph, data, observer)?;
    }
    let sizes = data.map_or(Ok(Sizes::Own), |data| data.sample().map(Sizes::Sample))?;
    // One image, or as many as the network takes at once.
    let options = SessionOptions { images: 1, sizes, ..SessionOptions::default() };
    let session = Session::new(&graph, device, &options, &|_| vec![])?;
    let inputs: Vec<Vec<f32>> = match data.and_then(|data| data.batches(session.batch).next()) {
        Some(batch) => session.inputs(&batch?.data),
        None => session.synthetic_inputs(0),
    };
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    side_by_side(&session.plan, device, &inputs, observer)
}
