//! Measures top-1 of a network, and its agreement with another one.

use secateur::pipeline::{Agreement, demo, evaluate};
use secateur::prelude::*;

pub(crate) fn main() -> secateur::Result<()> {
    let (network, images) = (demo::network()?, demo::images(200, 7)?);
    let graph = &network.graph;
    let found = evaluate(graph, Some(graph), &Device::Cpu, &images, None, &mut Silent)?;
    let agreement = found.agreement.as_ref().and_then(Agreement::agreement);
    assert_eq!(agreement, Some(1.0), "a network agrees with itself");
    println!("{} images, top-1 {:.3}", found.images, found.accuracy.top1().unwrap_or(f64::NAN));
    Ok(())
}
