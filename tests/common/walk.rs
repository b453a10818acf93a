//! Runs all steps of the program on a file of arbitrary contents, as far as they succeed.

use std::collections::BTreeSet;
use std::path::Path;

use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::graph::facts::Facts;
use secateur::graph::{Graph, ValueId};
use secateur::onnx::Model;
use secateur::prune::{Channels, rewrite};

/// Size limits of networks that are cut and run; larger ones are only inspected.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    pub(crate) macs: u64,
    /// Most elements of a tensor.
    pub(crate) elements: usize,
    /// Most elements of a tensor if only shapes beyond it are inspected; larger requests take too long.
    pub(crate) labelled: usize,
}

/// Progress of a walk over a file.
pub(crate) enum Told {
    /// Elements of the largest tensor that the file requests, in its inputs or by its operators.
    Largest(usize),
    /// The network was cut, and is about to run.
    Cut,
}

/// Errors are valid results; panics are not.
pub(crate) fn walk(bytes: Vec<u8>, most: Most, told: &dyn Fn(Told)) -> secateur::Result<()> {
    let model = Model::from_bytes(bytes, Path::new("given.onnx"))?;
    let graph = Graph::from_model(&model)?;
    let facts = Facts::at_own_size(&graph)?;
    let elements = |v: ValueId| facts.get(v).map_or(0, |f| f.shape.iter().product::<usize>());
    let largest = graph.values.ids().map(elements).max().unwrap_or(0);
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
