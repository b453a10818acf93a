//! Prunes by scores of one's own, read from a CSV file: here the largest weight of each filter.

use std::fmt::Write as _;

use secateur::pipeline::{Distances, PlanOptions, demo};
use secateur::prelude::*;
use secateur::stats::{Header, Profile, layers};

pub(crate) fn main() -> secateur::Result<()> {
    let network = demo::network()?;
    // A profile of the weights lists the layers; a layer's filters are the runs of its weight tensor.
    let profile = Profile::of_weights(&network.graph, Header::default(), Distances::None)?;
    let mut csv = "node,channel,score\n".to_owned();
    for (taps, layer) in layers(&network.graph, &network.channels.facts).iter().zip(&profile.layers) {
        let weight = network.channels.facts.get(taps.weight).and_then(|fact| fact.value.as_ref());
        let weight = weight.ok_or_else(|| Error::new("a layer without constant weights"))?;
        let mut scores = vec![0.0_f32; layer.weight.l1.len()];
        for (filter, values) in taps.layer.runs(&weight.shape, weight.floats()?) {
            scores[filter] = values.iter().fold(scores[filter], |most, w| most.max(w.abs()));
        }
        for (channel, score) in scores.iter().enumerate() {
            let _ = writeln!(csv, "{},{channel},{score}", layer.node); // a String takes everything
        }
    }
    let file = std::env::temp_dir().join("scores.csv");
    std::fs::write(&file, csv).map_err(|e| Error::io("write the scores", &file, e))?;
    let plan = PlanOptions {
        target: Target::Keep(Budget::KeepMacs(0.8)),
        ..PlanOptions::by(&format!("file:{}", file.display()))?
    };
    let options = PruneOptions { plan, repair: Some(Repair::None), ..PruneOptions::default() };
    let outcome = prune(network, &Device::Cpu, Evidence::default(), &options, &mut Silent)?;
    let pruned = outcome.done().ok_or_else(|| Error::new("the cut was refused"))?;
    assert!(pruned.proof.passed);
    println!("{} of {} channels removed", pruned.removed_channels, pruned.total_channels);
    Ok(())
}
