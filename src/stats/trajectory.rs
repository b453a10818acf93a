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
    /// Share of each filter's weights whose sign differs from the checkpoint before, one row per checkpoint; the first is 0.
    pub sign_changes: Vec<Vec<f64>>,
    /// Statistics of the gradients; empty unless the training gathered them.
    pub gradients: GradientTrajectory,
}

/// Statistics of a layer's gradients over the epochs of a training; means over the epoch's steps.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GradientTrajectory {
    /// Mean of the gradients of each filter's weights, one row per epoch.
    pub mean: Vec<Vec<f64>>,
    /// Variance of the gradients of each filter's weights, over weights and steps, one row per epoch.
    pub variance: Vec<Vec<f64>>,
    /// L1 norm of the gradients of each filter's weights, one row per epoch.
    pub l1: Vec<Vec<f64>>,
    /// Sum |w·g| over each filter's weights, one row per epoch.
    pub saliency: Vec<Vec<f64>>,
    /// Sum −w·g over each filter's weights and all steps of the training (Sanh 2020).
    pub movement: Vec<f64>,
}

impl GradientTrajectory {
    /// Adds an epoch of `steps` steps, from the sums Σg, Σg², Σ|g|, Σ−wg and Σ|wg| of filters of `size` weights.
    pub fn add_epoch(&mut self, sums: &[[f64; 5]], steps: usize, size: usize) {
        let (steps, count) = (steps.max(1) as f64, (steps.max(1) * size.max(1)) as f64);
        let row = |get: &dyn Fn(&[f64; 5]) -> f64| sums.iter().map(get).collect::<Vec<f64>>();
        self.mean.push(row(&|s| s[0] / count));
        self.variance.push(row(&|s| (s[1] / count - (s[0] / count).powi(2)).max(0.0)));
        self.l1.push(row(&|s| s[2] / steps));
        self.saliency.push(row(&|s| s[4] / steps));
        self.movement.resize(sums.len(), 0.0);
        self.movement.iter_mut().zip(sums).for_each(|(movement, s)| *movement += s[3]);
    }
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
            sign_changes: sign_changes(graphs.len(), a.len(), &|at| {
                filters(&facts[at], &layers(&graphs[at], &facts[at])[layer])
            })?,
            gradients: GradientTrajectory::default(),
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

/// Returns the share of each filter's weights whose sign differs from the checkpoint before, for each checkpoint.
fn sign_changes(
    checkpoints: usize,
    count: usize,
    filters: &dyn Fn(usize) -> Result<Vec<Vec<f64>>>,
) -> Result<Vec<Vec<f64>>> {
    let (mut before, mut rows) = (filters(0)?, vec![vec![0.0; count]]);
    let share = |(a, b): (&Vec<f64>, &Vec<f64>)| {
        let changed = a.iter().zip(b).filter(|(a, b)| **a * **b < 0.0).count();
        changed as f64 / a.len().max(1) as f64
    };
    for at in 1..checkpoints {
        let now = filters(at)?;
        rows.push(before.iter().zip(&now).map(share).collect());
        before = now;
    }
    Ok(rows)
}

fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}
