//! The extension module of the Python package: it translates between Python's values and the library's.
//!
//! The package in `py_src` brings Python's values into few forms, and calls the functions here. These release the GIL
//! while the library computes, and attach to the interpreter only to read samples, to report progress, and to call
//! functions of the caller.

mod callbacks;
mod data;
mod error;
mod evaluation;
mod network;
mod observer;
mod options;
mod parts;
mod profile;
mod pruning;
mod quantization;
mod results;
mod training;

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command line, whose first word is the program, and returns its exit code.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    py.detach(|| secateur::cli::main_with(words))
}

#[pymodule]
fn _secateur(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<network::Network>()?;
    module.add_class::<profile::Profile>()?;
    module.add_class::<pruning::Cut>()?;
    module.add_class::<pruning::Pruned>()?;
    module.add_class::<quantization::Quantized>()?;
    module.add_class::<training::Finetuned>()?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(profile::profile, module)?)?;
    module.add_function(wrap_pyfunction!(pruning::plan, module)?)?;
    module.add_function(wrap_pyfunction!(pruning::prune, module)?)?;
    module.add_function(wrap_pyfunction!(quantization::quantize, module)?)?;
    module.add_function(wrap_pyfunction!(training::finetune, module)?)?;
    module.add_function(wrap_pyfunction!(evaluation::evaluate, module)?)?;
    module.add_function(wrap_pyfunction!(evaluation::compare_criteria, module)?)?;
    module.add_function(wrap_pyfunction!(evaluation::bench, module)?)?;
    module.add_function(wrap_pyfunction!(evaluation::devices, module)?)?;
    module.add_function(wrap_pyfunction!(parts::count, module)?)?;
    module.add_function(wrap_pyfunction!(parts::criteria, module)?)
}
