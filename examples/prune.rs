//! Prunes the built-in network to half of its MACs, with the default criterion and repair.

use secateur::pipeline::demo;
use secateur::prelude::*;

pub(crate) fn main() -> secateur::Result<()> {
    // For files: Network::open("net.onnx")?, and open_calibration(&network.graph, "images/", &options, false)?.
    let (network, calibration) = (demo::network()?, demo::calibration()?);
    let options =
        PruneOptions { output: Some(std::env::temp_dir().join("small.onnx")), ..PruneOptions::default() };
    let outcome = prune(network, &Device::Cpu, Evidence::images(&calibration), &options, &mut Silent)?;
    let Outcome::Done(pruned) = outcome else { return Err(Error::new("the cut was refused")) };
    assert!(pruned.proof.passed && 2 * pruned.after.macs <= pruned.before.macs + 1);
    println!(
        "{} → {} MACs, largest error {:.1e}",
        pruned.before.macs, pruned.after.macs, pruned.proof.max_rel_err
    );
    Ok(())
}
