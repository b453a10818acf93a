//! The time of every layer, of networks side by side.

use std::collections::HashMap;

use super::{Quantiles, made_up};
use crate::error::Result;
use crate::exec::session::Session;

/// What a node of a network takes: the layer with what it took in, or a node by itself.
#[derive(Clone, Debug)]
pub struct LayerTime {
    /// Its name in the model.
    pub node: String,
    /// Seconds of a batch.
    pub seconds: Quantiles,
}

/// Rounds that are not counted, and that are counted at least.
const WARM_UP: usize = 2;
const LEAST: usize = 5;

/// Times the steps of networks in turn, for about `seconds` in all: for each network its nodes in the order in which
/// they run.
///
/// # Errors
/// A network that does not run on its device.
pub fn layers(sessions: &mut [Session], seconds: f64) -> Result<Vec<Vec<LayerTime>>> {
    let inputs: Vec<Vec<Vec<f32>>> = sessions.iter().map(made_up).collect();
    let mut names: Vec<Vec<String>> = vec![vec![]; sessions.len()];
    let mut found: Vec<HashMap<String, Vec<f64>>> = vec![HashMap::new(); sessions.len()];
    let (mut spent, mut done) = (0.0, 0);
    while done < WARM_UP + LEAST || spent < seconds {
        for (i, (session, inputs)) in sessions.iter_mut().zip(&inputs).enumerate() {
            let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let steps = session.time_steps(&inputs)?;
            spent += steps.iter().map(|(_, s)| s).sum::<f64>();
            if done < WARM_UP {
                continue;
            }
            let mut of_node: HashMap<String, f64> = HashMap::new();
            for (node, seconds) in steps {
                if done == WARM_UP && !of_node.contains_key(&node) {
                    names[i].push(node.clone());
                }
                *of_node.entry(node).or_default() += seconds;
            }
            of_node.into_iter().for_each(|(node, s)| found[i].entry(node).or_default().push(s));
        }
        done += 1;
    }
    let spread = |found: &HashMap<String, Vec<f64>>, node: String| {
        let seconds = Quantiles::of(found.get(&node).map_or(&[], Vec::as_slice));
        LayerTime { node, seconds }
    };
    let all = names.into_iter().zip(&found);
    Ok(all.map(|(names, found)| names.into_iter().map(|node| spread(found, node)).collect()).collect())
}
