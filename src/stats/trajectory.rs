//! Filter statistics across the checkpoints of a training, as the seed paper observes them.

use super::layers::{LayerTaps, layers};
use super::weights::{Distances, WeightStats, filters, weight_stats};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::facts::Facts;

/// Statistics of a layer's filters across the checkpoints of one training, oldest first.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Trajectory {
    /// Mean of each filter's weights, one row per checkpoint.
    pub mean: Vec<Vec<f64>>,
    /// Population variance of each filter's weights, one row per checkpoint.
    pub variance: Vec<Vec<f64>>,
    /// L1 norm of each filter, one row per checkpoint.
    pub l1: Vec<Vec<f64>>,
    /// Distance ‖F_last − F_first‖₂ that training moved each filter.
    pub drift: Vec<f64>,
    /// Standard deviation of each filter's L1 norm over the checkpoints.
    pub wander: Vec<f64>,
}

/// The remedy for checkpoints of different networks.
const ALIKE: &str = "give checkpoints of one training, exported alike";

/// Computes the trajectories of all layers from the checkpoints of one network, oldest first.
///
/// # Errors
/// Checkpoints whose layers differ, and weights that are not floats.
pub fn trajectories(graphs: &[Graph]) -> Result<Vec<Trajectory>> {
    let (Some(first), Some(last)) = (graphs.first(), graphs.last()) else { return Ok(vec![]) };
    let facts = graphs.iter().map(Facts::at_own_size).collect::<Result<Vec<_>>>()?;
    let stats = graphs.iter().zip(&facts).map(|(g, f)| named_stats(g, f)).collect::<Result<Vec<_>>>()?;
    let shape = |i: usize| stats[i].iter().map(|(node, w)| (*node, w.l1.len())).collect::<Vec<_>>();
    for (i, graph) in graphs.iter().enumerate() {
        if let Some((a, b)) = shape(graphs.len() - 1).iter().zip(shape(i)).find(|(a, b)| *a != b) {
            return Err(Error::new("checkpoints of different networks")
                .file(&graph.path)
                .node(b.0)
                .expected(format!("{} with {} filters", a.0, a.1))
                .got(format!("{} with {} filters", b.0, b.1))
                .remedy(ALIKE));
        }
        if stats[i].len() != stats[graphs.len() - 1].len() {
            return Err(Error::new("checkpoints of different networks")
                .file(&graph.path)
                .expected(format!("{} layers", stats[graphs.len() - 1].len()))
                .got(stats[i].len().to_string())
                .remedy(ALIKE));
        }
    }
    let (from, to) = (layers(first, &facts[0]), layers(last, &facts[graphs.len() - 1]));
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let mut all = Vec::new();
    for (layer, (from, to)) in from.iter().zip(&to).enumerate() {
        let (a, b) = (filters(&facts[0], from)?, filters(&facts[graphs.len() - 1], to)?);
        if a.iter().zip(&b).any(|(a, b)| a.len() != b.len()) {
            return Err(Error::new("checkpoints whose filters differ in size")
                .file(&first.path)
                .node(stats[0][layer].0)
                .expected(format!("{} weights per filter", b.first().map_or(0, Vec::len)))
                .got(a.first().map_or(0, Vec::len).to_string())
                .remedy(ALIKE));
        }
        let series = |get: fn(&WeightStats) -> &Vec<f64>| -> Vec<Vec<f64>> {
            stats.iter().map(|s| get(&s[layer].1).clone()).collect()
        };
        let l1 = series(|w| &w.l1);
        all.push(Trajectory {
            mean: series(|w| &w.mean),
            variance: series(|w| &w.variance),
            drift: a.iter().zip(&b).map(|(a, b)| distance(a, b)).collect(),
            wander: (0..a.len()).map(|c| deviation(l1.iter().map(|row| row[c]))).collect(),
            l1,
        });
    }
    Ok(all)
}

/// Returns the name and the weights' statistics of each layer, in graph order.
fn named_stats<'a>(graph: &'a Graph, facts: &Facts) -> Result<Vec<(&'a str, WeightStats)>> {
    let named = |taps: &LayerTaps| {
        let node = graph.nodes[taps.node].name.as_str();
        Ok((node, weight_stats(facts, taps, Distances::None).map_err(|e| e.node(node))?))
    };
    layers(graph, facts).iter().map(named).collect()
}

fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}
