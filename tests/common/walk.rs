//! All that a verb would do with a file, as far as it comes: for files that may hold anything.

use std::collections::BTreeSet;
use std::path::Path;

use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::Graph;
use secateur::graph::facts::Facts;
use secateur::onnx::Model;
use secateur::prune::{Channels, rewrite};

/// Networks that are larger are looked at, but not cut or run.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    pub(crate) macs: u64,
    /// Of a tensor.
    pub(crate) elements: usize,
    /// Of a tensor, where only shapes are looked at beyond it: what asks for gigabytes takes its time.
    pub(crate) labelled: usize,
}

/// What it tells on its way.
pub(crate) enum Told {
    /// The elements of the largest tensor that the file asks for, in its inputs or by what its operators make of them.
    Largest(usize),
    /// It was cut, and is about to run.
    Cut,
}

/// An error is an answer; what panics is not.
pub(crate) fn walk(bytes: Vec<u8>, most: Most, told: &dyn Fn(Told)) -> secateur::Result<()> {
    let model = Model::from_bytes(bytes, Path::new("given.onnx"))?;
    let graph = Graph::from_model(&model)?;
    let facts = Facts::at_own_size(&graph)?;
    let elements = |v: usize| facts.get(v).map_or(0, |f| f.shape.iter().product::<usize>());
    let largest = (0..graph.values.len()).map(elements).max().unwrap_or(0);
    told(Told::Largest(largest));
    if largest > most.labelled {
        return Ok(());
    }
    let channels = Channels::of(&graph)?;
    if channels.cost(&channels.lengths()).0 > most.macs || largest > most.elements {
        return Ok(());
    }
    let free = channels.coupled.iter().filter(|k| k.block.is_none()).map(|k| k.id);
    let removed: BTreeSet<usize> = free.take(2).collect();
    let small = rewrite(&model, &graph, &channels, &removed)?.model.to_bytes();
    let again = Model::from_bytes(small, Path::new("cut.onnx")).expect("a cut network is one");
    Graph::from_model(&again).expect("a cut network is one");
    drop(again);
    told(Told::Cut);
    let mut session = Session::plain(&graph, &Device::Cpu, Some(1))?;
    let inputs: Vec<Vec<f32>> =
        session.plan.inputs.iter().map(|p| vec![0.5; p.shape.iter().product()]).collect();
    session.run(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    Ok(())
}
