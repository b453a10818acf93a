//! Statistics of a layer's filters, times the scale of a BatchNormalization that follows.
//!
//! So they do not depend on whether the exporter folded that scale into the weights.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, Mat, MatRef, Par};

use super::layers::LayerTaps;
use crate::error::{Error, Result};
use crate::graph::facts::Facts;

/// Statistics of a layer's filters, with one number per filter.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct WeightStats {
    /// Mean of the filter's weights.
    pub mean: Vec<f64>,
    /// Population variance of the filter's weights.
    pub variance: Vec<f64>,
    /// L1 norm: the sum of magnitudes.
    pub l1: Vec<f64>,
    /// L2 norm: the root of the sum of squares.
    pub l2: Vec<f64>,
    /// Sum of Euclidean distances to the layer's other filters; empty if not requested.
    pub distance: Vec<f64>,
    /// Magnitude |γ| of the BatchNormalization that follows; empty if none follows.
    pub bn_scale: Vec<f64>,
}

/// The layers whose filter distances are computed, at a cost quadratic in the number of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distances {
    /// No filter distances at all.
    None,
    /// Filter distances of layers that take less time than a few images.
    Cheap,
    /// Filter distances of all layers.
    All,
}

impl Distances {
    /// Returns [`Distances::All`] if the distances were asked for, else [`Distances::None`].
    pub fn asked(asked: bool) -> Self {
        if asked { Self::All } else { Self::None }
    }
}

/// The most multiplications for a layer's distances to count as cheap.
const CHEAP: usize = 1 << 32;

/// Returns a layer's scaled weights in runs that belong to one filter each.
fn runs<'a>(
    facts: &'a Facts,
    taps: &'a LayerTaps,
) -> Result<impl Iterator<Item = (usize, impl Iterator<Item = f64> + 'a)> + 'a> {
    let tensor = facts.get(taps.weight).and_then(|f| f.value.as_ref());
    let tensor = tensor.ok_or_else(|| Error::new("the weights are not constant").internal())?;
    Ok(taps.layer.runs(&tensor.shape, tensor.floats()?).map(|(filter, values)| {
        let scale = taps.scale.as_ref().map_or(1.0, |s| s[filter]);
        (filter, values.iter().map(move |&w| f64::from(w) * scale))
    }))
}

/// Returns the scaled filters of a layer as rows, by input channel.
///
/// # Errors
/// Weights that are not floats.
pub(crate) fn filters(facts: &Facts, taps: &LayerTaps) -> Result<Vec<Vec<f64>>> {
    let mut rows = vec![Vec::new(); taps.layer.out_channels(facts.shape(taps.weight))];
    runs(facts, taps)?.for_each(|(filter, values)| rows[filter].extend(values));
    let shape = facts.shape(taps.weight);
    Ok(rows.into_iter().map(|row| taps.layer.by_input(shape, row, false)).collect())
}

/// Computes the statistics of a layer's weights, which need no data.
///
/// # Errors
/// Weights that are not floats.
pub(super) fn weight_stats(facts: &Facts, taps: &LayerTaps, distances: Distances) -> Result<WeightStats> {
    let shape = facts.shape(taps.weight);
    let count = taps.layer.out_channels(shape);
    let distances = match distances {
        Distances::None => false,
        Distances::Cheap => count * shape.iter().product::<usize>() <= CHEAP,
        Distances::All => true,
    };
    let mut stats = WeightStats {
        bn_scale: taps.gamma.iter().flatten().map(|g| g.abs()).collect(),
        ..WeightStats::default()
    };
    if taps.layer.filters == 0 && !taps.layer.transposed && !distances {
        // Contiguous filters are reduced one by one: copies of a wide layer would take most of the network's memory.
        runs(facts, taps)?.for_each(|(_, values)| stats.add(&values.collect::<Vec<f64>>()));
    } else {
        let rows = filters(facts, taps)?;
        rows.iter().for_each(|row| stats.add(row));
        if distances {
            stats.distance = sums_of_distances(&rows);
        }
    }
    Ok(stats)
}

impl WeightStats {
    /// Appends the statistics of a filter.
    fn add(&mut self, row: &[f64]) {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        self.mean.push(mean);
        self.variance.push(row.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / row.len() as f64);
        self.l1.push(row.iter().map(|w| w.abs()).sum());
        self.l2.push(row.iter().map(|w| w * w).sum::<f64>().sqrt());
    }
}

/// Sums the Euclidean distances of each row to the others.
///
/// |a − b|² = |a|² + |b|² − 2ab, with all products in one GEMM: wide layers have millions of pairs.
fn sums_of_distances(rows: &[Vec<f64>]) -> Vec<f64> {
    let (n, len) = (rows.len(), rows.first().map_or(0, Vec::len));
    let data = rows.concat();
    let all = MatRef::from_row_major_slice(&data, n, len);
    let mut products = Mat::<f64>::zeros(n, n);
    let (half, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    matmul(products.as_mut(), half, Accum::Replace, all, whole, all.transpose(), whole, 1.0, Par::rayon(0));
    let square = |i: usize| products[(i, i)];
    let distance =
        |i: usize, j: usize| (square(i) + square(j) - 2.0 * products[(i.max(j), i.min(j))]).max(0.0).sqrt();
    (0..n).map(|i| (0..n).filter(|&j| j != i).map(|j| distance(i, j)).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_definition() {
        let rows = vec![vec![0.0, 0.0], vec![3.0, 4.0], vec![0.0, 1.0]];
        let sums = sums_of_distances(&rows);
        let far = (9.0f64 + 9.0).sqrt();
        for (got, expected) in sums.iter().zip([5.0 + 1.0, 5.0 + far, 1.0 + far]) {
            assert!((got - expected).abs() < 1e-12, "{got} {expected}");
        }
    }
}
