//! Statistics of a layer's filters, as they act: with the scale of a BatchNormalization that follows. They do not
//! depend on whether the exporter folded it into the weights.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, Mat, MatRef, Par};

use super::layers::{LayerTaps, layers};
use super::profile::LayerProfile;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::facts::Facts;

/// Statistics of a layer's filters, one number a filter.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct WeightStats {
    /// Mean of the weights.
    pub mean: Vec<f64>,
    /// Population variance of the weights.
    pub variance: Vec<f64>,
    /// Sum of magnitudes.
    pub l1: Vec<f64>,
    /// Root of the sum of squares.
    pub l2: Vec<f64>,
    /// The sum of distances to the layer's other filters; empty where it was not asked for.
    pub distance: Vec<f64>,
    /// |γ| of the BatchNormalization that follows; empty where none does.
    pub bn_scale: Vec<f64>,
}

/// Of which layers the distances between filters are computed: they cost the square of a layer's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distances {
    /// Of none.
    None,
    /// Of those where it takes no longer than some images do.
    Cheap,
    /// Of all.
    All,
}

impl Distances {
    /// Of all where somebody asks for them, else of none.
    pub fn asked(asked: bool) -> Self {
        if asked { Self::All } else { Self::None }
    }
}

/// Multiplications for the distances of a layer, at most, for them to be cheap.
const CHEAP: usize = 1 << 32;

/// A layer's weights in runs that belong to one filter each, with the scale of a BatchNormalization that follows.
fn runs<'a>(
    facts: &'a Facts,
    taps: &'a LayerTaps,
) -> Result<impl Iterator<Item = (usize, impl Iterator<Item = f64> + 'a)> + 'a> {
    let tensor = facts.get(taps.weight).and_then(|f| f.value.as_ref());
    let tensor = tensor.ok_or_else(|| Error::new("the weights are not constant"))?;
    Ok(taps.layer.runs(&tensor.shape, tensor.floats()?).map(|(filter, values)| {
        let scale = taps.scale.as_ref().map_or(1.0, |s| s[filter]);
        (filter, values.iter().map(move |&w| f64::from(w) * scale))
    }))
}

/// The filters of a layer as rows, with the scale of a BatchNormalization that follows.
pub(crate) fn filters(facts: &Facts, taps: &LayerTaps) -> Result<Vec<Vec<f64>>> {
    let mut rows = vec![Vec::new(); taps.layer.out_channels(facts.shape(taps.weight))];
    runs(facts, taps)?.for_each(|(filter, values)| rows[filter].extend(values));
    Ok(rows)
}

fn of_layer(facts: &Facts, taps: &LayerTaps, distances: Distances) -> Result<WeightStats> {
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
        // Filters that lie one after the other are taken one by one: a wide layer is most of a network.
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
    /// The next filter.
    fn add(&mut self, row: &[f64]) {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        self.mean.push(mean);
        self.variance.push(row.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / row.len() as f64);
        self.l1.push(row.iter().map(|w| w.abs()).sum());
        self.l2.push(row.iter().map(|w| w * w).sum::<f64>().sqrt());
    }
}

/// For each row, Σ over the others of the Euclidean distance. |a − b|² = |a|² + |b|² − 2ab, all products at once:
/// wide layers have millions of pairs.
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

/// The statistics of the weights alone: what the criteria on weights need, without data.
///
/// # Errors
/// Weights that are not floats.
pub fn weights_only(graph: &Graph, facts: &Facts, distances: Distances) -> Result<Vec<LayerProfile>> {
    layers(graph, facts)
        .iter()
        .map(|taps| {
            let node = &graph.nodes[taps.node];
            let weight = of_layer(facts, taps, distances).map_err(|e| e.node(&node.name))?;
            let (node, op) = (node.name.clone(), node.op_type.clone());
            Ok(LayerProfile { node, op, weight, ..LayerProfile::default() })
        })
        .collect()
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
