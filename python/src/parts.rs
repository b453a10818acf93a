//! Facts by which work is divided among machines: the number of samples, and the criteria to compare.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use secateur::pipeline::{CRITERIA, Graph};

use crate::data::Data;
use crate::error::OrRaise;
use crate::network::Network;
use crate::options::Options;
use crate::profile::no_data;

/// Returns the number of samples of data, unreadable ones included.
#[pyfunction]
pub(crate) fn count(
    py: Python<'_>,
    network: &Bound<'_, Network>,
    options: Bound<'_, PyDict>,
) -> PyResult<usize> {
    let data = Data::of(&Options(options), "data")?.ok_or_else(no_data).or_raise(py)?;
    let network = network.get();
    py.detach(|| {
        let (model, opened) = network.bound_to(&data)?;
        match (opened, data.path()) {
            (Some(opened), _) => Ok(opened.len()),
            (None, path) => {
                let graph = Graph::from_model(&model)?;
                Ok(data.at_path(&graph, &path.cloned().unwrap_or_default(), false)?.len())
            }
        }
    })
    .or_raise(py)
}

/// Returns the names of all criteria but scores from a file, and whether each needs statistics of its own: second moments of
/// patches, or gradients.
#[pyfunction]
pub(crate) fn criteria() -> Vec<(&'static str, bool)> {
    let rows = CRITERIA.iter().filter(|row| !row.name.starts_with("file:"));
    rows.map(|row| (row.name, row.needs.patches || row.needs.gradients)).collect()
}
