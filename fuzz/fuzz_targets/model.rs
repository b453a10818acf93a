//! Whatever stands in an ONNX file, it is read, or refused with an error.

#![no_main]

use std::collections::BTreeSet;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::onnx::Model;
use secateur::prune::{Channels, rewrite};

/// Networks that are larger are looked at, but not cut or run: a fuzzer wants many runs.
const MOST_MACS: u64 = 1 << 22;
const MOST_ELEMENTS: usize = 1 << 18;

fn walk(bytes: &[u8]) -> secateur::Result<()> {
    let model = Model::from_bytes(bytes.to_vec(), Path::new("fuzzed.onnx"))?;
    let graph = Graph::of(&model)?;
    let channels = Channels::of(&graph)?;
    let elements = |v: usize| channels.facts.get(v).map_or(0, |f| f.shape.iter().product::<usize>());
    let most = (0..graph.values.len()).map(elements).max().unwrap_or(0);
    if channels.cost(&channels.lengths()).0 > MOST_MACS || most > MOST_ELEMENTS {
        return Ok(());
    }
    let free = channels.knots.iter().filter(|k| k.block.is_none()).map(|k| k.id);
    let removed: BTreeSet<usize> = free.take(2).collect();
    let small = rewrite(&model, &graph, &channels, &removed)?.model.to_bytes();
    let again = Model::from_bytes(small, Path::new("cut.onnx")).expect("a cut network is one");
    Graph::of(&again).expect("a cut network is one");
    let mut session = Session::plain(&graph, &Device::Cpu, Some(1))?;
    let inputs: Vec<Vec<f32>> =
        session.plan.inputs.iter().map(|p| vec![0.5; p.shape.iter().product()]).collect();
    session.run(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    // An error is an answer.
    let _ = walk(bytes);
});
