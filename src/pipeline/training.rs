//! Statistics of a training: the trajectories of filters through its checkpoints.

use super::profiling::header;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::facts::Facts;
use crate::onnx::Model;
use crate::stats::{Distances, Profile, trajectories};
use crate::train::FilterSteps;

/// Adds the trajectories of filters to the profile of the last of several checkpoints, the oldest first.
///
/// # Errors
/// Checkpoints of different networks, or none.
pub fn add_training(profile: &mut Profile, checkpoints: &[Model]) -> Result<()> {
    let graphs = checkpoints.iter().map(Graph::from_model).collect::<Result<Vec<_>>>()?;
    for (layer, trajectory) in profile.layers.iter_mut().zip(trajectories(&graphs)?) {
        layer.trajectory = trajectory;
    }
    let earlier = checkpoints.split_last().map_or(&[][..], |(_, earlier)| earlier);
    profile.header.checkpoints = earlier.iter().map(header).map(|h| (h.model, h.model_sha256)).collect();
    Ok(())
}

/// Adds statistics of gradients: for each epoch of a training its number of steps, and the sums over each layer's filters.
pub(super) fn add_gradients(profile: &mut Profile, epochs: &[(usize, Vec<FilterSteps>)]) {
    for layer in &mut profile.layers {
        for (steps, layers) in epochs {
            if let Some(found) = layers.iter().find(|found| found.node == layer.node) {
                layer.trajectory.gradients.add_epoch(&found.sums, *steps, found.size);
            }
        }
    }
}

/// Profiles the weights of the last of several checkpoints, the oldest first, without any image.
///
/// # Errors
/// As [`add_training`].
pub fn profile_checkpoints(checkpoints: &[Model]) -> Result<Profile> {
    let last = checkpoints.last().ok_or_else(|| Error::new("no checkpoint was given"))?;
    let graph = Graph::from_model(last)?;
    let facts = Facts::at_own_size(&graph)?;
    let mut profile = Profile::of_weights_with(&graph, &facts, header(last), Distances::asked(true))?;
    add_training(&mut profile, checkpoints)?;
    profile.header.complete = true;
    Ok(profile)
}
