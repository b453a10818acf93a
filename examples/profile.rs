//! Gathers statistics of every layer, shows progress, and prints the layers with the rarest activations.

use std::ops::ControlFlow;

use secateur::pipeline::{Notice, Origin, ProfileOptions, Stage, demo, layer_means, profile};
use secateur::prelude::*;

/// Prints stages; a program with a window would draw a bar, and return `Break` when its user cancels.
struct Printer;

impl Observer for Printer {
    fn stage(&mut self, stage: Stage, total: u64) {
        println!("{stage:?}: {total}");
    }

    fn advance(&mut self, _done: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn notice(&mut self, notice: Notice) {
        println!("{notice:?}");
    }
}

pub(crate) fn main() -> secateur::Result<()> {
    let (network, images) = (demo::network()?, demo::images(64, 1)?);
    let origin = Origin { data: "generated".to_owned(), shard: None };
    let options = ProfileOptions::default();
    let profiled = profile(&network, &Device::Cpu, (&images, &origin), &options, None, &mut Printer)?;
    assert!(profiled.profile.header.complete && profiled.images == 64);
    let mut layers = layer_means(&profiled.profile);
    layers.sort_by(|a, b| a.frequency.total_cmp(&b.frequency));
    for layer in layers.iter().take(3) {
        println!("{}: above zero in {:.1} % of positions", layer.node, 100.0 * layer.frequency);
    }
    Ok(())
}
