//! A profile as a table: one row a channel, one column a statistic.

use crate::stats::{Activity, DERIVED, DerivedStatistic, LayerProfile, Moments, Profile, WeightStats};

/// A column of a layer's weights or training: its name and a channel's value.
type Of<T> = (&'static str, fn(&T, usize) -> Option<f64>);

const WEIGHTS: [Of<WeightStats>; 6] = [
    ("weight_mean", |w, c| w.mean.get(c).copied()),
    ("weight_variance", |w, c| w.variance.get(c).copied()),
    ("weight_l1", |w, c| w.l1.get(c).copied()),
    ("weight_l2", |w, c| w.l2.get(c).copied()),
    ("weight_distance", |w, c| w.distance.get(c).copied()),
    ("weight_bn_scale", |w, c| w.bn_scale.get(c).copied()),
];

const TRAINING: [Of<LayerProfile>; 2] = [
    ("training_drift", |l, c| l.trajectory.drift.get(c).copied()),
    ("training_wander", |l, c| l.trajectory.wander.get(c).copied()),
];

/// The measured statistics of either side of an activation, before those derived from them.
const MEASURED: [DerivedStatistic; 3] =
    [("mean", |a| a.moments.mean), ("min", |a| a.moments.min), ("max", |a| a.moments.max)];

/// The statistics of every channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelTable {
    /// The names of the columns after node and channel.
    pub columns: Vec<String>,
    /// The rows: node, channel, and a value a column; `None` where it is unknown.
    pub rows: Vec<(String, usize, Vec<Option<f64>>)>,
}

impl ChannelTable {
    /// Tabulates a profile, layer by layer.
    pub fn new(profile: &Profile) -> Self {
        Self::of_layers(&profile.layers)
    }

    /// Tabulates the statistics of some layers.
    pub fn of_layers(layers: &[LayerProfile]) -> Self {
        let sides = || MEASURED.iter().chain(&DERIVED);
        let mut columns: Vec<String> = WEIGHTS.iter().map(|c| c.0.to_owned()).collect();
        for side in ["pre", "post"] {
            columns.extend(sides().map(|c| format!("{side}_{}", c.0)));
        }
        columns.extend(TRAINING.iter().map(|c| c.0.to_owned()));
        let row = |layer: &LayerProfile, c: usize| {
            let side = |side: &[Activity]| -> Vec<Option<f64>> {
                sides().map(|(_, get)| side.get(c).map(get)).collect()
            };
            let values = WEIGHTS.iter().map(|(_, get)| get(&layer.weight, c));
            let values = values.chain(side(&layer.pre)).chain(side(&layer.post));
            let values = values.chain(TRAINING.iter().map(|(_, get)| get(layer, c)));
            (layer.node.clone(), c, values.collect())
        };
        let rows = layers.iter().flat_map(|l| (0..l.weight.l1.len()).map(move |c| row(l, c)));
        Self { columns, rows: rows.collect() }
    }
}

/// The means over a layer's channels.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMeans {
    /// The name of the node.
    pub node: String,
    /// The number of output channels.
    pub channels: usize,
    /// The mean L1 norm of a filter.
    pub l1: f64,
    /// The mean magnitude after the activation.
    pub mean_abs: f64,
    /// The mean share of values above zero after the activation, 0 to 1.
    pub frequency: f64,
}

/// Returns the means of every layer.
pub fn layer_means(profile: &Profile) -> Vec<LayerMeans> {
    let means = |layer: &LayerProfile| {
        let n = layer.weight.l1.len().max(1) as f64;
        let mean = |get: fn(&Moments) -> f64| layer.post.iter().map(|a| get(&a.moments)).sum::<f64>() / n;
        LayerMeans {
            node: layer.node.clone(),
            channels: layer.weight.l1.len(),
            l1: layer.weight.l1.iter().sum::<f64>() / n,
            mean_abs: mean(Moments::mean_abs),
            frequency: mean(Moments::frequency),
        }
    };
    profile.layers.iter().map(means).collect()
}
